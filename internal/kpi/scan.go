package kpi

import (
	"context"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/rollup"
)

// A Scan goes over the cells of the roll-ups that a query is about: those of its period and of the
// period before. Package findings uses it to go over other periods. A Scan serves one query, and
// one goroutine.
type Scan struct {
	Query
	calendar rollup.Calendar
	observed [6]bool // statuses, by rank, that Stats.Durations are about
	wanted   [6]bool // statuses that the filter lets through
	days     []rollup.Day
	points   []Point // of the series, without numbers
	// comparable is set if the period before is recorded, so that the two can be compared.
	comparable bool

	ctx  context.Context // of the scan that goes on
	stop func(error)     // ends it

	// Of the attempt that goes on:
	texts     *rollup.Texts
	templates map[string]int // numbers of those that match, -1 of others
	names     []string       // of templates, by number
	projects  Matcher
	versions  Matcher
}

// NewScan returns a Scan for a query. It fails if [Query.Check] does.
func (a *Asker) NewScan(q Query) (*Scan, error) {
	if q.Interval == "" {
		q.Interval = Daily
	}
	if err := q.Check(); err != nil {
		return nil, err
	}
	s := &Scan{Query: q, calendar: a.ledger.Calendar()}
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

func (s *Scan) makePoints() (points []Point) {
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
func (s *Scan) ranges() []rollup.Range {
	ranges := []rollup.Range{s.Period.Previous().slots()}
	if s.Interval == Daily {
		return append(ranges, s.Period.slots())
	}
	for _, p := range s.points {
		ranges = append(ranges, rollup.Range{From: rollup.SlotOf(p.From), To: rollup.SlotOf(p.To)})
	}
	return ranges
}

// A Cell is a cell of the roll-ups that the query is about, with its place in the answer.
type Cell struct {
	*rollup.View
	*rollup.Cell
	TemplateNumber int // see Scan.TemplateName
	period         int // previous or current
	point          int // of the series
	day            int // of the period
}

// The periods of cells, and of arrays by period.
const (
	previous = iota
	current
)

// ask calls begin, and the function that begin returns with every cell that the query is about.
// An attempt may come to nothing: then both begin again.
func (s *Scan) ask(ctx context.Context, a *Asker, begin func() func(*Cell)) (Meta, error) {
	asOf, err := s.run(ctx, a, rollup.Scan{Ranges: s.ranges(), Template: s.onlyTemplate()}, begin)
	if err != nil {
		return Meta{}, err
	}
	return s.Meta(ctx, a, asOf)
}

// Days is the number of days of the reporting time zone that the period touches.
func (s *Scan) Days() int { return len(s.days) }

// LastDay is the last of these days.
func (s *Scan) LastDay() rollup.Day { return s.days[len(s.days)-1] }

// Calendar is the calendar of the reporting time zone.
func (s *Scan) Calendar() rollup.Calendar { return s.calendar }

// Texts has the projects and versions that cells name by numbers. It is valid within an attempt.
func (s *Scan) Texts() *rollup.Texts { return s.texts }

// TemplateName returns the template that a cell names by its TemplateNumber.
func (s *Scan) TemplateName(number int) string { return s.names[number] }

// From goes over all cells from a day to the end of the period, as ask does.
func (s *Scan) From(ctx context.Context, a *Asker, day rollup.Day, begin func() func(*Cell)) (AsOf, error) {
	return s.run(ctx, a, rollup.Scan{Ranges: []rollup.Range{{From: s.calendar.First(day), To: s.Period.slots().To}}}, begin)
}

// run is ask for given ranges.
func (s *Scan) run(ctx context.Context, a *Asker, scan rollup.Scan, begin func() func(*Cell)) (AsOf, error) {
	limited, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s.ctx, s.stop = limited, stop
	last, err := a.ledger.Scan(limited, scan, func(texts *rollup.Texts) func(rollup.Part) {
		s.texts, s.templates, s.names = texts, map[string]int{}, nil
		s.projects, s.versions = Matcher{patterns: s.Filter.Projects}, Matcher{patterns: s.Filter.Versions}
		visit := begin()
		return func(p rollup.Part) { s.visit(&p, visit) }
	})
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		err = context.Cause(limited)
	}
	if err != nil {
		return AsOf{}, err
	}
	// Not the time of the query: equal answers must have equal bytes.
	received, err := a.ledger.Received(ctx, last)
	return AsOf{last, received.In(s.calendar.Zone())}, err
}

// Meta returns the meta data of an answer.
func (s *Scan) Meta(ctx context.Context, a *Asker, asOf AsOf) (Meta, error) {
	zone := s.calendar.Zone()
	in := func(p Period) Period { return Period{p.From.In(zone), p.To.In(zone)} }
	since, err := a.RecordedSince(ctx)
	s.comparable = len(s.Filter.Statuses) == 0 && s.Period.comparable(since)
	return Meta{
		AsOf:          asOf,
		RecordedSince: since,
		TimeZone:      zone.String(),
		Period:        in(s.Period),
		Previous:      in(s.Period.Previous()),
		Filter:        s.Filter,
	}, err
}

// onlyTemplate is the one template that the query is about; empty if there may be more.
func (s *Scan) onlyTemplate() string {
	if len(s.Filter.Templates) != 1 {
		return ""
	}
	text, _ := s.Filter.Templates[0].exact()
	return text
}

// lookEvery is after how many cells it is looked whether there is still time: patterns can take
// long to match.
const lookEvery = 64

func (s *Scan) visit(p *rollup.Part, visit func(*Cell)) {
	f := Cell{View: p.View, TemplateNumber: s.template(p.Template), period: min(p.Range, current)}
	if f.TemplateNumber < 0 {
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
		if s.wanted[c.Status] && s.projects.Match(c.Project, s.texts) && s.versions.Match(c.Version, s.texts) {
			f.Cell = c
			visit(&f)
		}
	}
}

func (s *Scan) template(name string) int {
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

// A Matcher matches the numbered texts of a scan with patterns, and remembers the results.
type Matcher struct {
	patterns []Pattern
	known    []int8 // by the text's number: 0 not known, 1 it matches, -1 it doesn't
}

// NewMatcher returns a Matcher. Without patterns every text matches.
func NewMatcher(patterns []Pattern) Matcher { return Matcher{patterns: patterns} }

// Match reports whether the text with the given number matches one of the patterns.
func (m *Matcher) Match(number uint32, texts *rollup.Texts) bool {
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
