package findings_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"ci-jobs-metrics/internal/history"
	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/sqlite"
)

// BenchmarkFindings asks a large company with 10 million jobs, all of them in stored
// roll-ups.
func BenchmarkFindings(b *testing.B) {
	path := filepath.Join(b.TempDir(), "ledger.db")
	open := func(wrap func(ledger.Store) ledger.Store) *ledger.Ledger {
		store, err := sqlite.Open(b.Context(), path, findingsEnd, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		l, err := ledger.Open(b.Context(), wrap(store), ledger.Options{Now: func() time.Time { return findingsEnd }})
		if err != nil {
			b.Fatal(err)
		}
		return l
	}
	filled := open(func(s ledger.Store) ledger.Store { return &numbering{Store: s} })
	if err := history.Bench(findingsEnd).Fill(b.Context(), filled.Record, nil); err != nil {
		b.Fatal(err)
	}
	if err := filled.Close(b.Context()); err != nil { // which stores the last ones
		b.Fatal(err)
	}
	l := open(func(s ledger.Store) ledger.Store { return s })
	defer l.Close(context.Background())
	a := kpi.New(l)
	for _, days := range periods {
		b.Run(fmt.Sprintf("%d days", days), func(b *testing.B) {
			find(b, a, last(days)) // reads the days
			b.ReportAllocs()
			for b.Loop() {
				find(b, a, last(days))
			}
		})
	}
}
