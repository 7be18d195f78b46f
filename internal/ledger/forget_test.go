package ledger_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/ledgertest"
	"ci-jobs-metrics/internal/totals"
)

// What is forgotten starts anew, the rest goes on, and the ledger is sound all the
// while, also with jobs behind the checkpoint and a budget that is used up.
func TestForget(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			path := ledgerPath(t)
			options := ledger.Options{Totals: pickSettings(r), CheckpointEvery: time.Hour}
			want := map[totals.RunKey]uint64{}
			for range 4 {
				l := openLedger(t, openStore(t, path), options)
				before, _ := ledgertest.Totals(t, l)
				for range 30 {
					record(t, l, randomEntry(r, ledgertest.Start))
				}
				add(want, l, before, t)
				killed := copyLedger(t, path) // with a tail
				closeLedger(t, l)
				if r.IntN(2) == 0 {
					path = killed
				}
				template, project := pick(r, "", "build", "test"), pick(r, "a", "b", totals.Other)
				if template != "" && r.IntN(2) == 0 {
					project = ""
				}
				var forgotten totals.Forgotten
				for k, n := range want {
					if (template == "" || k.Template == template) && (project == "" || k.Project == project) {
						forgotten.Sets, forgotten.Jobs = forgotten.Sets+1, forgotten.Jobs+n
						delete(want, k)
					}
				}
				got, err := ledger.Forget(t.Context(), openStore(t, path), template, project, slog.New(slog.DiscardHandler))
				if project != "" && got.Histograms != 0 || project == "" && got.Sets > 0 && got.Histograms == 0 {
					t.Errorf("Forget(%q, %q): %d histograms", template, project, got.Histograms)
				}
				got.Histograms = 0
				if err != nil || got != forgotten {
					t.Fatalf("Forget(%q, %q): %+v, %v, want %+v", template, project, got, err, forgotten)
				}
				sound(t, "after forgetting", path)
			}
			l := openLedger(t, openStore(t, path), options)
			all, err := ledgertest.Totals(t, l)
			if err != nil || len(all.Runs) != len(want) {
				t.Fatalf("%d counters, %v, want %d", len(all.Runs), err, len(want))
			}
			for _, run := range all.Runs {
				if run.Count != want[run.RunKey] {
					t.Errorf("%v is %d, want %d", run.RunKey, run.Count, want[run.RunKey])
				}
			}
		})
	}
}

// add adds what was recorded since.
func add(counts map[totals.RunKey]uint64, l *ledger.Ledger, before *totals.Snapshot, t *testing.T) {
	t.Helper()
	now, err := ledgertest.Totals(t, l)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range now.Runs {
		counts[r.RunKey] += r.Count
	}
	for _, r := range before.Runs {
		counts[r.RunKey] -= r.Count
	}
}

// The histograms of a forgotten template go, also without any counter; those of a
// project's templates stay.
func TestForgetHistograms(t *testing.T) {
	path := ledgerPath(t)
	l := openLedger(t, openStore(t, path), ledger.Options{Totals: few})
	for _, name := range []string{"build", "test"} {
		e := ledgertest.Entry(0, "")
		e.Job.Name, e.Job.Timed = name, true
		record(t, l, e, e)
	}
	closeLedger(t, l)
	for i, step := range []struct{ template, project string }{{"", "group/app"}, {"test", ""}, {"", "group/app"}} {
		if i == 1 { // what comes after begins anew
			l = openLedger(t, openStore(t, path), ledger.Options{Totals: few})
			e := ledgertest.Entry(0, "")
			e.Job.Name = "test"
			record(t, l, e)
			closeLedger(t, l)
		}
		if _, err := ledger.Forget(t.Context(), openStore(t, path), step.template, step.project, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		sound(t, fmt.Sprintf("after %+v", step), path)
	}
	l = openLedger(t, openStore(t, path), ledger.Options{Totals: few})
	all, err := ledgertest.Totals(t, l)
	if err != nil || len(all.Runs) != 0 || len(all.Durations) != 1 || all.Durations[0].Template != "build" || all.Durations[0].Count != 2 {
		t.Errorf("%+v, %v", all, err)
	}
	closeLedger(t, l)
	got, err := ledger.Forget(t.Context(), openStore(t, path), "build", "", slog.New(slog.DiscardHandler))
	if err != nil || got != (totals.Forgotten{Histograms: 1}) {
		t.Errorf("of build, whose counters are gone: %+v, %v", got, err)
	}
}
