package page

import (
	"math"
	"strings"

	"ci-jobs-metrics/internal/kpi"
)

// A change is how a number differs from that of the period before.
type change struct {
	Text    string // empty: nothing can be said
	Arrow   string // up, down, same or new
	Verdict string // better or worse, by the answer's verdicts; empty: neither
	Before  number
	Was     string // Before in words
}

// change compares a measure's number with that of the period before, which is at a path of
// the answer.
func (v *request) change(m *measure, before string, c *kpi.Compared) change {
	if !v.comparable() {
		return change{Before: m.number(before, &c.Previous)}
	}
	return m.change(before, c)
}

// comparable reports whether the period before is recorded as a whole.
func (v *request) comparable() bool {
	meta := kpi.Meta{RecordedSince: v.since, Period: v.asked[v.view.parts[0].query].Query.Period}
	return meta.Comparable()
}

func (m *measure) change(before string, c *kpi.Compared) change {
	ch := change{Before: m.number(before, &c.Previous)}
	ch.Was = ch.Before.Text
	if ch.Before.Unit != "" {
		ch.Was += thin + ch.Before.Unit
	}
	current, previous := m.of(&c.Current), m.of(&c.Previous)
	switch {
	case current == nil || previous == nil || *current == 0 && *previous == 0:
		return ch
	case m.points:
		by := *current - *previous
		return m.judge(ch, by, decimals(math.Abs(by)*100, 1)+thin+"pts", c)
	case c.Previous.Jobs == 0 && m != jobs: // one column says that a row is new
		return ch
	case *previous == 0:
		ch.Text, ch.Arrow = "new", "new"
		return ch
	}
	ratio := *current / *previous - 1
	return m.judge(ch, ratio, relative(ratio), c)
}

// relative is how much more or less there is, without the direction.
func relative(ratio float64) string {
	switch size := math.Abs(ratio); {
	case ratio >= 9.95:
		return "×" + count(ratio+1)
	case size < 0.0995:
		return decimals(size*100, 1) + thin + percent
	default:
		return count(size*100) + thin + percent
	}
}

func (m *measure) judge(ch change, by float64, text string, c *kpi.Compared) change {
	switch {
	case strings.HasPrefix(text, "0.0"):
		ch.Text, ch.Arrow = "no change", "same"
		return ch
	case by > 0:
		ch.Text, ch.Arrow = text, "up"
	default:
		ch.Text, ch.Arrow = text, "down"
	}
	if m.verdict == nil {
		return ch
	}
	if verdict := m.verdict(&c.Verdicts); verdict == kpi.Better || verdict == kpi.Worse {
		ch.Verdict = string(verdict)
	}
	return ch
}
