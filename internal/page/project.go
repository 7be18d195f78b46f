package page

import (
	"context"
	"strconv"

	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/query"
)

// project is the page for those who own a project, and for those who advise them.
func (v *request) project(ctx context.Context) error {
	p, a, err := answer(v, "project", func(a asked) (*kpi.Project, error) { return v.asker.Project(ctx, a.Name, a.Query) })
	if err != nil {
		return err
	}
	p.Filter.Projects = nil // it is the page's
	v.about(a, &p.Meta)
	v.document.Name = p.Project
	if v.nothing(&p.Meta, &p.Compared) {
		return nil
	}
	v.document.Tiles = v.tiles(&p.Compared, p.Series, jobs, successRate, templates.called("Templates in use"), ciHours, hoursLost, flaky)
	v.document.Charts = []chart{v.stack(&a, p.Series), v.band(&a, p.Series)}
	if _, err := v.templateRows(ctx, "templates", "Templates it uses", jobs, successRate, p50, p95, ciHours, hoursLost, flaky); err != nil {
		return err
	}
	if err := v.unused(&a, p.Unused); err != nil {
		return err
	}
	return v.failureRows(ctx, "template")
}

const (
	unusedOffset = "unused.offset"
	unusedRows   = 15
)

// unused adds the table of templates that only others use.
func (v *request) unused(a *asked, all []kpi.Usage) error {
	offset := 0
	if given := v.address.values.Get(unusedOffset); given != "" {
		var err error
		if offset, err = strconv.Atoi(given); err != nil || offset < 0 {
			return query.BadParameter(unusedOffset, unusedOffset+" can't be that", "give a whole number")
		}
	}
	t := v.tableOf(a, "unused", "Templates it does not use")
	t.Help = "In this period others did, those with most projects first."
	t.CSV = ""
	t.column("Template", false).column("Projects", true).column("Jobs", true)
	shown := all[min(offset, len(all)):min(offset+unusedRows, len(all))]
	for i, u := range shown {
		at := "unused." + whole(offset+i)
		t.Rows = append(t.Rows, []cell{
			v.named("template", u.Template),
			{Number: new(whole64(int64(u.Projects), at+".projects"))},
			{Number: new(whole64(u.Jobs, at+".jobs"))},
		})
	}
	t.Empty = "It uses all that others use."
	if t.Pages = v.pager(t, unusedOffset, len(all), offset, unusedRows, len(shown)); t.Pages != nil {
		t.Pages.Of = "" // it is no number of the answer's
	}
	return nil
}
