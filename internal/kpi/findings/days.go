package findings

import (
	"cmp"
	"context"
	"slices"

	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/rollup"
)

// days is the first scan: templates by day, and the days on which projects were busy. Days are
// counted from the first that was scanned.
type days struct {
	asOf      kpi.AsOf
	first     rollup.Day
	total     []int64 // jobs by day, of the chosen projects
	busy      []int   // projects by day, of all
	templates []templateDays
	projects  []projectDays
}

// templateDays is one template by days, and its durations by weeks. The first week is the first
// seven days.
type templateDays struct {
	name  string
	days  []sums
	weeks []rollup.Histogram
}

// projectDays is one project.
type projectDays struct {
	name   string
	chosen bool     // by the filter
	runs   []int64  // by week
	busy   []uint64 // a bit for each day
}

func (p *projectDays) isBusy(day int) bool { return p.busy[day/64]>>(day%64)&1 > 0 }

// sums are the sums over some jobs that findings need.
type sums struct {
	jobs, ended, bad, succeeded int64
	again, wasted               int64 // wasted and the other durations are in microseconds
	lost                        int64 // duration of the bad ones
	okTimed, okMicros           int64
	failedTimed, failedMicros   int64 // without those that timed out
	above                       int64 // of okTimed, above the former p95
}

func (s *sums) addCell(c *rollup.Cell) {
	s.jobs += int64(c.Count)
	s.again += int64(c.Again)
	s.wasted += c.Wasted
	switch int(c.Status) {
	case success:
		s.ended += int64(c.Count)
		s.succeeded += int64(c.Count)
		s.okTimed += int64(c.Timed)
		s.okMicros += c.Micros
	case failed, timedOut:
		s.ended += int64(c.Count)
		s.bad += int64(c.Count)
		s.lost += c.Micros
		if int(c.Status) == failed {
			s.failedTimed += int64(c.Timed)
			s.failedMicros += c.Micros
		}
	}
}

func (s *sums) add(o *sums) {
	s.jobs += o.jobs
	s.ended += o.ended
	s.bad += o.bad
	s.succeeded += o.succeeded
	s.again += o.again
	s.wasted += o.wasted
	s.lost += o.lost
	s.okTimed += o.okTimed
	s.okMicros += o.okMicros
	s.failedTimed += o.failedTimed
	s.failedMicros += o.failedMicros
	s.above += o.above
}

const daysPerWeek = 7

// scanDays goes over twice as many whole weeks as the period has, at least two.
func (f *finder) scanDays(ctx context.Context, a *kpi.Asker) (*days, error) {
	s := f.scan
	end := s.LastDay() + 1
	weeks := max(s.Days()/daysPerWeek, 1)
	n := 2 * weeks * daysPerWeek
	c := &days{first: end - rollup.Day(n)} //nolint:gosec // at most 1600
	var err error
	c.asOf, err = s.From(ctx, a, c.first, func() func(*kpi.Cell) {
		c.begin(n)
		known, chosen := index{}, kpi.NewMatcher(f.filter.Projects)
		return func(cell *kpi.Cell) {
			if c.addProject(s, cell, &known, &chosen) {
				c.addTemplate(s, cell)
			}
		}
	})
	c.sort()
	return c, err
}

// sort orders everything by name. The order in which a scan meets names differs from scan to scan,
// and with it the last digits of sums.
func (c *days) sort() {
	slices.SortFunc(c.templates, func(a, b templateDays) int { return cmp.Compare(a.name, b.name) })
	slices.SortFunc(c.projects, func(a, b projectDays) int { return cmp.Compare(a.name, b.name) })
}

// begin forgets the results of an earlier attempt.
func (c *days) begin(n int) {
	c.total, c.busy = make([]int64, n), make([]int, n)
	c.templates, c.projects = nil, nil
}

// addProject returns false if the filter does not choose the cell's project.
func (c *days) addProject(s *kpi.Scan, f *kpi.Cell, known *index, chosen *kpi.Matcher) bool {
	n, day := len(c.total), int(f.Day-c.first)
	i := known.of(f.Project)
	if i == len(c.projects) {
		c.projects = append(c.projects, projectDays{
			name: s.Texts().At(f.Project), chosen: chosen.Match(f.Project, s.Texts()),
			runs: make([]int64, n/daysPerWeek), busy: make([]uint64, n/64+1),
		})
	}
	p := &c.projects[i]
	p.runs[day/daysPerWeek] += int64(f.Count)
	if !p.isBusy(day) {
		p.busy[day/64] |= 1 << (day % 64)
		c.busy[day]++
	}
	return p.chosen
}

func (c *days) addTemplate(s *kpi.Scan, f *kpi.Cell) {
	n, day := len(c.total), int(f.Day-c.first)
	for len(c.templates) <= f.TemplateNumber {
		c.templates = append(c.templates, templateDays{
			s.TemplateName(len(c.templates)), make([]sums, n), make([]rollup.Histogram, n/daysPerWeek),
		})
	}
	t := &c.templates[f.TemplateNumber]
	t.days[day].addCell(f.Cell)
	if int(f.Status) == success {
		f.AddDurations(f.Cell, &t.weeks[day/daysPerWeek])
	}
	c.total[day] += int64(f.Count)
}

// An index numbers texts from 0 on, in the order in which they appear.
type index struct {
	numbers []int32 // by the text's number in the scan, plus one; 0: not seen
	seen    int32
}

func (x *index) of(text uint32) int {
	if int(text) >= len(x.numbers) {
		x.numbers = append(x.numbers, make([]int32, int(text)+1-len(x.numbers))...)
	}
	if x.numbers[text] == 0 {
		x.seen++
		x.numbers[text] = x.seen
	}
	return int(x.numbers[text]) - 1
}
