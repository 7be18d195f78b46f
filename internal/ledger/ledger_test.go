package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/ledgertest"
	"ci-jobs-metrics/internal/ledger/sqlite"
	"ci-jobs-metrics/internal/rollup"
	"ci-jobs-metrics/internal/totals"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var few = totals.Settings{Bounds: []float64{60}}

// pickSettings are those of a restart; few label sets fit into any budget here, so
// that it is used up in many ways.
func pickSettings(r *rand.Rand) totals.Settings {
	s := few
	if r.IntN(3) == 0 {
		s.Bounds = []float64{0.5, 60, 3600}
	}
	switch r.IntN(4) {
	case 0:
		s.Labels = []string{"version"}
	case 1:
		s.Labels = []string{"stage", "version"}
	}
	s.MaxSets = r.IntN(40)
	return s
}

func pickZone(t *testing.T, r *rand.Rand) *time.Location {
	t.Helper()
	zone, err := rollup.LoadZone(pick(r, "UTC", "Asia/Kolkata", "Pacific/Apia", "America/New_York"))
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func openStore(t *testing.T, path string) ledger.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, ledgertest.Start, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openLedger(t *testing.T, s ledger.Store, o ledger.Options) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeLedger(t, l) })
	return l
}

func closeLedger(t *testing.T, l *ledger.Ledger) {
	t.Helper()
	if err := l.Close(context.Background()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func record(t *testing.T, l *ledger.Ledger, entries ...ledger.Entry) []ledger.Outcome {
	t.Helper()
	outcomes, err := l.Record(entries)
	if err != nil {
		t.Fatalf("Record: %v", err)
	}
	return outcomes
}

// Random jobs, checkpoints, prunings, restarts and changed settings: at any moment
// the totals are those of a replay of everything; and a copy of the file from
// before or after any step, which is what a kill there leaves, opens to them too.
func TestTotalsAreAReplayOfEverything(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			dir := t.TempDir()
			path := filepath.Join(dir, "ledger.db")
			m := &model{}
			var clock atomic.Int64 // hours since the start
			now := func() time.Time { return ledgertest.Start.Add(time.Duration(clock.Load()) * time.Hour) }
			var kills []kill // the writer's until it has ended
			dice := rand.New(rand.NewPCG(seed, 1))
			store := func() ledger.Store {
				return &modelled{Store: openStore(t, path), model: m, step: func(what string) {
					if len(kills) < 24 && dice.IntN(6) == 0 {
						kills = append(kills, kill{"killed " + what, copyLedger(t, path), *m})
					}
				}}
			}
			options := func() ledger.Options {
				return ledger.Options{Totals: pickSettings(r), Retention: 10 * time.Hour, Now: now,
					CheckpointEvery: time.Millisecond, PruneEvery: time.Millisecond,
					Rollups: rollup.Options{Zone: pickZone(t, r)}, RollupEvery: time.Millisecond, RollupRetention: 60 * time.Hour, RollupRows: 1 + r.IntN(30)}
			}
			for range 6 { // restarts
				l := openLedger(t, store(), options())
				for range 25 {
					clock.Add(r.Int64N(3))
					batch := make([]ledger.Entry, 1+r.IntN(5))
					for i := range batch {
						batch[i] = randomEntry(r, now())
					}
					record(t, l, batch...)
				}
				closeLedger(t, l)
				// The writer has ended, so the model is ours to read.
				l = openLedger(t, openStore(t, path), ledger.Options{Totals: m.settings()})
				m.check(t, "after a stop", l)
				closeLedger(t, l)
				sound(t, "after a stop", path)
			}
			if len(kills) < 20 {
				t.Errorf("only %d kills", len(kills))
			}
			for _, k := range kills {
				k.check(t, pickSettings(r))
			}
		})
	}
}

// A kill is what a ledger's files were at some moment, and what they must hold.
type kill struct {
	when  string
	path  string
	model model
}

// check opens the files with the given settings, and again when there is no tail any
// more.
func (k *kill) check(t *testing.T, settings totals.Settings) {
	t.Helper()
	sound(t, k.when, k.path)
	k.model.configure(settings)
	for range 2 {
		l := openLedger(t, openStore(t, k.path), ledger.Options{Totals: settings, CheckpointEvery: time.Hour, RollupRows: 5})
		k.model.check(t, k.when, l)
		closeLedger(t, l)
	}
	sound(t, k.when+", and started again", k.path)
}

// copyLedger copies a ledger and its write-ahead log, while nobody writes.
func copyLedger(t *testing.T, path string) string {
	to := filepath.Join(t.TempDir(), "copy.db")
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(path + suffix)
		if err == nil {
			err = os.WriteFile(to+suffix, content, 0o600)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	}
	return to
}

// gate is a store whose appends wait, and fail where they are told to.
type gate struct {
	ledger.Store
	arrived chan int      // how many entries an append has
	open    chan struct{} // lets one append through
	free    chan struct{} // when closed, lets all through
	fail    atomic.Bool
}

var errDisk = errors.New("the disk is on fire")

func (g *gate) Append(ctx context.Context, entries []ledger.Entry) ([]ledger.Outcome, error) {
	select {
	case g.arrived <- len(entries):
	case <-g.free:
	}
	select {
	case <-g.open:
	case <-g.free:
	}
	if g.fail.Load() {
		return nil, errDisk
	}
	return g.Store.Append(ctx, entries)
}

func openGate(t *testing.T, path string) (*gate, *ledger.Ledger) {
	t.Helper()
	g := &gate{
		Store:   openStore(t, path),
		arrived: make(chan int), open: make(chan struct{}), free: make(chan struct{}),
	}
	l := openLedger(t, g, ledger.Options{Totals: few})
	t.Cleanup(func() { close(g.free) }) // before the ledger is closed, so that a test that failed ends
	return g, l
}

func ledgerPath(t *testing.T) string { return filepath.Join(t.TempDir(), "ledger.db") }

// pass lets the next append through and returns how many entries it had.
func (g *gate) pass() int {
	n := <-g.arrived
	g.open <- struct{}{}
	return n
}

// No answer and no count before the commit; what waits meanwhile is one commit.
func TestGroupCommit(t *testing.T) {
	g, l := openGate(t, ledgerPath(t))
	var answered atomic.Int32
	var senders sync.WaitGroup
	send := func(id string) {
		senders.Go(func() {
			if _, err := l.Record([]ledger.Entry{ledgertest.Entry(0, id)}); err != nil {
				t.Error(err)
			}
			answered.Add(1)
		})
	}
	send("first")
	if n := <-g.arrived; n != 1 {
		t.Fatalf("first commit has %d entries", n)
	}
	for i := range 20 {
		send(fmt.Sprint(i))
	}
	waitFor(t, func() bool { return l.Stats().Waiting == 20 })
	if n := answered.Load(); n != 0 {
		t.Fatalf("%d answers before the commit", n)
	}
	if s, err := ledgertest.Totals(t, l); err != nil || len(s.Runs) != 0 {
		t.Fatalf("totals before the commit: %v, %v", s, err)
	}
	g.open <- struct{}{}
	if n := g.pass(); n != 20 {
		t.Errorf("second commit has %d entries, want the 20 that waited", n)
	}
	senders.Wait()
	if n := count(t, l); n != 21 {
		t.Errorf("%d jobs count, want 21", n)
	}
}

func count(t *testing.T, l *ledger.Ledger) (n uint64) {
	t.Helper()
	s, err := ledgertest.Totals(t, l)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range s.Runs {
		n += r.Count
	}
	return n
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

func TestFailedCommit(t *testing.T) {
	g, l := openGate(t, ledgerPath(t))
	try := func() error {
		done := make(chan error, 1)
		go func() {
			_, err := l.Record([]ledger.Entry{ledgertest.Entry(0, "a")})
			done <- err
		}()
		g.pass()
		return <-done
	}
	g.fail.Store(true)
	if err := try(); !errors.Is(err, errDisk) {
		t.Fatalf("Record: %v", err)
	}
	if n := count(t, l); n != 0 {
		t.Errorf("%d jobs count after a commit that failed", n)
	}
	g.fail.Store(false)
	if err := try(); err != nil {
		t.Fatalf("Record when the disk is back: %v", err)
	}
	if n := count(t, l); n != 1 {
		t.Errorf("%d jobs count", n)
	}
}

// recordMany records so many jobs as one request.
func recordMany(t *testing.T, l *ledger.Ledger, n int) {
	entries := make([]ledger.Entry, n)
	for i := range entries {
		entries[i] = ledgertest.Entry(0, "")
	}
	if _, err := l.Record(entries); err != nil {
		t.Error(err)
	}
}

// A request that finds no room for all of its jobs leaves none.
func TestQueueFull(t *testing.T) {
	g, l := openGate(t, ledgerPath(t))
	var senders sync.WaitGroup
	send := func(n int) { senders.Go(func() { recordMany(t, l, n) }) }
	send(1)
	<-g.arrived // it waits in the store, not in the queue
	send(ledger.MaxQueue - 1)
	waitFor(t, func() bool { return l.Stats().Waiting == ledger.MaxQueue-1 })
	if _, err := l.Record(make([]ledger.Entry, ledger.SmallRequest+1)); !errors.Is(err, ledger.ErrQueueFull) {
		t.Errorf("more jobs than there is room for: %v", err)
	}
	// Small requests have a queue of their own, and what waits in both is one commit.
	for range 100 {
		send(ledger.SmallRequest)
	}
	waitFor(t, func() bool { return l.Stats().Waiting == ledger.MaxQueue-1+100*ledger.SmallRequest })
	g.open <- struct{}{}
	if n := g.pass(); n != ledger.MaxQueue-1+100*ledger.SmallRequest {
		t.Errorf("the next commit has %d jobs", n)
	}
	senders.Wait()
	if n := count(t, l); n != ledger.MaxQueue+100*ledger.SmallRequest {
		t.Errorf("%d jobs count", n)
	}
	send(ledger.MaxQueue) // there is room again
	g.pass()
	senders.Wait()
}

// The queue of small requests is as long as that of large ones.
func TestSmallQueueFull(t *testing.T) {
	g, l := openGate(t, ledgerPath(t))
	var senders sync.WaitGroup
	send := func(n int) { senders.Go(func() { recordMany(t, l, n) }) }
	send(1)
	<-g.arrived
	for range ledger.MaxQueue / ledger.SmallRequest {
		send(ledger.SmallRequest)
	}
	waitFor(t, func() bool { return l.Stats().Waiting == ledger.MaxQueue })
	if _, err := l.Record(make([]ledger.Entry, 1)); !errors.Is(err, ledger.ErrQueueFull) {
		t.Errorf("one more: %v", err)
	}
	send(ledger.MaxQueue) // a large one, all the same
	waitFor(t, func() bool { return l.Stats().Waiting == 2*ledger.MaxQueue })
	g.open <- struct{}{}
	left := 2 * ledger.MaxQueue
	for left > 0 {
		n := g.pass()
		if n > ledger.MaxQueue+1000 {
			t.Errorf("a commit of %d jobs", n)
		}
		left -= n
	}
	senders.Wait()
}

// Close records what waits and refuses what comes.
func TestCloseDrains(t *testing.T) {
	path := ledgerPath(t)
	g, l := openGate(t, path)
	var senders sync.WaitGroup
	for i := range 10 {
		senders.Go(func() {
			if _, err := l.Record([]ledger.Entry{ledgertest.Entry(0, fmt.Sprint(i))}); err != nil {
				t.Errorf("taken in before Close: %v", err)
			}
		})
		if i == 0 {
			<-g.arrived // it waits in the store, the others in the queue
		}
	}
	waitFor(t, func() bool { return l.Stats().Waiting == 9 })
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := l.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close while a commit hangs: %v", err)
	}
	if _, err := l.Record([]ledger.Entry{ledgertest.Entry(0, "")}); !errors.Is(err, ledger.ErrClosed) {
		t.Errorf("Record after Close: %v", err)
	}
	if err := l.Check(t.Context()); !errors.Is(err, ledger.ErrClosed) {
		t.Errorf("Check after Close: %v", err)
	}
	g.open <- struct{}{}
	g.pass()
	senders.Wait()
	closeLedger(t, l)

	s := openStore(t, path)
	c, upTo := ledgertest.Checkpoint(t, s)
	if upTo != 10 || len(c.Runs) != 1 || c.Runs[0].Count != 10 {
		t.Errorf("the checkpoint after Close: %v up to %d", c, upTo)
	}
	s.Close()
	if _, err := ledgertest.Totals(t, l); err == nil {
		t.Error("a ledger that can't be read gave totals")
	}
}

// failingTotals is a store that can't store checkpoints for a while.
type failingTotals struct {
	ledger.Store
	failures atomic.Int32 // left
}

func (s *failingTotals) SaveTotals(ctx context.Context, c *totals.Checkpoint, upTo int64) error {
	if s.failures.Add(-1) >= 0 {
		return errDisk
	}
	return s.Store.SaveTotals(ctx, c, upTo)
}

// What a failed checkpoint held is in the next one.
func TestFailedCheckpoint(t *testing.T) {
	path := ledgerPath(t)
	s := &failingTotals{Store: openStore(t, path)}
	l := openLedger(t, s, ledger.Options{Totals: few, CheckpointEvery: time.Millisecond})
	s.failures.Store(3)
	timed := ledgertest.Entry(0, "a")
	timed.Job.Timed = true
	record(t, l, timed)
	waitFor(t, func() bool { return s.failures.Load() < 0 })
	closeLedger(t, l)
	again := openStore(t, path)
	defer again.Close()
	if c, upTo := ledgertest.Checkpoint(t, again); upTo != 1 || len(c.Runs) != 1 || len(c.Durations) != 1 {
		t.Errorf("the checkpoint: %v up to %d", c, upTo)
	}
}

// Scrapes while jobs are recorded never see a job twice, nor the counters fall.
func TestTotalsWhileRecording(t *testing.T) {
	l := openLedger(t, openStore(t, ledgerPath(t)),
		ledger.Options{Totals: few, CheckpointEvery: 5 * time.Millisecond})
	var senders sync.WaitGroup
	var acknowledged atomic.Uint64
	for s := range 4 {
		senders.Go(func() {
			for i := range 100 {
				if _, err := l.Record([]ledger.Entry{ledgertest.Entry(0, fmt.Sprint(s, "/", i))}); err != nil {
					t.Error(err)
				}
				acknowledged.Add(1)
			}
		})
	}
	for before := uint64(0); before < 400; {
		least := acknowledged.Load()
		n := count(t, l)
		if n < before || n < least || n > 400 {
			t.Fatalf("%d jobs count, after %d, with %d acknowledged", n, before, least)
		}
		before = n
	}
	senders.Wait()
}

// interrupted is a store that does something between a commit and what follows.
type interrupted struct {
	ledger.Store
	then func()
}

func (s *interrupted) Append(ctx context.Context, entries []ledger.Entry) ([]ledger.Outcome, error) {
	outcomes, err := s.Store.Append(ctx, entries)
	s.then()
	return outcomes, err
}

// A scrape that comes between a commit and its fold reads the rows itself; the
// writer must not fold them again.
func TestScrapeBetweenCommitAndFold(t *testing.T) {
	s := &interrupted{Store: openStore(t, ledgerPath(t))}
	l := openLedger(t, s, ledger.Options{Totals: few})
	seen := make(chan uint64, 1)
	s.then = func() { seen <- count(t, l) }
	for i := range uint64(3) {
		record(t, l, ledgertest.Entry(0, ""))
		if n := <-seen; n != i+1 {
			t.Errorf("the scrape saw %d jobs, want %d", n, i+1)
		}
		if n := count(t, l); n != i+1 {
			t.Errorf("then %d jobs count, want %d", n, i+1)
		}
	}
}

// Rows past their retention stay until a checkpoint has them: the next start has to
// find them.
func TestPruningWaitsForTheCheckpoint(t *testing.T) {
	path := ledgerPath(t)
	s := &failingTotals{Store: openStore(t, path)}
	l := openLedger(t, s, ledger.Options{Totals: few, CheckpointEvery: time.Millisecond, PruneEvery: time.Millisecond,
		Retention: time.Hour, Now: func() time.Time { return ledgertest.Start.Add(24 * time.Hour) }})
	s.failures.Store(1 << 30)
	record(t, l, ledgertest.Entry(0, "a"), ledgertest.Entry(0, "b"))
	tries := s.failures.Load()
	waitFor(t, func() bool { return s.failures.Load() < tries-20 }) // prunings came between
	if rows, err := s.Rows(t.Context(), 0, 10); err != nil || len(rows) != 2 {
		t.Errorf("%d rows are left, %v", len(rows), err)
	}
	s.failures.Store(0)
	waitFor(t, func() bool {
		rows, err := s.Rows(t.Context(), 0, 10)
		return err == nil && len(rows) == 0
	})
	if n := count(t, l); n != 2 {
		t.Errorf("%d jobs count when their rows are gone", n)
	}
}
