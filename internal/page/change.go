package page

import (
	"context"
	"math"
	"strings"

	"ci-jobs-metrics/internal/kpi"
)

// A change is how a number differs from that of the period before.
type change struct {
	Text    string // empty: nothing can be said
	Arrow   string // up, down, same or new
	Verdict string // better or worse; empty: neither, or it may be chance
	Before  number
	Was     string // Before in words
}

// change compares a measure's number with that of the period before, which is at a path of
// the answer.
func (v *visit) change(m *measure, before string, c *kpi.Compared) change {
	if !v.comparable {
		return change{Before: m.number(before, &c.Previous)}
	}
	ch := m.change(before, c)
	if v.filtersStatus {
		ch.Verdict = "" // of failed jobs alone, more projects are not better
	}
	return ch
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

// compare says whether the period before can be compared with the one that is shown. It
// can't if the first job came in the middle of it: everything would seem to grow.
func (v *visit) compare(ctx context.Context) error {
	q := v.asked[v.view.parts[0].question].Query
	v.filtersStatus = len(q.Filter.Statuses) > 0
	p := q.Period
	if p.To.IsZero() {
		return nil
	}
	begin := v.Ledger.Created()
	first, err := v.Ledger.Jobs(ctx, []int64{1}) // there is none if it is past the retention of jobs
	if len(first) > 0 && first[0].Job.Finished.Before(begin) {
		begin = first[0].Job.Finished
	}
	const little = 20 // parts of a period of which one does not matter
	v.comparable = !begin.After(p.Previous().From.Add(length(p) / little))
	v.begin = begin.In(v.asker.Zone())
	return err
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
	if m.better == 0 || !m.certain(c, by) {
		return ch
	}
	ch.Verdict = "worse"
	if by > 0 == (m.better > 0) {
		ch.Verdict = "better"
	}
	return ch
}

// A change is called better or worse only where it is too large for chance: a page on which
// half of all numbers are red says nothing. These say so, from both periods and by how much
// the number changed.

// deviations is how many standard deviations apart chance hardly ever takes two numbers.
const deviations = 2.5

// rateIsCertain compares two shares of jobs that passed, as the test of two proportions.
func rateIsCertain(c *kpi.Compared, by float64) bool {
	passed, all := float64(c.Current.Statuses.Success), judgedJobs(&c.Current)
	passedBefore, allBefore := float64(c.Previous.Statuses.Success), judgedJobs(&c.Previous)
	if all == 0 || allBefore == 0 {
		return false
	}
	p := (passed + passedBefore) / (all + allBefore)
	return math.Abs(by) >= max(0.005, deviations*math.Sqrt(p*(1-p)*(1/all+1/allBefore)))
}

// judgedJobs are those that the success rate is about.
func judgedJobs(s *kpi.Stats) float64 {
	return float64(s.Statuses.Success + s.Statuses.Failed + s.Statuses.TimedOut)
}

// lossIsCertain is for what comes with failures: their number tells how much is chance. Less
// that is lost only because less is run is no better.
func lossIsCertain(c *kpi.Compared, by float64) bool {
	lost := func(s *kpi.Stats) int64 { return s.Statuses.Failed + s.Statuses.TimedOut }
	perJob := c.Current.HoursLost*float64(c.Previous.Jobs) - c.Previous.HoursLost*float64(c.Current.Jobs)
	return math.Abs(by) >= 0.1 && perJob > 0 == (by > 0) && apart(lost(&c.Current), lost(&c.Previous))
}

func flakyIsCertain(c *kpi.Compared, by float64) bool {
	return math.Abs(by) >= 0.1 && apart(c.Current.Flaky, c.Previous.Flaky)
}

// apart says whether two counts of independent events differ by more than chance.
func apart(a, b int64) bool {
	return math.Abs(float64(a-b)) >= deviations*math.Sqrt(float64(a+b))
}

// durationIsCertain is for quantiles. Those of log-normal durations with a deviation of s vary
// by 2.1 s / sqrt(n) at p95, by less at the median (the standard error of a quantile,
// sqrt(q(1-q)/n) / density); and each is off by up to half a bucket. Projects that run more
// or less than before add to that, so it takes one deviation more than elsewhere.
func durationIsCertain(c *kpi.Compared, by float64) bool {
	const (
		enough = 30   // jobs
		noise  = 2.11 // sqrt(0.95 * 0.05) / the normal density at p95
		bucket = 0.087
	)
	n, before := float64(c.Current.Durations.Jobs), float64(c.Previous.Durations.Jobs)
	if min(n, before) < enough || by <= -1 {
		return false
	}
	s := max(spread(&c.Current.Durations), spread(&c.Previous.Durations))
	return math.Abs(math.Log1p(by)) >= max(0.1, (deviations+1)*noise*s*math.Sqrt(1/n+1/before)+bucket)
}

// spread is the standard deviation of the logarithm of durations, by their median and p95.
func spread(d *kpi.Durations) float64 {
	const p95 = 1.645 // standard deviations above the median
	if d.P50 == nil || d.P95 == nil || *d.P50 <= 0 || *d.P95 <= 0 {
		return 1
	}
	return max(math.Log(*d.P95 / *d.P50)/p95, 0.1)
}

// projectsAreCertain counts them as if those of both periods were others, though most are the
// same: it says too little rather than too much.
func projectsAreCertain(c *kpi.Compared, by float64) bool {
	return math.Abs(by) >= 0.1 && apart(int64(c.Current.Projects), int64(c.Previous.Projects))
}
