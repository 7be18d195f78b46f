package page

import (
	"context"
	"net/http"

	"ci-jobs-metrics/internal/query"
)

// refuse sends a page that gives the reason of a refusal. ctx is the request's.
func (v *request) refuse(ctx context.Context, w http.ResponseWriter, err error) {
	r := query.RefusalOf(ctx, err, v.Timeout, v.view.path, v.Logger)
	v.document = document{}
	v.address.values = nil // they may be the reason
	v.frame()
	v.document.Title = r.Title
	v.document.Refusal = r
	body, err := v.document.render()
	if err != nil {
		http.Error(w, r.Detail, r.Status)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", typeHTML)
	if r.Status == http.StatusServiceUnavailable {
		h.Set("Retry-After", query.RetryAfter)
	}
	w.WriteHeader(r.Status)
	_, _ = w.Write(body) // an error can only be the connection's
}
