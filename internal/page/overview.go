package page

import (
	"context"

	"ci-jobs-metrics/internal/kpi"
)

// mostFindings are how many findings the overview has.
const mostFindings = 3

// overview is the page for those who plan: all templates together, and each in a row.
func (v *request) overview(ctx context.Context) error {
	o, a, err := answer(v, "overview", func(a asked) (*kpi.Overview, error) { return v.asker.Overview(ctx, a.Query) })
	if err != nil {
		return err
	}
	v.about(a, &o.Meta)
	if v.nothing(&o.Meta, &o.Compared) {
		return nil
	}
	v.document.Tiles = v.tiles(&o.Compared, o.Series, jobs, successRate, projects.called("Active projects"), templates.called("Templates in use"), ciHours, hoursLost)
	v.document.Charts = []chart{v.stack(&a, o.Series), v.band(&a, o.Series)}
	if err := v.findings(ctx, a.Query, mostFindings); err != nil {
		return err
	}
	_, err = v.templateRows(ctx, "templates", "Templates", jobs, projects, successRate, p50, p95, ciHours, hoursLost)
	return err
}

// templates is a table of all templates.
func (v *request) templates(ctx context.Context) error {
	meta, err := v.templateRows(ctx, "templates", "Templates", jobs, projects, successRate, p50, p95, ciHours, hoursLost, flaky)
	if err != nil {
		return err
	}
	v.about(v.asked["templates"], meta)
	return nil
}

// projects is a table of all projects.
func (v *request) projects(ctx context.Context) error {
	meta, err := v.projectRows(ctx, "projects", "Projects", jobs, templates, successRate, p50, p95, ciHours, hoursLost, flaky)
	if err != nil {
		return err
	}
	v.about(v.asked["projects"], meta)
	return nil
}
