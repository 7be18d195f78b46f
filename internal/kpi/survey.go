package kpi

import (
	"context"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/rollup"
)

// A survey goes over the jobs of a query: those of its period and of the one before.
type survey struct {
	Query
	calendar rollup.Calendar
	observed [6]bool // statuses, by rank, that Stats.Durations are about
	wanted   [6]bool // statuses that the filter lets through
	days     []rollup.Day
	points   []Point // of the series, without numbers

	ctx  context.Context // of the scan that goes on
	stop func(error)     // ends it

	// Of the attempt that goes on:
	texts     *rollup.Texts
	templates map[string]int // numbers of those that match, -1 of others
	names     []string       // of templates, by number
	projects  matches
	versions  matches
}

func (a *Asker) newSurvey(q Query) (*survey, error) {
	if q.Interval == "" {
		q.Interval = Daily
	}
	if err := q.Check(); err != nil {
		return nil, err
	}
	s := &survey{Query: q, calendar: a.ledger.Calendar()}
	for rank, status := range job.Statuses {
		s.wanted[rank] = len(q.Filter.Statuses) == 0
		for _, w := range q.Filter.Statuses {
			s.wanted[rank] = s.wanted[rank] || w == status
		}
	}
	s.observed = s.wanted
	if len(q.Filter.Statuses) == 0 {
		s.observed = [6]bool{}
		s.observed[success] = true
	}
	r := q.Period.slots()
	for d, last := s.calendar.DayOf(r.From), s.calendar.DayOf(r.To-1); d <= last; d++ {
		s.days = append(s.days, d)
	}
	s.points = s.makePoints()
	return s, nil
}

func (s *survey) makePoints() (points []Point) {
	zone := s.calendar.Zone()
	if s.Interval == Hourly {
		for from := s.Period.From; from.Before(s.Period.To); from = from.Add(time.Hour) {
			to := earlier(from.Add(time.Hour), s.Period.To)
			points = append(points, Point{From: from.In(zone), To: to.In(zone)})
		}
		return points
	}
	r := s.Period.slots()
	for _, d := range s.days {
		day := s.calendar.Slots(d)
		points = append(points, Point{From: max(day.From, r.From).Start().In(zone), To: min(day.To, r.To).Start().In(zone)})
	}
	return points
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// ranges are what to scan: the previous period, and the period, by the hour if that is
// wanted.
func (s *survey) ranges() []rollup.Range {
	ranges := []rollup.Range{s.Period.Previous().slots()}
	if s.Interval == Daily {
		return append(ranges, s.Period.slots())
	}
	for _, p := range s.points {
		ranges = append(ranges, rollup.Range{From: rollup.SlotOf(p.From), To: rollup.SlotOf(p.To)})
	}
	return ranges
}

// A found cell is one that the query is about.
type found struct {
	*rollup.View
	*rollup.Cell
	template int // number
	period   int // previous or current
	point    int // of the series
	day      int // of the period
}

// The periods of found cells, and of arrays by period.
const (
	previous = iota
	current
)

// ask calls begin, and what that returns with every cell that the query is about. Both may
// come to nothing and begin anew.
func (s *survey) ask(ctx context.Context, a *Asker, begin func() func(*found)) (Meta, error) {
	asOf, err := s.scan(ctx, a, rollup.Scan{Ranges: s.ranges(), Template: s.onlyTemplate()}, begin)
	return s.meta(asOf), err
}

// scan is ask for other ranges than those of the query.
func (s *survey) scan(ctx context.Context, a *Asker, scan rollup.Scan, begin func() func(*found)) (AsOf, error) {
	limited, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s.ctx, s.stop = limited, stop
	last, err := a.ledger.Scan(limited, scan, func(texts *rollup.Texts) func(rollup.Part) {
		s.texts, s.templates, s.names = texts, map[string]int{}, nil
		s.projects, s.versions = matches{patterns: s.Filter.Projects}, matches{patterns: s.Filter.Versions}
		visit := begin()
		return func(p rollup.Part) { s.visit(&p, visit) }
	})
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		err = context.Cause(limited)
	}
	if err != nil {
		return AsOf{}, err
	}
	// Not when it was asked: that would make different answers of equal ones.
	received, err := a.ledger.Received(ctx, last)
	return AsOf{last, received.In(s.calendar.Zone())}, err
}

func (s *survey) meta(asOf AsOf) Meta {
	zone := s.calendar.Zone()
	in := func(p Period) Period { return Period{p.From.In(zone), p.To.In(zone)} }
	return Meta{
		AsOf:     asOf,
		TimeZone: zone.String(),
		Period:   in(s.Period),
		Previous: in(s.Period.Previous()),
		Filter:   s.Filter,
	}
}

// onlyTemplate is the one template that the query is about; empty if there may be more.
func (s *survey) onlyTemplate() string {
	if len(s.Filter.Templates) != 1 {
		return ""
	}
	text, _ := s.Filter.Templates[0].exact()
	return text
}

// lookEvery is after how many cells it is looked whether there is still time: patterns can take
// long to match.
const lookEvery = 64

func (s *survey) visit(p *rollup.Part, visit func(*found)) {
	f := found{View: p.View, template: s.template(p.Template), period: min(p.Range, current)}
	if f.template < 0 {
		return
	}
	if f.period == current {
		f.day = int(p.Day - s.days[0])
		f.point = f.day
		if s.Interval == Hourly {
			f.point = p.Range - 1
		}
	}
	for i := range p.Cells {
		if i%lookEvery == 0 && s.ctx.Err() != nil {
			return // Scan finds out too
		}
		c := &p.Cells[i]
		if s.wanted[c.Status] && s.projects.match(c.Project, s.texts) && s.versions.match(c.Version, s.texts) {
			f.Cell = c
			visit(&f)
		}
	}
}

func (s *survey) template(name string) int {
	n, ok := s.templates[name]
	if !ok {
		n = -1
		if MatchesAny(s.Filter.Templates, name) {
			n = len(s.names)
			s.names = append(s.names, name)
		}
		s.templates[name] = n
	}
	return n
}

// matches remember which texts match patterns.
type matches struct {
	patterns []Pattern
	known    []int8 // by number of the text: 0 not known, 1 it does, -1 it does not
}

func (m *matches) match(number uint32, texts *rollup.Texts) bool {
	if len(m.patterns) == 0 {
		return true
	}
	if int(number) >= len(m.known) {
		m.known = append(m.known, make([]int8, int(number)+1-len(m.known))...)
	}
	if m.known[number] == 0 {
		m.known[number] = -1
		if MatchesAny(m.patterns, texts.At(number)) {
			m.known[number] = 1
		}
	}
	return m.known[number] > 0
}
