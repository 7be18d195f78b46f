package steps

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// BenchmarkDecode reads what senders send: a job as a query, a form and a JSON object, a
// hundred of them as an array and as NDJSON, and a hundred whose names need unescaping.
func BenchmarkDecode(b *testing.B) {
	const (
		query   = "started=2026-03-01T11:58:00Z&status=success&project=group-1/project-01&name=template_01&id=gitlab.example/1000000001/build"
		escaped = "started=2026-03-01T11:58:00%2B01:00&status=success&project=group-1%2Fproject-01&name=template%2001&Id=gitlab.example%2F1000000001%2Fbuild"
		object  = `{"started":"2026-03-01T11:58:00Z","status":"success","project":"group-1/project-01","name":"template_01"}`
		unusual = `{"Started":"2026-03-01T11:58:00Z","status":"success","project":"group-1\/project-01","name":"b\u00fccher","other":{"a":[1]},"id":12345}`
	)
	hundred := func(object, between string) string {
		return strings.TrimSuffix(strings.Repeat(object+between, 100), between)
	}
	for _, test := range []struct{ name, query, contentType, body string }{
		{name: "query", query: query},
		{name: "query, escaped", query: escaped},
		{name: "form", contentType: typeForm, body: query},
		{name: "object", contentType: TypeJSON, body: object},
		{name: "array of 100", contentType: TypeJSON, body: "[" + hundred(object, ",") + "]"},
		{name: "NDJSON of 100", contentType: "application/x-ndjson", body: hundred(object, "\n")},
		{name: "array of 100, unusual", contentType: TypeJSON, body: "[" + hundred(unusual, ",") + "]"},
		{name: "NDJSON of 100, unusual", contentType: "application/x-ndjson", body: hundred(unusual, "\n")},
	} {
		b.Run(test.name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, "/steps", nil)
			r.URL.RawQuery = test.query
			if test.contentType != "" {
				r.Method = http.MethodPost
				r.Header.Set("Content-Type", test.contentType)
			}
			body := []byte(test.body)
			room := newBudget(MaxInFlight)
			want := 1 + bytes.Count(body, []byte("},{")) + bytes.Count(body, []byte("\n"))
			b.SetBytes(int64(len(test.query) + len(body)))
			b.ReportAllocs()
			for b.Loop() {
				c := claim{from: room}
				items, err := decode(r, body, &c)
				if err != nil || len(items) != want {
					b.Fatal(len(items), err)
				}
				c.release()
			}
		})
	}
}
