package api_test

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"ci-jobs-metrics/internal/api"
	"ci-jobs-metrics/internal/query"
)

// Whatever the query and headers are, the answer is one that can be read, a mistake is the
// client's, and what is refused says what to give instead.
func FuzzParameters(f *testing.F) {
	s := serve(f, "America/Havana", func(o *api.Options) { o.Answered = nil })
	record(f, s.ledger, jobsOf(50)...)
	s.problems = someProblems()
	questions := query.Names()
	for i, question := range refused {
		_, parameters, _ := strings.Cut(question, "?")
		f.Add(byte(i), parameters, "*/*", `W/"x", *`)
	}
	for i, question := range []string{"name=x&last=7d&interval=hour", "sort=-p95_change&limit=3&offset=1&format=csv",
		"from=2026-03-01T12:15&to=2026-03-02&template=%5C*&project=*/??&version=&status=failed"} {
		f.Add(byte(i), question, "text/csv;q=0.5, application/json", "")
	}
	f.Fuzz(func(t *testing.T, question byte, parameters, accept, known string) {
		name := questions[int(question)%len(questions)]
		w := httptest.NewRecorder()
		s.server.Config.Handler.ServeHTTP(w, (&http.Request{
			Method: http.MethodGet, URL: &url.URL{Path: query.Path + name, RawQuery: parameters},
			Header: http.Header{"Accept": {accept}, "If-None-Match": {known}},
		}).WithContext(t.Context()))
		body := w.Body.Bytes()
		switch contentType := w.Header().Get("Content-Type"); {
		case w.Code == http.StatusNotModified && len(body) == 0:
		case w.Code == http.StatusOK && contentType == "application/json" && json.Valid(body):
		case w.Code == http.StatusOK && strings.HasPrefix(contentType, "text/csv"):
			if _, err := csv.NewReader(w.Body).ReadAll(); err != nil {
				t.Errorf("%s?%s: %v: %s", name, parameters, err, body)
			}
		case w.Code == http.StatusBadRequest && contentType == "application/problem+json" && json.Valid(body):
			if p := parse(t, body); p["detail"] == "" || p["remedy"] == "" {
				t.Errorf("%s?%s: %s", name, parameters, body)
			}
		default:
			t.Errorf("%s?%s: %d %s: %s", name, parameters, w.Code, contentType, body)
		}
	})
}
