package api

import (
	"encoding/json"
	"net/http"
	"strings"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/query"
)

// write sends a refusal as problem details.
func write(w http.ResponseWriter, r *query.Refusal) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if r.Status == http.StatusServiceUnavailable {
		h.Set("Retry-After", query.RetryAfter)
	}
	w.WriteHeader(r.Status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false) // people read remedies
	_ = encoder.Encode(r)        // an error can only be the connection's
}

// readOnly refuses every method but GET and HEAD.
func readOnly(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			next(w, r)
			return
		}
		w.Header().Set("Allow", "GET, HEAD")
		write(w, query.Refuse(http.StatusMethodNotAllowed, "nothing here can be changed", "use GET or HEAD"))
	}
}

// notFound answers for every path without a query.
func notFound(w http.ResponseWriter, r *http.Request) {
	write(w, query.Refuse(http.StatusNotFound, "there is nothing at "+job.Quote(r.URL.Path),
		"use one of "+query.Path+strings.Join(append(query.Names(), description), ", "+query.Path)))
}
