package api

import "context"

// findings are where to improve. There is no CSV: what a finding says does not fit into cells.
func (a *api) findings(ctx context.Context, r *request) (answer, error) {
	f, err := a.asker.Findings(ctx, r.query)
	if err != nil {
		return answer{}, err
	}
	return answer{document: f, meta: &f.Meta}, nil
}
