package ledger_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/ledgertest"
	"ci-jobs-metrics/internal/rollup"
)

// dying is a store that stores some steps of roll-ups, and then no more.
type dying struct {
	ledger.Store
	steps atomic.Int64 // that are left
}

func (d *dying) SaveBlocks(ctx context.Context, blocks []*rollup.Block) error {
	if d.steps.Add(-1) < 0 {
		return errDisk
	}
	return d.Store.SaveBlocks(ctx, blocks)
}

// around has all jobs that are made here.
var around = rollup.Scan{Ranges: []rollup.Range{{
	From: rollup.SlotOf(ledgertest.Start.AddDate(0, 0, -60)), To: rollup.SlotOf(ledgertest.Start.AddDate(0, 0, 2)),
}}}

// A crash in the middle of a save leaves blocks that have seen jobs behind the stored head.
// The next start folds the tail, and stores what has gathered on the way, before it has come
// to the last of those: they count once all the same.
func TestTailBehindBlocksAhead(t *testing.T) {
	const jobs = 3000
	path := ledgerPath(t)
	d := &dying{Store: openStore(t, path)}
	d.steps.Store(1)
	l := openLedger(t, d, ledger.Options{Totals: few, RollupEvery: time.Hour, RollupRows: jobs})
	entry := func(i int) ledger.Entry {
		e := ledgertest.Entry(time.Duration(i)*time.Millisecond, fmt.Sprint(i))
		e.Job.Name = fmt.Sprintf("t%03d", i%450) // more blocks than a step takes
		return e
	}
	var batch []ledger.Entry
	for i := range jobs {
		batch = append(batch, entry(i))
	}
	record(t, l, batch...)
	closeLedger(t, l)
	s := openStore(t, path)
	if _, ahead, err := s.LoadRollups(t.Context()); err != nil || len(ahead) == 0 {
		t.Fatalf("no block is ahead: %v", err)
	}
	l = openLedger(t, s, ledger.Options{Totals: few, RollupEvery: time.Hour, RollupRows: 100})
	if n, _ := inRollups(t, l); n != jobs {
		t.Errorf("%d jobs are in the roll-ups, want %d", n, jobs)
	}
	for i := range 450 {
		record(t, l, entry(jobs+i))
	}
	if n, _ := inRollups(t, l); n != jobs+450 {
		t.Errorf("%d jobs are in the roll-ups, want %d", n, jobs+450)
	}
	closeLedger(t, l)
	sound(t, "after a tail behind blocks ahead", path)
}

// A program of before pruned rows and passed by those that came while its clock was ahead:
// the first roll-ups begin with a gap, which is no fault.
func TestFirstRollupsHaveAGap(t *testing.T) {
	path := ledgerPath(t)
	s := openStore(t, path)
	var batch []ledger.Entry
	for i := range 10 {
		batch = append(batch, ledgertest.Entry(time.Duration(i)*time.Second, fmt.Sprint(i)))
	}
	if _, err := s.Append(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	closeLedger(t, openLedger(t, s, ledger.Options{Totals: few}))
	tamper(t, path, `DELETE FROM jobs WHERE seq IN (1, 2, 4, 5, 7)`)
	tamper(t, path, `DELETE FROM rollup`)
	tamper(t, path, `DELETE FROM rollup_blocks`)
	l := openLedger(t, openStore(t, path), ledger.Options{Totals: few})
	if n, _ := inRollups(t, l); n != 5 {
		t.Errorf("%d jobs are in the roll-ups, want 5", n)
	}
	closeLedger(t, l)
	sound(t, "with gaps", path)
}

// Who asks reads over some connections only: jobs are recorded, and scrapes answered, however
// slowly days are read.
func TestQuestionsHoldNobodyUp(t *testing.T) {
	s := &slowReads{Store: openStore(t, ledgerPath(t)), release: make(chan struct{})}
	l := openLedger(t, s, ledger.Options{Totals: few, RollupEvery: 10 * time.Millisecond})
	for i := range 40 {
		e := ledgertest.Entry(0, "")
		e.Job.Finished = e.Received.Add(-time.Duration(i) * 24 * time.Hour)
		record(t, l, e)
	}
	waitFor(t, func() bool { h, _, err := s.LoadRollups(t.Context()); return err == nil && h.UpTo == 40 })
	s.on.Store(true)
	asked := make(chan struct{})
	const questions = 8
	for range questions {
		go func() {
			defer func() { asked <- struct{}{} }()
			_, _ = l.Scan(t.Context(), around,
				func(*rollup.Texts) func(rollup.Part) { return func(rollup.Part) {} })
		}()
	}
	waitFor(t, func() bool { return s.reading.Load() >= 2 })
	record(t, l, ledgertest.Entry(0, "")) // would wait for ever
	if n := count(t, l); n != 41 {
		t.Errorf("%d jobs count", n)
	}
	close(s.release)
	for range questions {
		<-asked
	}
}

// slowReads is a store whose days take until they are released to be read.
type slowReads struct {
	ledger.Store
	on      atomic.Bool
	reading atomic.Int64
	release chan struct{}
}

func (s *slowReads) Blocks(ctx context.Context, day rollup.Day, template string, slots bool, take func(*rollup.Block) error) error {
	return s.Store.Blocks(ctx, day, template, slots, func(b *rollup.Block) error {
		if s.on.Load() && template == "" {
			s.reading.Add(1)
			<-s.release
		}
		return take(b)
	})
}
