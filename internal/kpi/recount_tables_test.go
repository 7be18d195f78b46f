package kpi_test

import (
	"cmp"
	"slices"
	"strings"

	"ci-jobs-metrics/internal/kpi"
)

func (r *recount) templates(q kpi.Query, cut kpi.Cut) *kpi.Page[kpi.TemplateRow] {
	var rows []kpi.TemplateRow
	for template, jobs := range groupBy(inEither(r.chosen(q.Filter), q.Period), func(c *counted) string { return c.Job.Name }) {
		trend, _, _ := r.trend(jobs, q)
		rows = append(rows, kpi.TemplateRow{Template: template, Compared: r.compared(jobs, q), Trend: trend})
	}
	return page(r.meta(q), rows, cut, func(row *kpi.TemplateRow) named {
		return named{names: []string{"template"}, texts: []string{row.Template}, compared: &row.Compared}
	})
}

func (r *recount) projects(q kpi.Query, cut kpi.Cut) *kpi.Page[kpi.ProjectRow] {
	var rows []kpi.ProjectRow
	for project, jobs := range groupBy(inEither(r.chosen(q.Filter), q.Period), func(c *counted) string { return c.Job.Project }) {
		trend, _, last := r.trend(jobs, q)
		rows = append(rows, kpi.ProjectRow{Project: project, Compared: r.compared(jobs, q), Trend: trend, LastDay: last})
	}
	return page(r.meta(q), rows, cut, func(row *kpi.ProjectRow) named {
		return named{names: []string{"project"}, texts: []string{row.Project}, compared: &row.Compared}
	})
}

func (r *recount) versions(q kpi.Query, cut kpi.Cut) *kpi.Page[kpi.VersionRow] {
	type key struct{ template, version string }
	var rows []kpi.VersionRow
	all := r.chosen(q.Filter)
	for k, jobs := range groupBy(inEither(all, q.Period), func(c *counted) key { return key{c.Job.Name, c.Job.Version} }) {
		row := kpi.VersionRow{Template: k.template, Version: k.version, Compared: r.compared(jobs, q)}
		row.Trend, row.FirstDay, row.LastDay = r.trend(jobs, q)
		of := 0
		for _, c := range in(all, q.Period.From, q.Period.To) {
			if c.Job.Name == k.template {
				of++
			}
		}
		if of > 0 {
			row.Share = new(float64(row.Current.Jobs) / float64(of))
		}
		rows = append(rows, row)
	}
	return page(r.meta(q), rows, cut, func(row *kpi.VersionRow) named {
		return named{names: []string{"template", "version"}, texts: []string{row.Template, row.Version},
			compared: &row.Compared, share: row.Share}
	})
}

// A named is a table's row with the names of its texts.
type named struct {
	names, texts []string
	compared     *kpi.Compared
	share        *float64
}

// number is what a row has in a column of numbers; nil: none.
func (n *named) number(column string) *float64 {
	if column == "share" {
		return n.share
	}
	of, change := strings.CutSuffix(column, "_change")
	now, before := number(&n.compared.Current, of), number(&n.compared.Previous, of)
	if !change {
		return now
	}
	if now == nil || before == nil {
		return nil
	}
	return new(*now - *before)
}

func number(s *kpi.Stats, column string) *float64 {
	return map[string]*float64{
		"jobs":         new(float64(s.Jobs)),
		"success_rate": s.SuccessRate,
		"projects":     new(float64(s.Projects)),
		"templates":    new(float64(s.Templates)),
		"ci_hours":     &s.CIHours,
		"hours_lost":   &s.HoursLost,
		"flaky":        new(float64(s.Flaky)),
		"flaky_hours":  &s.FlakyHours,
		"mean":         s.Durations.Mean,
		"p50":          s.Durations.P50,
		"p95":          s.Durations.P95,
	}[column]
}

// page sorts rows, those without a number last, those that are equal by their names, and
// returns what a cut asks for.
func page[Row any](meta kpi.Meta, rows []Row, cut kpi.Cut, name func(*Row) named) *kpi.Page[Row] {
	if cut.Sort == "" {
		cut.Sort, cut.Descending = "jobs", true
	}
	slices.SortFunc(rows, func(x, y Row) int {
		a, b := name(&x), name(&y)
		return cmp.Or(a.compare(&b, cut.Sort, cut.Descending), slices.Compare(a.texts, b.texts))
	})
	return &kpi.Page[Row]{Meta: meta, Total: len(rows), Offset: cut.Offset, Items: append([]Row{}, part(rows, cut)...)}
}

func (n *named) compare(o *named, column string, descending bool) (order int) {
	if i := slices.Index(n.names, column); i >= 0 {
		order = cmp.Compare(n.texts[i], o.texts[i])
	} else {
		a, b := n.number(column), o.number(column)
		switch {
		case a == nil && b == nil:
			return 0
		case a == nil:
			return 1
		case b == nil:
			return -1
		}
		order = cmp.Compare(*a, *b)
	}
	if descending {
		return -order
	}
	return order
}
