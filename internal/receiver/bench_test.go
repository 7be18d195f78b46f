package receiver_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ci-jobs-metrics/internal/receiver"
)

// BenchmarkSteps is the way of a job from a request that was read to its answer,
// without the network: decoding, checking, group commit, totals.
func BenchmarkSteps(b *testing.B) {
	for _, ids := range []bool{false, true} {
		b.Run(fmt.Sprintf("GET/ids=%t", ids), func(b *testing.B) {
			r, err := receiver.New(b.Context(), options(b.TempDir()+"/ledger.db", "127.0.0.1:0"))
			if err != nil {
				b.Fatal(err)
			}
			defer r.Stop(b.Context())
			handler := receiver.Handler(r)
			started := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
			var n atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(128) // as many connections, or the disk is all that is measured
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := n.Add(1)
					query := fmt.Sprintf("/steps?started=%s&status=success&project=group/project-%d&name=template_%d", started, i%100, i/100%100)
					if ids {
						query += fmt.Sprintf("&id=gitlab.example/%d/build", i)
					}
					w := httptest.NewRecorder()
					handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, query, nil))
					if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"recorded":1`) {
						b.Errorf("%d: %s", w.Code, w.Body)
						return
					}
				}
			})
		})
	}
}
