package kpi_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/sqlite"
)

// ledgerAt returns an empty ledger whose clock stands still.
func ledgerAt(t *testing.T, now time.Time) *ledger.Ledger {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"), now, silent)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(t.Context(), store, ledger.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l
}

// A verdict is given only where the difference is more than chance, and only where there is something
// to compare.
func TestVerdicts(t *testing.T) {
	end := time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)
	day := func(ago int) time.Time { return end.AddDate(0, 0, -ago) }
	// runs are jobs of one day, some of them failed, in so many projects.
	runs := func(ago, jobs, failures, projects int, took time.Duration) (made []ledger.Entry) {
		for i := range jobs {
			j := job.Job{Name: "build", Project: fmt.Sprint("p", i%projects), Status: job.Success, Finished: day(ago).Add(-time.Hour), Timed: true, Duration: took}
			if i < failures {
				j.Status = job.Failed
			}
			made = append(made, ledger.Entry{Received: end, Job: j})
		}
		return made
	}
	recorded := runs(25, 1, 0, 1, time.Minute) // recording began long before the period before
	for _, test := range []struct {
		name          string
		before, after []ledger.Entry
		filter        kpi.Filter
		want          kpi.Verdicts
	}{
		{"the same", runs(10, 100, 10, 5, time.Minute), runs(1, 100, 10, 5, time.Minute), kpi.Filter{},
			kpi.Verdicts{SuccessRate: kpi.NoChange, Projects: kpi.NoChange, HoursLost: kpi.NoChange, P50: kpi.NoChange, P95: kpi.NoChange}},
		{"a difference that may be chance", runs(10, 100, 10, 5, time.Minute), runs(1, 100, 12, 6, time.Minute), kpi.Filter{},
			kpi.Verdicts{SuccessRate: kpi.NoChange, Projects: kpi.NoChange, HoursLost: kpi.NoChange, P50: kpi.NoChange, P95: kpi.NoChange}},
		{"worse", runs(10, 400, 20, 60, time.Minute), runs(1, 400, 120, 10, 2*time.Minute), kpi.Filter{},
			kpi.Verdicts{SuccessRate: kpi.Worse, Projects: kpi.Worse, HoursLost: kpi.Worse, P50: kpi.Worse, P95: kpi.Worse}},
		{"better", runs(10, 400, 120, 10, 2*time.Minute), runs(1, 400, 20, 60, time.Minute), kpi.Filter{},
			kpi.Verdicts{SuccessRate: kpi.Better, Projects: kpi.Better, HoursLost: kpi.Better, P50: kpi.Better, P95: kpi.Better}},
		{"less is lost because less is run", runs(10, 4000, 400, 5, time.Minute), runs(1, 400, 41, 5, time.Minute), kpi.Filter{},
			kpi.Verdicts{SuccessRate: kpi.NoChange, Projects: kpi.NoChange, HoursLost: kpi.NoChange, P50: kpi.NoChange, P95: kpi.NoChange}},
		{"failures alone", runs(10, 400, 20, 60, time.Minute), runs(1, 400, 120, 10, time.Minute), kpi.Filter{Statuses: []job.Status{job.Failed}}, kpi.Verdicts{}},
		{"nothing before", nil, runs(1, 400, 120, 10, time.Minute), kpi.Filter{}, kpi.Verdicts{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := ledgerAt(t, end)
			for _, entries := range [][]ledger.Entry{recorded, test.before, test.after} {
				if len(entries) > 0 {
					if _, err := l.Record(entries); err != nil {
						t.Fatal(err)
					}
				}
			}
			o, err := kpi.New(l).Overview(context.Background(), kpi.Query{Period: kpi.Period{From: day(7), To: end}, Filter: test.filter})
			if err != nil {
				t.Fatal(err)
			}
			if o.Verdicts != test.want {
				t.Errorf("%+v\nwant %+v", o.Verdicts, test.want)
			}
		})
	}
}

// RecordedSince is the earlier one of when the ledger was made and when its first job finished. A
// period before that is not compared.
func TestRecordedSince(t *testing.T) {
	end := time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)
	l := ledgerAt(t, end)
	a := kpi.New(l)
	query := kpi.Query{Period: kpi.Period{From: end.AddDate(0, 0, -7), To: end}}
	since := func() time.Time {
		o, err := a.Overview(context.Background(), query)
		if err != nil {
			t.Fatal(err)
		}
		if o.Comparable() != (len(o.Verdicts.P50) > 0) && o.Compared.Previous.Jobs > 0 {
			t.Errorf("comparable: %t, verdicts %+v", o.Comparable(), o.Verdicts)
		}
		return o.RecordedSince
	}
	if got := since(); !got.Equal(l.Created()) {
		t.Errorf("without jobs: since %v, want %v", got, l.Created())
	}
	first := end.AddDate(0, 0, -9)
	var jobs []ledger.Entry
	for i := range 100 {
		jobs = append(jobs, ledger.Entry{Received: end, Job: job.Job{Name: "n", Project: "p", Status: job.Success,
			Finished: first.Add(time.Duration(i) * 2 * time.Hour), Timed: true, Duration: time.Minute}})
	}
	if _, err := l.Record(jobs); err != nil {
		t.Fatal(err)
	}
	if got := since(); !got.Equal(first) {
		t.Errorf("since %v, want %v", got, first)
	}
	o, err := a.Overview(context.Background(), query)
	if err != nil {
		t.Fatal(err)
	}
	if o.Compared.Previous.Jobs == 0 || o.Comparable() || o.Verdicts != (kpi.Verdicts{}) {
		t.Errorf("a period before that is recorded in part: %d jobs, %+v", o.Compared.Previous.Jobs, o.Verdicts)
	}
}
