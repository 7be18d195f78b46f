package ledgertest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/totals"
)

func checkpoint() *totals.Checkpoint {
	run := totals.RunKey{Template: "a", Project: "p\"\\", Status: job.Failed}
	took := totals.DurationKey{Template: "a", Status: job.Failed}
	return &totals.Checkpoint{
		Settings:  totals.Settings{Bounds: []float64{0.5, 60}, Labels: []string{"version", "ref"}, MaxSets: 10},
		LastJob:   Start.Add(time.Hour),
		ExactFrom: 3,
		Forgotten: 4,
		Runs: []totals.Run{
			{RunKey: run, Count: 1 << 40, Created: Start},
			{RunKey: totals.RunKey{Template: "b", Project: "p", Status: job.Success, Labels: `{"version":"1"}`}, Count: 2, Created: Start, Since: 6},
		},
		Durations: []totals.Duration{
			{DurationKey: took, Created: Start, Count: 3, Sum: 1 << 60, Buckets: []uint64{1, 0, 2},
				Exp: totals.Exponential{Zero: 1, Counts: map[int]uint64{-7: 1, 50: 1}}},
			{DurationKey: totals.DurationKey{Template: "b", Status: job.Success}, Created: Start, Count: 1,
				Buckets: []uint64{1, 0, 0}, Exp: totals.Exponential{Zero: 1}},
		},
	}
}

func save(t *testing.T, s ledger.Store, c *totals.Checkpoint, upTo int64) {
	t.Helper()
	if err := s.SaveTotals(t.Context(), c, upTo); err != nil {
		t.Fatalf("SaveTotals: %v", err)
	}
}

func loaded(t *testing.T, s ledger.Store, c *totals.Checkpoint, upTo int64) {
	t.Helper()
	got, gotUpTo := Checkpoint(t, s)
	sorted := cmpopts.SortSlices(func(a, b any) bool { return fmt.Sprint(a) < fmt.Sprint(b) })
	if diff := cmp.Diff(c, got, cmpopts.EquateEmpty(), sorted); diff != "" {
		t.Errorf("loaded (-want +got):\n%s", diff)
	}
	if gotUpTo != upTo {
		t.Errorf("loaded up to %d, want %d", gotUpTo, upTo)
	}
}

func testCheckpoint(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	save(t, s, checkpoint(), 7)
	loaded(t, s, checkpoint(), 7)
	closeStore(t, s)
	loaded(t, use(t, open), checkpoint(), 7)
}

func testCheckpointReplaces(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	save(t, s, checkpoint(), 7)
	want := checkpoint()
	want.Runs[0].Count++
	want.Runs[0].Since++
	want.Durations[0].Count++
	want.Durations[0].Buckets[2]++
	change := *want
	change.Runs, change.Durations = want.Runs[:1], want.Durations[:1]
	save(t, s, &change, 8)
	loaded(t, s, want, 8)
}

func testCheckpointDrops(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	save(t, s, checkpoint(), 7)
	want := checkpoint()
	want.Bounds = []float64{1}
	want.Durations = []totals.Duration{{DurationKey: want.Durations[0].DurationKey, Created: Start, Count: 1,
		Buckets: []uint64{0, 1}}}
	change := *want
	change.Runs, change.DropDurations = nil, true
	save(t, s, &change, 9)
	loaded(t, s, want, 9)
}

func testCheckpointReplacesAll(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	save(t, s, checkpoint(), 7)
	want := checkpoint()
	want.Runs, want.Durations = want.Runs[1:], want.Durations[1:]
	want.Labels, want.Forgotten = []string{"version"}, 1<<40
	change := *want
	change.Replace, change.DropDurations = true, true
	save(t, s, &change, 7)
	loaded(t, s, want, 7)
}

// More entries than any store hands over in one part.
func testCheckpointParts(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	want := checkpoint()
	for i := range 25_000 {
		k := totals.RunKey{Template: fmt.Sprint("t", i%100), Project: fmt.Sprint("p", i), Status: job.Statuses[i%3]}
		want.Runs = append(want.Runs, totals.Run{RunKey: k, Count: uint64(i), Created: Start, Since: int64(i)})
	}
	save(t, s, want, 7)
	loaded(t, s, want, 7)
	failed := errors.New("enough")
	parts := 0
	_, err := s.LoadTotals(t.Context(), func(*totals.Checkpoint) error { parts++; return failed })
	if !errors.Is(err, failed) || parts != 1 {
		t.Errorf("%v after %d parts, want that of the first", err, parts)
	}
}

func testCheckpointGoesOn(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	save(t, s, checkpoint(), 7)
	other := checkpoint()
	other.Runs[0].Count++
	other.DropDurations = true
	if err := s.SaveTotals(t.Context(), other, 6); err == nil {
		t.Error("a checkpoint of row 6 replaced that of row 7")
	}
	loaded(t, s, checkpoint(), 7)
}

func testNoCheckpoint(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	if c, upTo := Checkpoint(t, s); c != nil || upTo != 0 {
		t.Errorf("LoadTotals of a new ledger: %v, %d", c, upTo)
	}
	empty := &totals.Checkpoint{Settings: totals.Settings{Bounds: []float64{60}}, ExactFrom: 1}
	save(t, s, empty, 0)
	loaded(t, s, empty, 0)
}
