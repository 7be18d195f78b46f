package history_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"ci-jobs-metrics/internal/history"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/sqlite"
)

// openLedger is a new one whose clock stands at the end of the history, so that
// nothing is past its retention.
func openLedger(t *testing.T) (*ledger.Ledger, ledger.Store) {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"), end, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(t.Context(), store, ledger.Options{Now: func() time.Time { return end }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l, store
}

func small() history.Shape {
	s := history.Demo(end)
	s.Jobs = 5432
	return s
}

// A ledger has exactly the history afterwards, also if it was filled in part before.
func TestFill(t *testing.T) {
	l, store := openLedger(t)
	ctx, cancel := context.WithCancel(t.Context())
	stopAt := func(done, _ int) {
		if done >= 2000 {
			cancel()
		}
	}
	if err := small().Fill(ctx, l.Record, stopAt); !errors.Is(err, context.Canceled) {
		t.Fatalf("Fill that was told to stop: %v", err)
	}
	part := rows(t, store)
	if len(part) < 2000 || len(part) > 3000 {
		t.Fatalf("%d rows where it was stopped after 2000", len(part))
	}

	var told []int
	err := small().Fill(t.Context(), l.Record, func(done, total int) {
		if total != small().Jobs {
			t.Errorf("progress: %d of %d", done, total)
		}
		told = append(told, done)
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "recorded", rows(t, store), slices.Collect(small().Entries()))
	same(t, "progress", told, []int{1000, 2000, 3000, 4000, 5000, 5432})
}

func rows(t *testing.T, store ledger.Store) (entries []ledger.Entry) {
	t.Helper()
	rows, err := store.Rows(t.Context(), 0, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		entries = append(entries, r.Entry)
	}
	return entries
}

// A full queue is tried again, until it has room or ctx ends; another error is returned.
func TestFillTroubles(t *testing.T) {
	var batches [][]ledger.Entry // kept, as a ledger may
	refusals := 0
	full := func(entries []ledger.Entry) ([]ledger.Outcome, error) {
		if refusals++; refusals%3 > 0 {
			return nil, ledger.ErrQueueFull
		}
		batches = append(batches, entries)
		return make([]ledger.Outcome, len(entries)), nil
	}
	if err := small().Fill(t.Context(), full, nil); err != nil {
		t.Fatal(err)
	}
	same(t, "recorded after refusals", slices.Concat(batches...), slices.Collect(small().Entries()))

	ctx, cancel := context.WithCancel(t.Context())
	stuck := func([]ledger.Entry) ([]ledger.Outcome, error) {
		cancel()
		return nil, ledger.ErrQueueFull
	}
	if err := small().Fill(ctx, stuck, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("with a queue that stays full: %v", err)
	}
	closed := func([]ledger.Entry) ([]ledger.Outcome, error) { return nil, ledger.ErrClosed }
	if err := small().Fill(t.Context(), closed, nil); !errors.Is(err, ledger.ErrClosed) {
		t.Errorf("with a ledger that is closed: %v", err)
	}
}
