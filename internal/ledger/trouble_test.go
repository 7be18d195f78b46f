package ledger_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/ledgertest"
	"ci-jobs-metrics/internal/logtest"
	"ci-jobs-metrics/internal/totals"
)

// burning is a store whose disk can burn.
type burning struct {
	ledger.Store
	burns atomic.Bool
}

func (s *burning) err() error {
	if s.burns.Load() {
		return errDisk
	}
	return nil
}

func (s *burning) Append(ctx context.Context, entries []ledger.Entry) ([]ledger.Outcome, error) {
	if err := s.err(); err != nil {
		return nil, err
	}
	return s.Store.Append(ctx, entries)
}

func (s *burning) Probe(ctx context.Context) error {
	return errors.Join(s.err(), s.Store.Probe(ctx))
}

// While nothing can be recorded the ledger says so, to whoever asks and once to the
// log; when it works again it finds out by itself.
func TestTrouble(t *testing.T) {
	var log logtest.Buffer
	s := &burning{Store: openStore(t, ledgerPath(t))}
	l := openLedger(t, s, ledger.Options{Totals: few, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	works := func() bool { return l.Writable() && l.Check(t.Context()) == nil }
	if !works() {
		t.Fatal("trouble from the start")
	}
	for round := 1; round <= 2; round++ {
		s.burns.Store(true)
		for range 50 {
			if _, err := l.Record([]ledger.Entry{ledgertest.Entry(0, "")}); !errors.Is(err, errDisk) {
				t.Fatalf("Record: %v", err)
			}
		}
		if l.Writable() || !errors.Is(l.Check(t.Context()), errDisk) {
			t.Errorf("no trouble: %v", l.Check(t.Context()))
		}
		if n := count(t, l); n != uint64(round-1) {
			t.Errorf("%d jobs count", n)
		}
		s.burns.Store(false)
		waitFor(t, works) // nobody sends anything
		record(t, l, ledgertest.Entry(0, ""))
	}
	for want, times := range map[string]int{
		// Of the second time, right after the first, it hears nothing.
		"Recording jobs failed; senders get 503 and retry": 1,
		"Recording works again":                            1, "refused=50": 1,
	} {
		if n := strings.Count(log.String(), want); n != times {
			t.Errorf("%d times in the log: %s\n%s", n, want, log.String())
		}
	}
}

// damaged is a store whose checkpoint is not what was saved.
type damaged struct {
	ledger.Store
	count uint64 // what is added to a counter
	gone  bool
}

func (s *damaged) LoadTotals(ctx context.Context, take func(*totals.Checkpoint) error) (int64, error) {
	if s.gone {
		return 0, nil
	}
	return s.Store.LoadTotals(ctx, func(part *totals.Checkpoint) error {
		for i := range part.Runs {
			part.Runs[i].Count += s.count
		}
		return take(part)
	})
}

// The next start refuses totals that can't be whole, rather than begin from less.
func TestDamagedTotals(t *testing.T) {
	for name, damage := range map[string]func(*damaged){
		"a counter that is too high": func(d *damaged) { d.count++ },
		"totals that are gone":       func(d *damaged) { d.gone = true },
	} {
		t.Run(name, func(t *testing.T) {
			path := ledgerPath(t)
			l := openLedger(t, openStore(t, path), ledger.Options{Totals: few})
			record(t, l, ledgertest.Entry(0, "a"), ledgertest.Entry(0, "b"))
			closeLedger(t, l)
			d := &damaged{Store: openStore(t, path)}
			damage(d)
			if _, err := d.Prune(t.Context(), ledgertest.Start.AddDate(1, 0, 0), 1, 10); err != nil {
				t.Fatal(err)
			}
			_, err := ledger.Open(t.Context(), d, ledger.Options{Totals: few})
			if err == nil || !strings.Contains(err.Error(), "its totals are") || !strings.Contains(err.Error(), "restore a backup") {
				t.Errorf("Open: %v", err)
			}
		})
	}
}

// refusing is a store whose next append records, and says that it did not.
type refusing struct {
	ledger.Store
	next atomic.Bool
}

func (s *refusing) Append(ctx context.Context, entries []ledger.Entry) ([]ledger.Outcome, error) {
	outcomes, err := s.Store.Append(ctx, entries)
	if err == nil && s.next.CompareAndSwap(true, false) {
		return nil, errDisk
	}
	return outcomes, err
}

// A batch that was recorded without being acknowledged is in the totals, in those of the
// checkpoint too, although nobody scrapes.
func TestRecordedButRefused(t *testing.T) {
	s := &refusing{Store: openStore(t, ledgerPath(t))}
	l := openLedger(t, s, ledger.Options{Totals: few, CheckpointEvery: 5 * time.Millisecond})
	s.next.Store(true)
	if _, err := l.Record([]ledger.Entry{ledgertest.Entry(0, "a")}); !errors.Is(err, errDisk) {
		t.Fatalf("Record: %v", err)
	}
	if o := record(t, l, ledgertest.Entry(0, "a"), ledgertest.Entry(0, "b")); o[0].Seq != 0 || o[1].Seq != 2 {
		t.Errorf("sent again: %v", o)
	}
	waitFor(t, func() bool {
		upTo, err := s.LoadTotals(t.Context(), func(*totals.Checkpoint) error { return nil })
		return err == nil && upTo == 2
	})
	if n := count(t, l); n != 2 {
		t.Errorf("%d jobs count", n)
	}
}
