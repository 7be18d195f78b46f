package exposition_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"ci-jobs-metrics/internal/exposition"
	"ci-jobs-metrics/internal/exposition/expositiontest"
)

// docs/operating.md says how much memory a line takes in each view that is scraped:
// compressed next to nothing beside its place, and otherwise its text too.
func TestMemoryOfLines(t *testing.T) {
	const lines = 200_000
	all := expositiontest.Totals(manyJobs(lines), settings)
	for name, test := range map[string]struct {
		view exposition.Families
		gzip bool
		most int // bytes for each label set
	}{
		"named, gzip":  {exposition.Named, true, 100},
		"named, plain": {exposition.Named, false, 180},
		"both, gzip":   {exposition.Both, true, 160},
	} {
		t.Run(name, func(t *testing.T) {
			before := inUse()
			e := of(test.view, all)
			w := httptest.NewRecorder()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
			if test.gzip {
				r.Header.Set("Accept-Encoding", "gzip")
			}
			e.Handler(true, nil).ServeHTTP(w, r)
			if w.Body.Len() < lines {
				t.Fatalf("only %d bytes were written", w.Body.Len())
			}
			w.Body = &bytes.Buffer{}
			each := int(inUse()-before) / lines
			if each > test.most || each < 20 {
				t.Errorf("a label set takes %d bytes, want %d at most", each, test.most)
			}
			t.Logf("%d bytes for a label set", each)
			runtime.KeepAlive(e)
		})
	}
}
