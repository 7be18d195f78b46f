package kpi

import (
	"context"
	"errors"
	"slices"
)

// Templates answers which templates there are, and how each does.
func (a *Asker) Templates(ctx context.Context, q Query, cut Cut) (*Page[TemplateRow], error) {
	return table(ctx, a, q, cut, templateColumns, tableOf[int, TemplateRow]{
		key:   func(f *Cell) int { return f.TemplateNumber },
		add:   func(g *row, f *Cell) { g.addProject(f) },
		trend: func(r *TemplateRow, trend []int64) { r.Trend = trend },
		row: func(s *Scan, template int, g *row) TemplateRow {
			return TemplateRow{s.names[template], g.compared(s, false, true), nil}
		},
	})
}

// Projects answers which projects there are, and how each does.
func (a *Asker) Projects(ctx context.Context, q Query, cut Cut) (*Page[ProjectRow], error) {
	return table(ctx, a, q, cut, projectColumns, tableOf[uint32, ProjectRow]{
		key:   func(f *Cell) uint32 { return f.Project },
		add:   func(g *row, f *Cell) { g.addTemplate(f) },
		trend: func(r *ProjectRow, trend []int64) { r.Trend = trend },
		row: func(s *Scan, project uint32, g *row) ProjectRow {
			_, last := s.firstAndLast(&g.trend)
			return ProjectRow{s.texts.At(project), g.compared(s, true, false), nil, last}
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
		key:   func(f *Cell) templateVersion { return templateVersion{f.TemplateNumber, f.Version} },
		add: func(g *row, f *Cell) {
			g.addProject(f)
			if f.period == current {
				shares[f.TemplateNumber] += int64(f.Count)
			}
		},
		trend: func(r *VersionRow, trend []int64) { r.Trend = trend },
		row: func(s *Scan, k templateVersion, g *row) VersionRow {
			v := VersionRow{Template: s.names[k.template], Version: s.texts.At(k.version),
				Compared: g.compared(s, false, true)}
			v.FirstDay, v.LastDay = s.firstAndLast(&g.trend)
			if all := shares[k.template]; all > 0 {
				v.Share = new(float64(v.Current.Jobs) / float64(all))
			}
			return v
		},
	})
}

// MaxRows is how many rows a table may have: versions can be as many as jobs.
const MaxRows = 50_000

// ErrTooMany says that a table would have more.
var ErrTooMany = errors.New("the table would have more than 50 000 rows")

// A row is a group with its jobs by day.
type row struct {
	group
	trend trend
}

// A trend is the jobs by day, from the first with one to the last: of very many rows most
// have few days.
type trend struct {
	first int // day of counts[0]
	days  []int64
}

func (t *trend) add(day int, n int64) {
	switch {
	case len(t.days) == 0:
		t.first, t.days = day, []int64{0}
	case day < t.first:
		t.days = append(make([]int64, t.first-day), t.days...)
		t.first = day
	case day >= t.first+len(t.days):
		t.days = append(t.days, make([]int64, day+1-t.first-len(t.days))...)
	}
	t.days[day-t.first] += n
}

// all has every day of a period.
func (t *trend) all(days int) []int64 {
	all := make([]int64, days)
	copy(all[t.first:], t.days)
	return all
}

// A tableOf says what rows a table has: of which jobs, by key, and what is shown of them.
type tableOf[K comparable, Row any] struct {
	begin func() // if not nil, called with each attempt
	key   func(*Cell) K
	add   func(*row, *Cell) // what a group does not add by itself
	row   func(*Scan, K, *row) Row
	trend func(*Row, []int64) // sets what only rows that are shown have
}

// A ranked row is one on its way to its place.
type ranked[Row any] struct {
	row   Row
	trend *trend
}

// table answers with the rows that a cut asks for.
func table[K comparable, Row any](ctx context.Context, a *Asker, q Query, cut Cut, columns []column[Row], t tableOf[K, Row]) (*Page[Row], error) {
	q.Interval = Daily
	s, err := a.NewScan(q)
	if err != nil {
		return nil, err
	}
	order, err := orderOf(columns, cut)
	if err != nil {
		return nil, err
	}
	var rows map[K]*row
	meta, err := s.ask(ctx, a, func() func(*Cell) {
		rows = map[K]*row{}
		if t.begin != nil {
			t.begin()
		}
		var last *row // cells of a group are often neighbours
		var lastKey K
		return func(f *Cell) {
			k := t.key(f)
			if last == nil || k != lastKey {
				if last, lastKey = at(rows, k), k; len(rows) > MaxRows {
					s.stop(ErrTooMany)
				}
			}
			last.add(f, &s.observed)
			t.add(last, f)
			if f.period == current {
				last.trend.add(f.day, int64(f.Count))
			}
		}
	})
	if err != nil {
		return nil, err
	}
	items := make([]ranked[Row], 0, len(rows))
	for k, g := range rows {
		items = append(items, ranked[Row]{t.row(s, k, g), &g.trend})
	}
	slices.SortFunc(items, func(a, b ranked[Row]) int { return order(&a.row, &b.row) })
	page := &Page[Row]{meta, len(items), cut.Offset, []Row{}}
	for _, item := range CutOut(items, cut) {
		t.trend(&item.row, item.trend.all(len(s.days)))
		page.Items = append(page.Items, item.row)
	}
	return page, nil
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
func (s *Scan) firstAndLast(t *trend) (first, last string) {
	if len(t.days) == 0 {
		return "", ""
	}
	return s.days[t.first].String(), s.days[t.first+len(t.days)-1].String()
}

// CutOut is the part of a table's rows that a cut asks for.
func CutOut[T any](rows []T, c Cut) []T {
	from := min(max(c.Offset, 0), len(rows))
	if c.Limit <= 0 {
		return rows[from:]
	}
	return rows[from:min(from+c.Limit, len(rows))]
}
