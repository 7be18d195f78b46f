package kpi_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/rollup"
)

// Thousands of projects and versions, and more templates than an answer names.
func TestManyNames(t *testing.T) {
	w := &world{T: t, r: rand.New(rand.NewPCG(7, 0)), zone: time.UTC}
	w.clock.Store(time.Date(2026, 3, 29, 3, 0, 0, 0, time.UTC).UnixMicro())
	w.openWhole(rollup.Options{})
	defer w.Close(t.Context())
	for range 6 {
		entries := make([]ledger.Entry, 600)
		for i := range entries {
			entries[i] = w.entry()
			j := &entries[i].Job
			j.Name, j.Project, j.Version = fmt.Sprint("t", w.r.IntN(150)), fmt.Sprint("p", w.r.IntN(3000)), fmt.Sprint(w.r.IntN(3000))
		}
		if _, err := w.Record(entries); err != nil {
			t.Fatal(err)
		}
		for _, what := range questions {
			w.checkSoon(&question{what: what, of: pick(w.r, "t1", "p1", "nobody"), Query: kpi.Query{
				Period: kpi.Period{From: w.now().Add(-6 * time.Hour), To: w.now().Add(time.Hour)},
			}, Cut: kpi.Cut{Offset: 10, Limit: 50}})
		}
	}
}
