package kpi

import (
	"cmp"
	"context"
	"slices"

	"ci-jobs-metrics/internal/rollup"
)

// A census is what is to be known of all jobs before they can be compared: of templates by
// day, and on which days projects were busy. Days are counted from the first that was
// scanned.
type census struct {
	asOf      AsOf
	first     rollup.Day
	total     []int64 // jobs by day, of the projects that are chosen
	busy      []int   // projects by day, of all
	templates []templateDays
	projects  []projectDays
}

// templateDays is one template by days, and its durations by weeks, of which the first are
// the first seven days.
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

// sums are what findings add up of some jobs.
type sums struct {
	jobs, ended, bad, succeeded int64
	again, wasted               int64 // wasted and other durations are in microseconds
	lost                        int64 // by what is bad
	okTimed, okMicros           int64
	failedTimed, failedMicros   int64 // without what timed out
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

// takeCensus goes over twice as many whole weeks as the period has, at least two.
func (f *finder) takeCensus(ctx context.Context, a *Asker) (*census, error) {
	s := f.survey
	end := s.days[len(s.days)-1] + 1
	weeks := max(len(s.days)/daysPerWeek, 1)
	n := 2 * weeks * daysPerWeek
	c := &census{first: end - rollup.Day(n)} //nolint:gosec // at most 1600
	var err error
	c.asOf, err = s.sweep(ctx, a, c.first, func() func(*found) {
		c.begin(n)
		known, chosen := index{}, matches{patterns: f.filter.Projects}
		return func(cell *found) {
			if c.addProject(s, cell, &known, &chosen) {
				c.addTemplate(s, cell)
			}
		}
	})
	c.sort()
	return c, err
}

// sort puts all in the order of names: that in which they were met differs from scan to scan,
// and with it the last digits of what is added up.
func (c *census) sort() {
	slices.SortFunc(c.templates, func(a, b templateDays) int { return cmp.Compare(a.name, b.name) })
	slices.SortFunc(c.projects, func(a, b projectDays) int { return cmp.Compare(a.name, b.name) })
}

// begin forgets what an earlier attempt found.
func (c *census) begin(days int) {
	c.total, c.busy = make([]int64, days), make([]int, days)
	c.templates, c.projects = nil, nil
}

// addProject is false if the cell's project is not one that is chosen.
func (c *census) addProject(s *survey, f *found, known *index, chosen *matches) bool {
	n, day := len(c.total), int(f.Day-c.first)
	i := known.of(f.Project)
	if i == len(c.projects) {
		c.projects = append(c.projects, projectDays{
			name: s.texts.At(f.Project), chosen: chosen.match(f.Project, s.texts),
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

func (c *census) addTemplate(s *survey, f *found) {
	n, day := len(c.total), int(f.Day-c.first)
	for len(c.templates) <= f.template {
		c.templates = append(c.templates, templateDays{
			s.names[len(c.templates)], make([]sums, n), make([]rollup.Histogram, n/daysPerWeek),
		})
	}
	t := &c.templates[f.template]
	t.days[day].addCell(f.Cell)
	if int(f.Status) == success {
		f.AddDurations(f.Cell, &t.weeks[day/daysPerWeek])
	}
	c.total[day] += int64(f.Count)
}

// sweep visits all cells from a day to the end of the period.
func (s *survey) sweep(ctx context.Context, a *Asker, from rollup.Day, begin func() func(*found)) (AsOf, error) {
	return s.scan(ctx, a, rollup.Scan{Ranges: []rollup.Range{{From: s.calendar.First(from), To: s.Period.slots().To}}}, begin)
}

// An index numbers texts from 0 on, in the order in which they are met.
type index struct {
	numbers []int32 // by the text's own, one more than it is; 0: not met
	met     int32
}

func (x *index) of(text uint32) int {
	if int(text) >= len(x.numbers) {
		x.numbers = append(x.numbers, make([]int32, int(text)+1-len(x.numbers))...)
	}
	if x.numbers[text] == 0 {
		x.met++
		x.numbers[text] = x.met
	}
	return int(x.numbers[text]) - 1
}
