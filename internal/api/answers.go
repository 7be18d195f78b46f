package api

import (
	"context"

	"ci-jobs-metrics/internal/kpi"
)

func (a *api) overview(ctx context.Context, r *request) (answer, error) {
	o, err := a.asker.Overview(ctx, r.query)
	if err != nil {
		return answer{}, err
	}
	return answer{document: o, meta: &o.Meta, rows: o.Series}, nil
}

func (a *api) template(ctx context.Context, r *request) (answer, error) {
	t, err := a.asker.Template(ctx, r.name, r.query)
	if err != nil {
		return answer{}, err
	}
	return answer{document: t, meta: &t.Meta, rows: t.Series}, nil
}

func (a *api) project(ctx context.Context, r *request) (answer, error) {
	p, err := a.asker.Project(ctx, r.name, r.query)
	if err != nil {
		return answer{}, err
	}
	return answer{document: p, meta: &p.Meta, rows: p.Series}, nil
}

func (a *api) templates(ctx context.Context, r *request) (answer, error) {
	return paged(a.asker.Templates(ctx, r.query, r.cut))
}

func (a *api) projects(ctx context.Context, r *request) (answer, error) {
	return paged(a.asker.Projects(ctx, r.query, r.cut))
}

func (a *api) versions(ctx context.Context, r *request) (answer, error) {
	return paged(a.asker.Versions(ctx, r.query, r.cut))
}

func (a *api) failures(ctx context.Context, r *request) (answer, error) {
	return paged(a.asker.Failures(ctx, r.query, r.cut))
}

func paged[Row any](p *kpi.Page[Row], err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	return answer{document: p, meta: &p.Meta, rows: p.Items, beyond: p.Total - p.Offset - len(p.Items)}, nil
}
