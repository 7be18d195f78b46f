package kpi_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/sqlite"
	"ci-jobs-metrics/internal/rollup"
)

// An answered question is compared later.
type answered struct {
	*question
	answer any
	asOf   int64
}

// Questions are asked while jobs are recorded and roll-ups stored, with memory for next to
// nothing, and versions that are forgotten and numbered anew all the time: every answer is
// that of the first jobs, up to one, all that were acknowledged before among them.
func TestAnswersWhileRecording(t *testing.T) {
	w := &world{T: t, r: rand.New(rand.NewPCG(1, 0)), zone: load(t, "Europe/Berlin")}
	w.clock.Store(time.Date(2026, 3, 29, 3, 0, 0, 0, time.UTC).UnixMicro())
	w.openWhole(rollup.Options{Zone: w.zone, Memory: 64 << 10})
	var acknowledged, saves atomic.Int64
	w.store.step = func(what string) {
		switch what {
		case "before blocks": // so that questions come in between
			time.Sleep(3 * time.Millisecond)
		case "after head":
			saves.Add(1)
		}
	}
	w.store.more = func(blocks int) int { return min(blocks, 3) }
	done := make(chan struct{})
	var askers sync.WaitGroup
	var kept [2][]answered
	for i := range kept {
		askers.Go(func() {
			kept[i] = w.askUntil(done, rand.New(rand.NewPCG(1, uint64(i+1))), &acknowledged)
		})
	}
	for start := time.Now(); time.Since(start) < 4*time.Second || saves.Load() < 3 && time.Since(start) < time.Minute; {
		acknowledged.Store(w.recordVersions())
	}
	close(done)
	askers.Wait()
	if err := w.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d jobs, %d saves, %d and %d answers", w.store.model.last(), saves.Load(), len(kept[0]), len(kept[1]))
	for _, answers := range kept {
		for _, a := range sample(w.r, answers, 250) {
			if differs := a.differ(a.answer, w.store.model.recount(w.zone, a.asOf)); differs != "" {
				t.Fatalf("%v, as of %d (-want +got):\n%s", a.question, a.asOf, differs)
			}
		}
	}
	if saves.Load() < 3 {
		t.Errorf("only %d saves", saves.Load())
	}
}

// openWhole opens a ledger of which nothing vanishes.
func (w *world) openWhole(o rollup.Options) {
	w.path = filepath.Join(w.TempDir(), "ledger.db")
	inner, err := sqlite.Open(w.Context(), w.path, w.now(), silent)
	if err != nil {
		w.Fatal(err)
	}
	w.store = newModelled(inner, w.zone, &model{})
	w.Ledger, err = ledger.Open(w.Context(), w.store, ledger.Options{Now: w.now, Rollups: o, RollupEvery: time.Millisecond})
	if err != nil {
		w.Fatal(err)
	}
	w.Asker = kpi.New(w.Ledger)
}

// recordVersions records some jobs, many of them of a version of their own.
func (w *world) recordVersions() (last int64) {
	entries := make([]ledger.Entry, 1+w.r.IntN(30))
	for i := range entries {
		entries[i] = w.entry()
		entries[i].Job.ID = "" // all of them count
		if w.r.IntN(50) > 0 {  // few days, so that they are stored often
			entries[i].Job.Finished = w.now().Add(-time.Duration(w.r.Int64N(int64(40 * time.Hour)))).Truncate(time.Microsecond)
		}
		if w.r.IntN(3) > 0 {
			entries[i].Job.Version = fmt.Sprint(w.r.IntN(5000), strings.Repeat(" long", 40))
		}
	}
	outcomes, err := w.Record(entries)
	if err != nil {
		w.Error(err)
	}
	for _, o := range outcomes {
		last = max(last, o.Seq)
	}
	return last
}

func (w *world) askUntil(done chan struct{}, r *rand.Rand, acknowledged *atomic.Int64) (kept []answered) {
	for {
		select {
		case <-done:
			return kept
		default:
		}
		q := pickQuestion(r, w.now(), w.zone)
		least := acknowledged.Load()
		answer, asOf, err := q.ask(context.Background(), w.Asker)
		if err != nil {
			w.Errorf("%v: %v", q, err)
			return kept
		}
		if asOf.Job < least {
			w.Errorf("%v: as of %d, when %d were acknowledged", q, asOf.Job, least)
		}
		kept = append(kept, answered{q, answer, asOf.Job})
	}
}

func sample(r *rand.Rand, answers []answered, n int) []answered {
	r.Shuffle(len(answers), func(i, j int) { answers[i], answers[j] = answers[j], answers[i] })
	return answers[:min(n, len(answers))]
}
