package ledger_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/ledgertest"
	"ci-jobs-metrics/internal/rollup"
)

// inRollups is how many jobs a scan finds, and as of which.
func inRollups(t *testing.T, l *ledger.Ledger) (jobs int, asOf int64) {
	t.Helper()
	at, err := l.Scan(context.Background(), around, func(*rollup.Texts) func(rollup.Part) {
		jobs = 0
		return func(p rollup.Part) {
			for i := range p.Cells {
				jobs += int(p.Cells[i].Count)
			}
		}
	})
	if err != nil {
		t.Error(err)
	}
	return jobs, at
}

// A scan that comes between a commit and its fold reads the rows itself; the writer must
// not fold them again.
func TestScanBetweenCommitAndFold(t *testing.T) {
	s := &interrupted{Store: openStore(t, ledgerPath(t))}
	l := openLedger(t, s, ledger.Options{Totals: few})
	check := func(when string, want int) {
		if n, asOf := inRollups(t, l); n != want || asOf != int64(want) {
			t.Errorf("%s: %d jobs as of %d, want %d", when, n, asOf, want)
		}
	}
	n := 0
	s.then = func() { check("between", n) }
	for n < 3 {
		n++
		record(t, l, ledgertest.Entry(0, ""))
		check("then", n)
	}
}

// A headless store stores blocks, but not how far they are: as if it was always killed
// before. It tells how often something was to be pruned.
type headless struct {
	ledger.Store
	headless atomic.Bool
	prunings atomic.Int32
}

func (s *headless) SaveRollups(ctx context.Context, h rollup.Head) error {
	if s.headless.Load() && h.UpTo > 0 {
		return errDisk
	}
	return s.Store.SaveRollups(ctx, h)
}

func (s *headless) Prune(ctx context.Context, before time.Time, upTo int64, limit int) (int, error) {
	s.prunings.Add(1)
	return s.Store.Prune(ctx, before, upTo, limit)
}

// Blocks that are ahead of the head are not pruned until it has caught up, without a job
// that comes: the next start would make some of them anew, and they would count twice as
// pruned.
func TestPruningWaitsForTheHead(t *testing.T) {
	path := ledgerPath(t)
	s := &headless{Store: openStore(t, path)}
	s.headless.Store(true)
	l := openLedger(t, s, ledger.Options{Totals: few})
	record(t, l, ledgertest.Entry(0, ""), ledgertest.Entry(0, ""))
	closeLedger(t, l)

	options := ledger.Options{Totals: few, PruneEvery: time.Millisecond, RollupEvery: time.Millisecond,
		RollupRetention: time.Hour, Now: func() time.Time { return ledgertest.Start.Add(48 * time.Hour) }}
	again := &headless{Store: openStore(t, path)}
	again.headless.Store(true)
	l = openLedger(t, again, options)
	waitFor(t, func() bool { return again.prunings.Load() > 10 })
	if n, _ := inRollups(t, l); n != 2 {
		t.Errorf("%d jobs are left", n)
	}
	closeLedger(t, l)
	sound(t, "killed", path)

	last := openStore(t, path)
	l = openLedger(t, last, options)
	waitFor(t, func() bool {
		head, ahead, err := last.LoadRollups(t.Context())
		return err == nil && head.UpTo == 2 && head.Pruned == 2 && len(ahead) == 0
	})
	if n, asOf := inRollups(t, l); n != 0 || asOf != 2 {
		t.Errorf("%d jobs as of %d", n, asOf)
	}
	closeLedger(t, l)
	sound(t, "pruned", path)
}
