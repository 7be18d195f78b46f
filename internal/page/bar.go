package page

import (
	"maps"
	"net/url"
	"slices"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/kpi"
)

// A bar chooses which jobs a page is about.
type bar struct {
	Period                  string // in words
	Previous                string
	Lasts                   []link
	Custom                  bool // from and to were given
	From, To                string
	Fields                  []field
	Statuses                []check
	Chips                   []chip
	Clear                   string // without filters
	Path                    string
	KeepPeriod, KeepFilters []hidden // what goes along with the forms that choose the other
}

// A field is where people write which names they want.
type field struct{ Name, Label string }

// A check is a box to tick.
type check struct {
	Value   job.Status
	Checked bool
}

// A chip is a filter that is on.
type chip struct{ Label, Text, Remove string }

// A hidden field goes along with a form.
type hidden struct{ Name, Value string }

// lasts are the periods to choose from.
var lasts = []struct{ value, text string }{{"24h", "24 hours"}, {"7d", "7 days"}, {"30d", "30 days"}, {"90d", "90 days"}}

const usualLast = "30d"

func (v *request) bar(m *kpi.Meta) *bar {
	a := v.address.fromStart()
	b := &bar{Path: a.path}
	if !m.Period.To.IsZero() {
		v.choosePeriod(b, m)
	}
	for _, name := range found {
		if slices.Contains(parametersOf(v.view), name) {
			b.Fields = append(b.Fields, field{name, name})
			for i, value := range a.values[name] {
				b.Chips = append(b.Chips, chip{name, value, a.less(name, i).String()})
			}
		}
	}
	if slices.Contains(parametersOf(v.view), "status") {
		for i, value := range a.values["status"] {
			b.Chips = append(b.Chips, chip{"status", statusWord(job.Status(value)), a.less("status", i).String()})
		}
		for _, s := range inOrder {
			b.Statuses = append(b.Statuses, check{s, slices.Contains(a.values["status"], string(s))})
		}
	}
	if len(b.Chips) > 1 {
		b.Clear = a.without("template", "project", "version", "status").String()
	}
	b.KeepFilters = hiddenOf(a.values, "last", "from", "to", "interval")
	b.KeepPeriod = hiddenOf(a.values, "status")
	return b
}

func (v *request) choosePeriod(b *bar, m *kpi.Meta) {
	a := v.address.fromStart()
	b.Custom = a.values.Has("from")
	last := a.values.Get("last")
	if last == "" && !b.Custom {
		last = usualLast
	}
	for _, l := range lasts {
		next := a.without("from", "to", "interval").with("last", l.value)
		b.Lasts = append(b.Lasts, link{Text: l.text, To: next.String(), Current: l.value == last})
	}
	b.From, b.To = m.Period.From.Format("2006-01-02T15:04"), m.Period.To.Format("2006-01-02T15:04")
	b.Period = fromTo(m.Period.From, m.Period.To)
	b.Previous = "compared with the " + lengthOf(m.Period) + " before"
	if !v.comparable() {
		b.Previous = "the " + lengthOf(m.Period) + " before can't be compared: the first job is of " + v.since.Format(toDay)
	}
}

// fromTo is a period in words.
func fromTo(from, to time.Time) string {
	if from.Equal(midnight(from)) && to.Equal(midnight(to)) {
		to = to.Add(-time.Second)
		if from.Format(toDay) == to.Format(toDay) {
			return from.Format(toDay)
		}
		return from.Format(toDay) + " – " + to.Format(toDay)
	}
	return from.Format(toMinute) + " – " + to.Format(toMinute)
}

func midnight(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, t.Location())
}

func lengthOf(p kpi.Period) string {
	hours := length(p).Hours()
	if days := hours / 24; days > 2 {
		return decimals(days, digitsOf(days)) + " " + plural("day", days)
	}
	return decimals(hours, digitsOf(hours)) + " " + plural("hour", hours)
}

func digitsOf(v float64) int {
	if v == float64(int(v)) {
		return 0
	}
	return 1
}

func plural(word string, n float64) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

func hiddenOf(values url.Values, without ...string) (fields []hidden) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		for _, value := range values[name] {
			if !slices.Contains(without, name) {
				fields = append(fields, hidden{name, value})
			}
		}
	}
	return fields
}
