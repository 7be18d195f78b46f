package kpi

import (
	"slices"

	"ci-jobs-metrics/internal/rollup"
	"ci-jobs-metrics/internal/significance"
)

// A finder asks the questions of which findings come.
type finder struct {
	*census
	survey *survey
	usage  *usage
	filter Filter // of what may be found

	begin   [2]int // first day of each part, previous and current; they are equal if there is only one
	end     int    // behind the last day
	periods [2]Period
	limits  []int // of templates, the bucket of the former p95; none: not slower by enough

	late, often []significance.Estimate // of templates
	tried       []float64               // p-values of all questions
	made        []made
}

// made is a finding, if its p-value, one of those tried, turns out small enough.
type made struct {
	trial   int
	finding Finding
}

// frame says which parts are compared: whole weeks, for a weekend is not like a Monday.
// It is false if there are no jobs.
//
// The weeks of the period are compared with as many before. If the ledger does not reach
// back that far, the last third of the weeks that it has is compared with the others: what
// is to be noticed now began not long ago, and more weeks before make a surer standard.
func (f *finder) frame() bool {
	const (
		third = 3
		quiet = 3 // days without jobs, of a long weekend, are not where a ledger begins
	)
	busy := func(projects int) bool { return projects > 0 }
	first := slices.IndexFunc(f.busy, busy)
	if first < 0 {
		return false
	}
	f.end = len(f.busy)
	for !slices.ContainsFunc(f.busy[f.end-daysPerWeek:f.end], busy) {
		f.end -= daysPerWeek
	}
	held, wanted := (f.end-first+quiet)/daysPerWeek, len(f.busy)/daysPerWeek
	after, before := wanted/2, wanted/2
	switch {
	case held < 2:
		after, before = 1, 0
	case held < wanted:
		after = max(held/third, 1)
		before = held - after
	}
	f.begin[current] = f.end - after*daysPerWeek
	f.begin[previous] = f.begin[current] - before*daysPerWeek
	f.periods = [2]Period{f.period(f.begin[previous], f.begin[current]), f.period(f.begin[current], f.end)}
	f.limits = make([]int, len(f.templates))
	for t := range f.templates {
		f.limits[t] = f.limit(t)
	}
	return true
}

// comparable says whether there is a part before.
func (f *finder) comparable() bool { return f.begin[previous] < f.begin[current] }

// period is from a day up to, and without, another.
func (f *finder) period(from, to int) Period {
	at := func(day int) rollup.Slot { return f.survey.calendar.First(f.first + rollup.Day(day)) } //nolint:gosec // of a census
	zone := f.survey.calendar.Zone()
	return Period{at(from).Start().In(zone), earlier(at(to).Start(), f.survey.Period.To).In(zone)}
}

// part is the one in which a day is; -1: none.
func (f *finder) part(day int) int {
	switch {
	case day >= f.end || day < f.begin[previous]:
		return -1
	case day >= f.begin[current]:
		return current
	}
	return previous
}

// days are those of a part.
func (f *finder) daysOf(part int) (from, to int) {
	if part == previous {
		return f.begin[previous], f.begin[current]
	}
	return f.begin[current], f.end
}

// monthly turns a number of a part into one of 30 days.
func (f *finder) monthly(part int, n float64) float64 {
	const month = 30
	from, to := f.daysOf(part)
	return n * month / float64(to-from)
}

// ofTemplate adds up a template's jobs of a part.
func (f *finder) ofTemplate(t, part int) (all sums) {
	from, to := f.daysOf(part)
	for day := from; day < to; day++ {
		all.add(&f.templates[t].days[day])
	}
	return all
}

// durations are those of a template's successful jobs of a part.
func (f *finder) durations(t, part int) *rollup.Histogram {
	var all rollup.Histogram
	from, to := f.daysOf(part)
	for week := from / daysPerWeek; week < to/daysPerWeek; week++ {
		all.Add(&f.templates[t].weeks[week])
	}
	return &all
}

// byDay counts something of a template on each day of a part.
func (f *finder) byDay(t, part int, of func(*sums) (hits, of int64)) []significance.Count {
	from, to := f.daysOf(part)
	counts := make([]significance.Count, 0, to-from)
	for day := from; day < to; day++ {
		counts = append(counts, countOf(of(&f.templates[t].days[day])))
	}
	return counts
}

// byProject counts something of a template in each project, before and after.
func (f *finder) byProject(t int, of func(*sums) (hits, of int64)) (strata []significance.Stratum, after []significance.Count) {
	for i := range f.usage.templates[t].pairs {
		p := &f.usage.templates[t].pairs[i]
		s := significance.Stratum{Before: countOf(of(&p.parts[previous])), After: countOf(of(&p.parts[current]))}
		strata, after = append(strata, s), append(after, s.After)
	}
	return strata, after
}

func countOf(hits, of int64) significance.Count {
	return significance.Count{Hits: float64(hits), Of: float64(of)}
}

// ask notes a question that was asked. If the answer does not matter, for the difference
// is too small, it counts as one that chance explains: so what is left out for that takes
// nothing from what the others are held to.
func (f *finder) ask(p float64, matters bool, finding func() Finding) {
	if !matters {
		p = 1
	}
	f.tried = append(f.tried, p)
	if p <= FalseDiscoveries {
		f.made = append(f.made, made{len(f.tried) - 1, finding()})
	}
}

// found are the findings that stand when all questions are asked.
func (f *finder) found() (items []Finding) {
	q := significance.Adjust(f.tried)
	for _, m := range f.made {
		if q[m.trial] <= FalseDiscoveries {
			m.finding.P, m.finding.Q = f.tried[m.trial], q[m.trial]
			items = append(items, m.finding)
		}
	}
	slices.SortFunc(items, compareFindings)
	return items
}

// side is one of a template's sides.
func (f *finder) side(t, part int, value *float64, runs int64) Side {
	s := Side{Period: f.periods[part], Value: value, Runs: runs}
	for i := range f.usage.templates[t].pairs {
		if f.usage.templates[t].pairs[i].parts[part].jobs > 0 {
			s.Projects++
		}
	}
	return s
}

// named are the projects of a template that have the most of something, and some at all.
func (f *finder) named(t int, most func(*pair) float64) []string {
	return f.usage.most(f.usage.templates[t].pairs, most)
}
