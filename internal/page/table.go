package page

import (
	"cmp"
	"time"

	"ci-jobs-metrics/internal/kpi"
)

// A table is a part of an answer's rows, with the way to the others.
type table struct {
	ID, Title, Help string
	Link, CSV       string // of the answer
	Columns         []heading
	Rows            [][]cell
	Pages           *pager
	Empty           string // what is said without rows
}

// A heading is that of a column.
type heading struct {
	Title, Help string
	Number      bool // its cells are numbers
	Sort        *sorting
	Change      *sorting // by change
}

// A sorting is a link that sorts a table.
type sorting struct {
	To    string
	Order string // ascending or descending: it is sorted so; empty: it isn't
}

// A cell has one of its fields.
type cell struct {
	Name   *name
	Number *number
	Change *change // beside Number
	Spark  *spark
	Moment *moment
	Status *status
	Under  string // beside Status
	Text   string
}

// A status has a class of the style sheet beside its word.
type status struct{ Class, Text string }

// A name is whatever somebody sent.
type name struct {
	Text, Link string
	Outside    bool // the link leads away
	Long       bool // it is a sentence
}

// A pager leads through a table.
type pager struct {
	Title           string // of the table
	Rows, Total     string
	Of              string // where in the answer Total is
	Value           string // of Total
	First, Previous string // empty: it is the first page
	Next, Last      string // empty: it is the last page
}

// tableOf begins a table about one of the page's questions.
func (v *request) tableOf(a *asked, id, title string) *table {
	v.document.Tables = append(v.document.Tables, table{ID: id, Title: title, Link: a.link(), CSV: a.csv()})
	return &v.document.Tables[len(v.document.Tables)-1]
}

// text adds a column of texts, by which it can be sorted unless sort is empty.
func (t *table) text(v *request, a *asked, title, sort string) *table {
	h := heading{Title: title}
	if sort != "" {
		h.Sort = v.sorting(t, a, sort, false)
	}
	t.Columns = append(t.Columns, h)
	return t
}

// measures adds columns of measures.
func (t *table) measures(v *request, a *asked, measures ...*measure) *table {
	for _, m := range measures {
		t.Columns = append(t.Columns, heading{Title: cmp.Or(m.short, m.title), Help: m.help, Number: true,
			Sort: v.sorting(t, a, m.column, true), Change: v.sorting(t, a, m.column+"_change", true)})
	}
	return t
}

// column adds one that is not sorted.
func (t *table) column(title string, number bool) *table {
	t.Columns = append(t.Columns, heading{Title: title, Number: number})
	return t
}

// trend adds the column of jobs by day, if there are days enough.
func (t *table) trend(p *kpi.Period) *table {
	if length(*p) < leastSpark*24*time.Hour {
		return t
	}
	t.Columns = append(t.Columns, heading{Title: "Trend", Help: "jobs by day, as averages of a week"})
	return t
}

// sorting sorts by a column: numbers first downwards, and turns with the next click.
func (v *request) sorting(t *table, a *asked, column string, down bool) *sorting {
	sort, descending := a.Cut.Sort, a.Cut.Descending
	if sort == "" {
		sort, descending = jobs.column, true // as package kpi does
	}
	s := &sorting{}
	if sort == column {
		s.Order = "ascending"
		if descending {
			s.Order = "descending"
		}
		down = !descending
	}
	value := column
	if down {
		value = "-" + column
	}
	s.To = v.address.without(a.part.prefix+"offset").with(a.part.prefix+"sort", value).String() + "#" + t.ID
	return s
}

// pages adds the way to the other rows.
func (t *table) pages(v *request, a *asked, total, rows int) {
	t.Pages = v.pager(t, a.part.prefix+"offset", total, a.Cut.Offset, a.Cut.Limit, rows)
	if a.Cut.Offset >= total && total > 0 {
		t.Empty = "The table has fewer rows than that."
	}
}

func (v *request) pager(t *table, parameter string, total, offset, limit, rows int) *pager {
	if total == 0 {
		return nil
	}
	to := func(offset int) string {
		value := ""
		if offset > 0 {
			value = whole(offset)
		}
		return v.address.with(parameter, value).String() + "#" + t.ID
	}
	p := &pager{Title: t.Title, Rows: "none", Total: count(float64(total)), Of: "total", Value: whole(total)}
	if rows > 0 {
		p.Rows = count(float64(offset+1)) + " – " + count(float64(offset+rows))
	}
	if offset > 0 {
		p.First, p.Previous = to(0), to(max(0, min(offset, total)-limit))
	}
	if offset+limit < total {
		p.Next, p.Last = to(offset+limit), to((total-1)/limit*limit)
	}
	return p
}

// cells are the measures of a row, each with its change.
func (v *request) cells(path string, c *kpi.Compared, measures ...*measure) (row []cell) {
	for _, m := range measures {
		n := m.number(path+".current", &c.Current)
		one := cell{Number: &n}
		if ch := v.change(m, path+".previous", c); ch.Arrow != "same" {
			one.Change = &ch
		}
		row = append(row, one)
	}
	return row
}

// item is the path of a row in an answer.
func item(i int) string { return "items." + whole(i) }
