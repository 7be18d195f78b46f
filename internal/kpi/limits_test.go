package kpi_test

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/sqlite"
)

// A table of more rows than anybody looks at is an error that says so, rather than take the
// memory for them: versions can be as many as jobs. Other answers go on.
func TestTooManyRows(t *testing.T) {
	end := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"), end, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(t.Context(), store, ledger.Options{Now: func() time.Time { return end }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close(t.Context()) }()
	for n := 0; n <= kpi.MaxRows; {
		var batch []ledger.Entry
		for ; n <= kpi.MaxRows && len(batch) < 5000; n++ {
			batch = append(batch, ledger.Entry{Received: end, Job: job.Job{
				Name: "a", Project: fmt.Sprint("p", n%2), Status: job.Success, Finished: end, Version: fmt.Sprint(n),
			}})
		}
		if _, err := l.Record(batch); err != nil {
			t.Fatal(err)
		}
	}
	a := kpi.New(l)
	q := kpi.Query{Period: kpi.Period{From: end.Add(-24 * time.Hour), To: end.Add(time.Hour)}}
	if _, err := a.Versions(t.Context(), q, kpi.Cut{Limit: 1}); !errors.Is(err, kpi.ErrTooMany) {
		t.Errorf("Versions: %v", err)
	}
	q.Filter.Projects = []kpi.Pattern{"p1"}
	if p, err := a.Versions(t.Context(), q, kpi.Cut{Limit: 1}); err != nil || p.Total != kpi.MaxRows/2 || len(p.Items) != 1 {
		t.Errorf("Versions of one project: %v", err)
	}
	if p, err := a.Templates(t.Context(), q, kpi.Cut{}); err != nil || p.Total != 1 {
		t.Errorf("Templates: %v", err)
	}
}
