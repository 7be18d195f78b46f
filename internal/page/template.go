package page

import (
	"context"

	"ci-jobs-metrics/internal/kpi"
)

// template is the page for those who maintain a template: where it hurts.
func (v *request) template(ctx context.Context) error {
	t, a, err := answer(v, "template", func(a asked) (*kpi.Template, error) { return v.asker.Template(ctx, a.Name, a.Query) })
	if err != nil {
		return err
	}
	t.Filter.Templates = nil // it is the page's
	v.about(a, &t.Meta)
	v.document.Name = t.Template
	if v.nothing(&t.Meta, &t.Compared) {
		return nil
	}
	v.document.Tiles = v.tiles(&t.Compared, t.Series, jobs, successRate, projects.called("Active projects"), p50, p95, ciHours, hoursLost, flaky)
	v.document.Charts = []chart{v.stack(&a, t.Series), v.band(&a, t.Series), v.heat(&a, t), v.distribution(&a, t)}
	if _, err := v.projectRows(ctx, "projects", "Projects that use it", jobs, successRate, p50, p95, ciHours, hoursLost); err != nil {
		return err
	}
	if err := v.versionRows(ctx, jobs, projects.neutral(), successRate, p50, hoursLost.neutral()); err != nil {
		return err
	}
	return v.failureRows(ctx, "project")
}
