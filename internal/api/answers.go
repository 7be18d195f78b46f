package api

import (
	"context"

	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/kpi/findings"
	"ci-jobs-metrics/internal/query"
)

// An answer is what the client gets, in each of its forms.
type answer struct {
	document any       // as JSON
	meta     *kpi.Meta // in the document; nil: it has none
	rows     any       // as CSV: a slice of structs
	beyond   int       // rows of the table after these, if there are more than a CSV may have
}

// answers has the function that answers each query.
var answers = map[string]func(*api, context.Context, *request) (answer, error){
	"overview":  (*api).overview,
	"templates": (*api).templates,
	"template":  (*api).template,
	"projects":  (*api).projects,
	"project":   (*api).project,
	"versions":  (*api).versions,
	"failures":  (*api).failures,
	"findings":  (*api).findings,
	"problems":  (*api).problems,
}

func (a *api) overview(ctx context.Context, r *request) (answer, error) {
	o, err := a.asker.Overview(ctx, r.Query)
	if err != nil {
		return answer{}, err
	}
	return answer{document: o, meta: &o.Meta, rows: o.Series}, nil
}

func (a *api) template(ctx context.Context, r *request) (answer, error) {
	t, err := a.asker.Template(ctx, r.Name, r.Query)
	if err != nil {
		return answer{}, err
	}
	return answer{document: t, meta: &t.Meta, rows: t.Series}, nil
}

func (a *api) project(ctx context.Context, r *request) (answer, error) {
	p, err := a.asker.Project(ctx, r.Name, r.Query)
	if err != nil {
		return answer{}, err
	}
	return answer{document: p, meta: &p.Meta, rows: p.Series}, nil
}

func (a *api) templates(ctx context.Context, r *request) (answer, error) {
	return paged(a.asker.Templates(ctx, r.Query, r.Cut))
}

func (a *api) projects(ctx context.Context, r *request) (answer, error) {
	return paged(a.asker.Projects(ctx, r.Query, r.Cut))
}

func (a *api) versions(ctx context.Context, r *request) (answer, error) {
	return paged(a.asker.Versions(ctx, r.Query, r.Cut))
}

func (a *api) failures(ctx context.Context, r *request) (answer, error) {
	return paged(a.asker.Failures(ctx, r.Query, r.Cut))
}

func paged[Row any](p *kpi.Page[Row], err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	return answer{document: p, meta: &p.Meta, rows: p.Items, beyond: p.Total - p.Offset - len(p.Items)}, nil
}

// findings has no CSV: a finding doesn't fit into cells.
func (a *api) findings(ctx context.Context, r *request) (answer, error) {
	f, err := findings.Find(ctx, a.asker, r.Query)
	if err != nil {
		return answer{}, err
	}
	return answer{document: f, meta: &f.Meta}, nil
}

func (a *api) problems(ctx context.Context, r *request) (answer, error) {
	all, err := a.Problems(ctx)
	if err != nil {
		return answer{}, err
	}
	p := query.CutProblems(all, r.Query.Filter, r.Cut, a.asker.Zone())
	return answer{document: p, rows: p.Items, beyond: p.Total - p.Offset - len(p.Items)}, nil
}
