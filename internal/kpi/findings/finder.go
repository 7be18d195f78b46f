package findings

import (
	"slices"

	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/rollup"
	"ci-jobs-metrics/internal/significance"
)

// A finder tests the hypotheses from which findings come.
type finder struct {
	*days
	scan   *kpi.Scan
	usage  *usage
	filter kpi.Filter // of what may be found

	begin   [2]int // first day of each part, previous and current; they are equal if there is only one
	end     int    // behind the last day
	periods [2]kpi.Period
	limits  []int // of templates, the bucket of the former p95; none: not slower by enough

	late, often []significance.Estimate // of templates
	tried       []float64               // p-values of all hypotheses
	candidates  []candidate
}

// A candidate becomes a finding if its p-value, one of those tried, stays small enough after the
// correction.
type candidate struct {
	trial   int
	finding Finding
}

// choosePeriods chooses the two parts that are compared: whole weeks, because a weekend differs
// from a Monday. It returns false if there are no jobs.
//
// The weeks of the period are compared with as many weeks before. If the ledger does not reach back
// that far, the last third of its weeks is compared with the others: a change worth noticing now
// began not long ago, and more weeks before it make a better baseline.
func (f *finder) choosePeriods() bool {
	const (
		third = 3
		quiet = 3 // a ledger may begin with up to so many days without jobs, a long weekend
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
	f.periods = [2]kpi.Period{f.period(f.begin[previous], f.begin[current]), f.period(f.begin[current], f.end)}
	f.limits = make([]int, len(f.templates))
	for t := range f.templates {
		f.limits[t] = f.limit(t)
	}
	return true
}

// comparable reports whether there is a part before.
func (f *finder) comparable() bool { return f.begin[previous] < f.begin[current] }

// period is the time from a day up to, and without, another day.
func (f *finder) period(from, to int) kpi.Period {
	at := func(day int) rollup.Slot { return f.scan.Calendar().First(f.first + rollup.Day(day)) } //nolint:gosec // at most 1600
	zone := f.scan.Calendar().Zone()
	return kpi.Period{From: at(from).Start().In(zone), To: earlier(at(to).Start(), f.scan.Period.To).In(zone)}
}

// part is the part that contains a day; -1: none.
func (f *finder) part(day int) int {
	switch {
	case day >= f.end || day < f.begin[previous]:
		return -1
	case day >= f.begin[current]:
		return current
	}
	return previous
}

// daysOf returns the days of a part.
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

// durations are the durations of a template's successful jobs in a part.
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

// test adds a hypothesis with its p-value. A difference that is too small to matter counts as one
// that chance explains. So leaving it out does not relax the correction of the other hypotheses.
func (f *finder) test(p float64, matters bool, finding func() Finding) {
	if !matters {
		p = 1
	}
	f.tried = append(f.tried, p)
	if p <= FalseDiscoveries {
		f.candidates = append(f.candidates, candidate{len(f.tried) - 1, finding()})
	}
}

// significant returns the findings that remain after the correction for the number of tests.
func (f *finder) significant() (items []Finding) {
	q := significance.Adjust(f.tried)
	for _, m := range f.candidates {
		if q[m.trial] <= FalseDiscoveries {
			m.finding.P, m.finding.Q = f.tried[m.trial], q[m.trial]
			items = append(items, m.finding)
		}
	}
	slices.SortFunc(items, compareFindings)
	return items
}

// side is one side of a comparison of a template.
func (f *finder) side(t, part int, value *float64, runs int64) Side {
	s := Side{Period: f.periods[part], Value: value, Runs: runs}
	for i := range f.usage.templates[t].pairs {
		if f.usage.templates[t].pairs[i].parts[part].jobs > 0 {
			s.Projects++
		}
	}
	return s
}

// named names the projects of a template that have most of something, without those that have nothing.
func (f *finder) named(t int, most func(*pair) float64) []string {
	return f.usage.most(f.usage.templates[t].pairs, most)
}
