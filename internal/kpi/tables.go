package kpi

import (
	"context"
	"slices"
)

// Templates answers which templates there are, and how each does.
func (a *Asker) Templates(ctx context.Context, q Query, cut Cut) (*Page[TemplateRow], error) {
	return table(ctx, a, q, cut, templateColumns, tableOf[int, TemplateRow]{
		key: func(f *found) int { return f.template },
		add: func(g *row, f *found) { g.addProject(f) },
		row: func(s *survey, template int, g *row) TemplateRow {
			return TemplateRow{s.names[template], g.compared(s, false, true), g.trend}
		},
	})
}

// Projects answers which projects there are, and how each does.
func (a *Asker) Projects(ctx context.Context, q Query, cut Cut) (*Page[ProjectRow], error) {
	return table(ctx, a, q, cut, projectColumns, tableOf[uint32, ProjectRow]{
		key: func(f *found) uint32 { return f.Project },
		add: func(g *row, f *found) { g.addTemplate(f) },
		row: func(s *survey, project uint32, g *row) ProjectRow {
			_, last := s.firstAndLast(g.trend)
			return ProjectRow{s.texts.At(project), g.compared(s, true, false), g.trend, last}
		},
	})
}

// templateVersion is the key of a VersionRow.
type templateVersion struct {
	template int
	version  uint32
}

// Versions answers which versions of templates are in use.
func (a *Asker) Versions(ctx context.Context, q Query, cut Cut) (*Page[VersionRow], error) {
	var shares map[int]int64 // jobs of each template
	return table(ctx, a, q, cut, versionColumns, tableOf[templateVersion, VersionRow]{
		begin: func() { shares = map[int]int64{} },
		key:   func(f *found) templateVersion { return templateVersion{f.template, f.Version} },
		add: func(g *row, f *found) {
			g.addProject(f)
			if f.period == current {
				shares[f.template] += int64(f.Count)
			}
		},
		row: func(s *survey, k templateVersion, g *row) VersionRow {
			v := VersionRow{Template: s.names[k.template], Version: s.texts.At(k.version),
				Compared: g.compared(s, false, true), Trend: g.trend}
			v.FirstDay, v.LastDay = s.firstAndLast(g.trend)
			if all := shares[k.template]; all > 0 {
				v.Share = new(float64(v.Current.Jobs) / float64(all))
			}
			return v
		},
	})
}

// A row is a group with its jobs by day.
type row struct {
	group
	trend []int64
}

// A tableOf says what rows a table has: of which jobs, by key, and what is shown of them.
type tableOf[K comparable, Row any] struct {
	begin func() // if not nil, called with each attempt
	key   func(*found) K
	add   func(*row, *found) // what a group does not add by itself
	row   func(*survey, K, *row) Row
}

// table answers with the rows that a cut asks for.
func table[K comparable, Row any](ctx context.Context, a *Asker, q Query, cut Cut, columns []column[Row], t tableOf[K, Row]) (*Page[Row], error) {
	q.Interval = Daily
	s, err := a.newSurvey(q)
	if err != nil {
		return nil, err
	}
	order, err := orderOf(columns, cut)
	if err != nil {
		return nil, err
	}
	var rows map[K]*row
	meta, err := s.ask(ctx, a, func() func(*found) {
		rows = map[K]*row{}
		if t.begin != nil {
			t.begin()
		}
		var last *row // cells of a group are often neighbours
		var lastKey K
		return func(f *found) {
			k := t.key(f)
			if last == nil || k != lastKey {
				if last, lastKey = at(rows, k), k; last.trend == nil {
					last.trend = make([]int64, len(s.days))
				}
			}
			last.add(f, &s.observed)
			t.add(last, f)
			if f.period == current {
				last.trend[f.day] += int64(f.Count)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	items := make([]Row, 0, len(rows))
	for k, g := range rows {
		items = append(items, t.row(s, k, g))
	}
	slices.SortFunc(items, order)
	return newPage(meta, items, cut), nil
}

func at[K comparable, V any](m map[K]*V, k K) *V {
	v := m[k]
	if v == nil {
		v = new(V)
		m[k] = v
	}
	return v
}

// firstAndLast are the first day and the last with a job; empty if there is none.
func (s *survey) firstAndLast(trend []int64) (first, last string) {
	for i, n := range trend {
		if n == 0 {
			continue
		}
		if first == "" {
			first = s.days[i].String()
		}
		last = s.days[i].String()
	}
	return first, last
}
