package kpi

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrSort says that a table has no such column.
var ErrSort = errors.New("the table can't be sorted by")

// A column is one by which a table can be sorted: texts or numbers.
type column[Row any] struct {
	name   string
	text   func(*Row) string
	number func(*Row) *float64 // nil: there is none, which comes last in both directions
}

func (c *column[Row]) compare(a, b *Row, descending bool) int {
	if c.text != nil {
		return turn(cmp.Compare(c.text(a), c.text(b)), descending)
	}
	x, y := c.number(a), c.number(b)
	switch {
	case x == nil && y == nil:
		return 0
	case x == nil:
		return 1
	case y == nil:
		return -1
	}
	return turn(cmp.Compare(*x, *y), descending)
}

func turn(order int, descending bool) int {
	if descending {
		return -order
	}
	return order
}

// firstChoice is the column by which tables are sorted if none is asked for, descending.
const firstChoice = "jobs"

// orderOf is how a cut wants rows to be sorted. Those that are equal then are in the order
// of their names, so that pages never overlap.
func orderOf[Row any](columns []column[Row], cut Cut) (func(a, b *Row) int, error) {
	if cut.Sort == "" {
		cut.Sort, cut.Descending = firstChoice, true
	}
	at := slices.IndexFunc(columns, func(c column[Row]) bool { return c.name == cut.Sort })
	if at < 0 {
		return nil, fmt.Errorf("%w %q: it has %s", ErrSort, cut.Sort, strings.Join(namesOf(columns), ", "))
	}
	return func(a, b *Row) int {
		if order := columns[at].compare(a, b, cut.Descending); order != 0 {
			return order
		}
		for i := range columns {
			if columns[i].text != nil {
				if order := columns[i].compare(a, b, false); order != 0 {
					return order
				}
			}
		}
		return 0
	}, nil
}

func namesOf[Row any](columns []column[Row]) (names []string) {
	for _, c := range columns {
		names = append(names, c.name)
	}
	return names
}

// Columns of the tables, by which a Cut can sort.
var (
	TemplateColumns = namesOf(templateColumns)
	ProjectColumns  = namesOf(projectColumns)
	VersionColumns  = namesOf(versionColumns)
)

var templateColumns = append([]column[TemplateRow]{
	{name: "template", text: func(r *TemplateRow) string { return r.Template }},
}, comparedColumns(func(r *TemplateRow) *Compared { return &r.Compared })...)

var projectColumns = append([]column[ProjectRow]{
	{name: "project", text: func(r *ProjectRow) string { return r.Project }},
}, comparedColumns(func(r *ProjectRow) *Compared { return &r.Compared })...)

var versionColumns = append([]column[VersionRow]{
	{name: "template", text: func(r *VersionRow) string { return r.Template }},
	{name: "version", text: func(r *VersionRow) string { return r.Version }},
	{name: "share", number: func(r *VersionRow) *float64 { return r.Share }},
}, comparedColumns(func(r *VersionRow) *Compared { return &r.Compared })...)

// comparedColumns are those of the numbers that all tables have: of the period, and how
// they changed from the one before.
func comparedColumns[Row any](of func(*Row) *Compared) (columns []column[Row]) {
	for _, n := range []struct {
		name string
		of   func(*Stats) *float64
	}{
		{"jobs", func(s *Stats) *float64 { return new(float64(s.Jobs)) }},
		{"success_rate", func(s *Stats) *float64 { return s.SuccessRate }},
		{"projects", func(s *Stats) *float64 { return new(float64(s.Projects)) }},
		{"templates", func(s *Stats) *float64 { return new(float64(s.Templates)) }},
		{"ci_hours", func(s *Stats) *float64 { return &s.CIHours }},
		{"hours_lost", func(s *Stats) *float64 { return &s.HoursLost }},
		{"flaky", func(s *Stats) *float64 { return new(float64(s.Flaky)) }},
		{"flaky_hours", func(s *Stats) *float64 { return &s.FlakyHours }},
		{"mean", func(s *Stats) *float64 { return s.Durations.Mean }},
		{"p50", func(s *Stats) *float64 { return s.Durations.P50 }},
		{"p95", func(s *Stats) *float64 { return s.Durations.P95 }},
	} {
		columns = append(columns,
			column[Row]{name: n.name, number: func(r *Row) *float64 { return n.of(&of(r).Current) }},
			column[Row]{name: n.name + "_change", number: func(r *Row) *float64 {
				return difference(n.of(&of(r).Current), n.of(&of(r).Previous))
			}})
	}
	return columns
}

func difference(a, b *float64) *float64 {
	if a == nil || b == nil {
		return nil
	}
	return new(*a - *b)
}
