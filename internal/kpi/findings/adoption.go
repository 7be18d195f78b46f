package findings

import (
	"fmt"
	"slices"

	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/significance"
)

// The least changes of use that are shown.
const (
	mostRuns     = 0.6     // of the former runs of a template that fades
	mostProjects = 0.8     // of its former projects
	mostMoved    = 2.0 / 3 // of the projects that left a version, at least
	grace        = 14      // days in which projects may follow
	leastSilence = 10      // working days
	leastBusy    = 10      // working days of a project before it stopped
	longer       = 2       // than its longest silence before
)

// fading tests whether a template's share of its projects' jobs fell. It uses shares because a
// company on holiday runs less of everything.
func (f *finder) fading(t int) {
	before, after := f.ofTemplate(t, previous), f.ofTemplate(t, current)
	if expected := float64(before.jobs) * f.monthly(previous, 1) / f.monthly(current, 1); min(float64(before.jobs), expected) < MinRuns {
		return
	}
	was, is := f.monthly(previous, float64(before.jobs)), f.monthly(current, float64(after.jobs))
	// Rose with the parts exchanged tests for a fall.
	p := significance.Rose(f.shares(t), f.sharesByDay(t, current), f.sharesByDay(t, previous))
	old, now := f.side(t, previous, &was, before.jobs), f.side(t, current, &is, after.jobs)
	lately := 0
	for i := range f.usage.templates[t].pairs {
		if f.usage.templates[t].pairs[i].lately {
			lately++
		}
	}
	matters := is <= mostRuns*was && float64(now.Projects) <= mostProjects*float64(lately)
	f.test(p, matters, func() Finding {
		found := f.about(t, Fading, RunsPerMonth, old, now)
		found.RunsPerMonth = was - is
		found.Projects = f.named(t, func(p *pair) float64 {
			return f.monthly(previous, float64(p.parts[previous].jobs)) - f.monthly(current, float64(p.parts[current].jobs))
		})
		found.Text = fmt.Sprintf("%s runs %.0f times a month, in %d projects, instead of %.0f times in %d.",
			found.Template, is, now.Projects, was, lately)
		return found
	})
}

// shares are a template's jobs among all jobs of its projects. Before is the current part.
func (f *finder) shares(t int) (strata []significance.Stratum) {
	for i := range f.usage.templates[t].pairs {
		p := &f.usage.templates[t].pairs[i]
		all := f.usage.projects[p.project].jobs
		strata = append(strata, significance.Stratum{
			Before: countOf(p.parts[current].jobs, all[current]),
			After:  countOf(p.parts[previous].jobs, all[previous]),
		})
	}
	return strata
}

func (f *finder) sharesByDay(t, part int) (counts []significance.Count) {
	from, to := f.daysOf(part)
	for day := from; day < to; day++ {
		counts = append(counts, countOf(f.templates[t].days[day].jobs, f.total[day]))
	}
	return counts
}

// outdated tests, for each version of a template, whether most projects that ran it moved to a later
// one, while some stayed.
func (f *finder) outdated(t int) {
	asked := map[uint32]bool{}
	for i := range f.usage.templates[t].pairs {
		for _, v := range f.usage.templates[t].pairs[i].versions {
			if !asked[v.version] {
				asked[v.version] = true
				f.outdatedVersion(t, v.version)
			}
		}
	}
}

// A move describes what the projects that ran a version did next.
type move struct {
	left   []int          // days on which those that moved took another version
	next   map[uint32]int // by version: how many of them run it now
	runs   int64          // of those, in the current part
	stayed []*pair
	ran    int // projects that ran the version before
}

func (f *finder) outdatedVersion(t int, version uint32) {
	m := f.movesFrom(t, version)
	n := len(m.left) + len(m.stayed)
	slices.Sort(m.left)
	half := f.end // the day by which half of them had moved
	if n > 0 && (n-1)/2 < len(m.left) {
		half = m.left[(n-1)/2]
	}
	// A project that ran nothing after the time to follow did not stay: it is gone.
	m.stayed = slices.DeleteFunc(m.stayed, func(p *pair) bool { return half < f.end && p.last < half+grace })
	old := m.old(version)
	if min(m.runs, old[current]) < MinRuns {
		return
	}
	n = len(m.left) + len(m.stayed)
	p := significance.Binomial(float64(n), float64(len(m.left)), 0.5)
	f.test(p, float64(len(m.left)) >= mostMoved*float64(n), func() Finding { return f.outdatedFinding(t, version, &m) })
}

// movesFrom divides the projects that ran a version into those that moved and those that stayed. A
// project that runs both versions, or went back, is neither.
func (f *finder) movesFrom(t int, version uint32) move {
	m := move{next: map[uint32]int{}}
	for i := range f.usage.templates[t].pairs {
		p := &f.usage.templates[t].pairs[i]
		at := slices.IndexFunc(p.versions, func(v versionUse) bool { return v.version == version })
		if at < 0 {
			continue
		}
		if p.versions[at].first < f.begin[current] {
			m.ran++
		}
		day, newest := p.leaves(&p.versions[at])
		switch {
		case day < 0 && p.versions[at].last == p.last:
			m.stayed = append(m.stayed, p)
		case day >= 0 && p.versions[at].last < p.last:
			m.left = append(m.left, day)
			m.next[newest]++
			m.runs += p.parts[current].jobs
		}
	}
	return m
}

// leaves returns the day on which a project first ran a later version, -1 if it did not, and the
// version that it took last.
func (p *pair) leaves(from *versionUse) (day int, newest uint32) {
	day = -1
	last := from.first
	for i := range p.versions {
		v := &p.versions[i]
		if v.first <= from.first {
			continue
		}
		if day < 0 || v.first < day {
			day = v.first
		}
		if v.first > last {
			last, newest = v.first, v.version
		}
	}
	return day, newest
}

// old counts the runs of a version in the projects that stayed, before and after.
func (m *move) old(version uint32) (runs [2]int64) {
	for _, p := range m.stayed {
		at := slices.IndexFunc(p.versions, func(v versionUse) bool { return v.version == version })
		runs[previous] += p.versions[at].jobs[previous]
		runs[current] += p.versions[at].jobs[current]
	}
	return runs
}

func (f *finder) outdatedFinding(t int, version uint32, m *move) Finding {
	n := len(m.left) + len(m.stayed)
	next, most := "", 0
	for v, projects := range m.next {
		if text := f.scan.Texts().At(v); projects > most || projects == most && text < next {
			next, most = text, projects
		}
	}
	old, runs := f.scan.Texts().At(version), m.old(version)
	found := f.about(t, Outdated, OldShare,
		f.side(t, previous, new(float64(m.ran)/float64(max(n, m.ran))), runs[previous]), f.side(t, current, new(float64(len(m.stayed))/float64(n)), runs[current]))
	found.After.Projects, found.Before.Projects = len(m.stayed), m.ran
	found.Expected = 0.5
	found.Versions = []string{old, next}
	found.RunsPerMonth = f.monthly(current, float64(runs[current]))
	stayed := make([]pair, len(m.stayed))
	for i, p := range m.stayed {
		stayed[i] = *p
	}
	found.Projects = f.usage.most(stayed, func(p *pair) float64 { return float64(p.parts[current].jobs) })
	found.Evidence.Filter.Versions = []kpi.Pattern{kpi.Exactly(old)}
	found.Text = fmt.Sprintf("%d of %d projects still run %s of %s, which the others left, most of them for %s.",
		len(m.stayed), n, old, found.Template, next)
	return found
}

// stopped tests, for each project with enough jobs, whether its silence at the end is longer than
// chance explains.
func (f *finder) stopped() {
	working := f.workingDays()
	for i := range f.projects {
		p := &f.projects[i]
		s := f.silence(p, working)
		if !p.chosen || s.busy < leastBusy || s.runs < MinRuns || s.monthly() < MinRuns {
			continue
		}
		// The project's time begins with its first busy day, so that day is not drawn at random.
		chance := significance.Gap(s.busy-1, s.days-1, s.silent)
		f.test(chance, s.silent >= leastSilence && s.silent >= longer*s.longest, func() Finding {
			return f.stoppedFinding(p, &s)
		})
	}
}

// workingDays are the days on which at least half as many projects are busy as on the median day.
// Weekends and holidays are left out: a silence on them means nothing.
func (f *finder) workingDays() []bool {
	var counts []int
	for day := f.begin[previous]; day < f.end; day++ {
		if f.busy[day] > 0 {
			counts = append(counts, f.busy[day])
		}
	}
	slices.Sort(counts)
	working := make([]bool, f.end)
	for day := f.begin[previous]; day < f.end; day++ {
		working[day] = 2*f.busy[day] >= counts[len(counts)/2] && f.busy[day] > 0
	}
	return working
}

// A silence describes a project's busy days and the time since the last one.
type silence struct {
	first, last int   // days on which it was busy
	runs        int64 // in all of the time
	busy        int   // working days on which it was busy
	days        int   // working days from its first one on
	silent      int   // those after its last run
	longest     int   // longest other sequence of working days without a run
}

// monthly is the number of jobs in 30 days before the silence.
func (s *silence) monthly() float64 { return float64(s.runs) * 30 / float64(s.last-s.first+1) }

func (f *finder) silence(p *projectDays, working []bool) (s silence) {
	for _, n := range p.runs[f.begin[previous]/daysPerWeek : f.end/daysPerWeek] {
		s.runs += n
	}
	s.first = f.end
	for day := f.begin[previous]; day < f.end; day++ {
		busy := p.isBusy(day)
		if busy { // also on a weekend
			s.first, s.last = min(s.first, day), day
			s.longest, s.silent = max(s.longest, s.silent), 0
		}
		if !working[day] || s.first > day {
			continue
		}
		s.days++
		if busy {
			s.busy++
		} else {
			s.silent++
		}
	}
	return s
}

func (f *finder) stoppedFinding(p *projectDays, s *silence) Finding {
	then, since := f.period(s.first, s.last+1), f.period(s.last+1, f.end)
	filter := f.filter
	filter.Projects = []kpi.Pattern{kpi.Exactly(p.name)}
	perMonth := s.monthly()
	return Finding{
		Kind: Stopped, Projects: []string{p.name}, Versions: []string{},
		Measure: RunsPerMonth, Expected: perMonth, RunsPerMonth: perMonth,
		Before: Side{then, &perMonth, s.runs, 1}, After: Side{since, new(0.0), 0, 0},
		Test: tests[Stopped], LookAt: advice[Stopped],
		Text:     fmt.Sprintf("%s ran %.0f jobs a month, and none since %v.", p.name, perMonth, f.first+dayOf(s.last+1)),
		Evidence: Evidence{filter, f.period(f.begin[previous], f.end)},
	}
}
