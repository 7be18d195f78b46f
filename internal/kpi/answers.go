package kpi

import (
	"cmp"
	"context"
	"slices"

	"ci-jobs-metrics/internal/rollup"
)

// A group is the jobs of a query that have something in common, in both periods.
type group struct {
	sums      [2]cellSums
	projects  [2]set
	templates [2]set
}

func (g *group) add(f *Cell, observed *[6]bool) {
	g.sums[f.period].add(f.View, f.Cell, observed)
}

func (g *group) addProject(f *Cell)  { g.projects[f.period].add(f.Project) }
func (g *group) addTemplate(f *Cell) { g.templates[f.period].add(uint32(f.TemplateNumber)) } //nolint:gosec // an index

// compared are the group's numbers. projects and templates are how many there are of
// those that were not added: the one that makes the group.
func (g *group) compared(s *Scan, oneProject, oneTemplate bool) Compared {
	of := func(period int) Stats {
		t := &g.sums[period]
		stats := t.stats(&s.observed)
		stats.Projects, stats.Templates = g.projects[period].len(), g.templates[period].len()
		one := int(min(stats.Jobs, 1))
		if oneProject {
			stats.Projects = one
		}
		if oneTemplate {
			stats.Templates = one
		}
		return stats
	}
	return s.compare(of(current), of(previous))
}

// A series is a query's jobs by the points of the period.
type series struct {
	points              []cellSums
	projects, templates []set
}

func (s *Scan) newSeries() series {
	n := len(s.points)
	return series{make([]cellSums, n), make([]set, n), make([]set, n)}
}

func (e *series) add(f *Cell, observed *[6]bool) {
	if f.period != current {
		return
	}
	e.points[f.point].add(f.View, f.Cell, observed)
	e.projects[f.point].add(f.Project)
	e.templates[f.point].add(uint32(f.TemplateNumber)) //nolint:gosec // an index
}

func (e *series) answer(s *Scan) []Point {
	points := slices.Clone(s.points)
	for i := range points {
		points[i].Stats = e.points[i].stats(&s.observed)
		points[i].Projects, points[i].Templates = e.projects[i].len(), e.templates[i].len()
	}
	return points
}

// Overview answers how the templates do together.
func (a *Asker) Overview(ctx context.Context, q Query) (*Overview, error) {
	s, err := a.NewScan(q)
	if err != nil {
		return nil, err
	}
	all, series, meta, err := s.together(ctx, a, nil)
	if err != nil {
		return nil, err
	}
	return &Overview{meta, all.compared(s, false, false), series.answer(s)}, nil
}

// together is all jobs as one group and one series. also, if not nil, is begun with each
// attempt, and sees every cell too.
func (s *Scan) together(ctx context.Context, a *Asker, also func() func(*Cell)) (all *group, e series, meta Meta, err error) {
	meta, err = s.ask(ctx, a, func() func(*Cell) {
		all, e = &group{}, s.newSeries()
		visit := func(*Cell) {}
		if also != nil {
			visit = also()
		}
		return func(f *Cell) {
			all.add(f, &s.observed)
			all.addProject(f)
			all.addTemplate(f)
			e.add(f, &s.observed)
			visit(f)
		}
	})
	return all, e, meta, err
}

// Template answers how one template does. The filter's templates don't matter.
func (a *Asker) Template(ctx context.Context, template string, q Query) (*Template, error) {
	q.Filter.Templates = []Pattern{Exactly(template)}
	s, err := a.NewScan(q)
	if err != nil {
		return nil, err
	}
	var durations [6]rollup.Histogram
	all, series, meta, err := s.together(ctx, a, func() func(*Cell) {
		durations = [6]rollup.Histogram{}
		return func(f *Cell) {
			if f.period == current {
				f.AddDurations(f.Cell, &durations[f.Status])
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return &Template{
		Meta: meta, Template: template,
		Compared:     all.compared(s, false, false),
		Series:       series.answer(s),
		Distribution: distribute(&durations, &series),
	}, nil
}

// Project answers how one project does, and which templates only others use. The filter's
// projects don't matter.
func (a *Asker) Project(ctx context.Context, project string, q Query) (*Project, error) {
	mine := Exactly(project)
	q.Filter.Projects = nil
	s, err := a.NewScan(q)
	if err != nil {
		return nil, err
	}
	var (
		all    *group
		e      series
		others map[int]*group // templates
		used   map[int]bool
	)
	meta, err := s.ask(ctx, a, func() func(*Cell) {
		all, e, others, used = &group{}, s.newSeries(), map[int]*group{}, map[int]bool{}
		own := Matcher{patterns: []Pattern{mine}}
		return func(f *Cell) {
			switch {
			case own.Match(f.Project, s.texts):
				all.add(f, &s.observed)
				all.addTemplate(f)
				e.add(f, &s.observed)
				used[f.TemplateNumber] = used[f.TemplateNumber] || f.period == current
			case f.period == current:
				g := at(others, f.TemplateNumber)
				g.sums[current].statuses[f.Status] += int64(f.Count)
				g.addProject(f)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	meta.Filter.Projects = []Pattern{mine}
	return &Project{meta, project, all.compared(s, true, false), e.answer(s), s.unused(others, used)}, nil
}

func (s *Scan) unused(others map[int]*group, used map[int]bool) []Usage {
	unused := []Usage{}
	for template, g := range others {
		if !used[template] {
			unused = append(unused, Usage{s.names[template], g.projects[current].len(), g.sums[current].jobs()})
		}
	}
	slices.SortFunc(unused, func(a, b Usage) int {
		return cmp.Or(cmp.Compare(b.Projects, a.Projects), cmp.Compare(b.Jobs, a.Jobs), cmp.Compare(a.Template, b.Template))
	})
	return unused[:min(len(unused), MaxUnused)]
}
