// Package ledger is the durable record of finished jobs, and the promise of the
// whole program: from the moment a job is acknowledged it counts exactly once,
// whatever crashes.
//
// The job table is the only log; everything else is a fold over it: the totals behind
// the metrics, and the roll-ups behind the KPI. Handlers give
// jobs to [Ledger.Record] and wait. One writer goroutine commits whatever has
// gathered as one transaction (group commit), applies the new rows to the folds
// in memory, and then lets the handlers answer. Every few seconds it stores the
// totals as a checkpoint together with the number of the last row in them, and every
// minute what the roll-ups have gathered, so a
// start loads the checkpoints and folds only the rows behind them. Rows that are past
// their retention and in both checkpoints are pruned in small steps.
//
// A scrape calls [Ledger.CatchUp], which folds what the totals haven't seen, and then
// reads [Ledger.Feed]: so it answers for every job acknowledged before, and fails rather
// than give stale numbers.
//
// A question for KPI goes over the roll-ups with [Ledger.Scan], which catches up likewise.
//
// What was wrong with reports that did not become jobs, or not as they were sent, is kept
// for a page: see [Ledger.Note].
//
// Where rows live is a [Store]'s affair: package sqlite.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"ci-jobs-metrics/internal/rollup"
	"ci-jobs-metrics/internal/totals"
)

// Errors of Record. Both mean that nothing was recorded and that the sender
// should try again.
var (
	ErrQueueFull = errors.New("the queue of jobs waiting to be recorded is full")
	ErrClosed    = errors.New("the ledger is closed")
)

// MaxQueue is how many jobs may wait to be recorded: as many of small requests as of
// large ones, so that neither keeps the other out.
const MaxQueue = 10_000

// SmallRequest is how many jobs a request may bring to wait among the small ones.
const SmallRequest = 10

// Options say how a Ledger works. The zero value of each field means its default.
type Options struct {
	Totals          totals.Settings
	Retention       time.Duration // how long rows are kept after receipt; default 90 days
	CheckpointEvery time.Duration // how often the totals are stored; default 5 s
	PruneEvery      time.Duration // how often old rows are looked for; default 1 min
	Rollups         rollup.Options
	RollupRetention time.Duration // how long roll-ups are kept; default 800 days
	RollupEvery     time.Duration // how often they are stored, at least; default 1 min
	// RollupRows is how many jobs the roll-ups gather before they are stored, however soon
	// that is: a start folds them anew. With ten times as many they are stored although the
	// disk had little rest. Default 100 000.
	RollupRows int
	Now        func() time.Time
	Logger     *slog.Logger

	// OnCommit, if set, is told of every commit from the writer's goroutine: what
	// became of each entry, how long it took, and its error.
	OnCommit func(outcomes []Outcome, took time.Duration, err error)
}

// DefaultRetention is how long jobs, and with them their ids, are kept.
const DefaultRetention = 90 * 24 * time.Hour

// DefaultRollupRetention is how long roll-ups are kept: two years can be compared.
const DefaultRollupRetention = 800 * 24 * time.Hour

func (o *Options) setDefaults() {
	if o.Retention == 0 {
		o.Retention = DefaultRetention
	}
	if o.CheckpointEvery == 0 {
		o.CheckpointEvery = 5 * time.Second
	}
	if o.PruneEvery == 0 {
		o.PruneEvery = time.Minute
	}
	if o.RollupRetention == 0 {
		o.RollupRetention = DefaultRollupRetention
	}
	if o.RollupRows == 0 {
		o.RollupRows = 100_000
	}
	if o.RollupEvery == 0 {
		o.RollupEvery = time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.OnCommit == nil {
		o.OnCommit = func([]Outcome, time.Duration, error) {}
	}
}

// A Ledger records jobs and keeps their totals. Its methods may be called from
// several goroutines.
type Ledger struct {
	store Store
	opts  Options

	lanes   [2]lane       // for small requests and for large ones
	stopped chan struct{} // closed when the writer is done

	mu     sync.Mutex // guards how many wait and closed, and sends on queues
	closed bool

	trouble trouble
	budget  budget // the writer's own
	notes   notes

	// fold guards the folds and how far they have read, so that a row is
	// applied once, by the writer or by a scrape, whoever comes first.
	fold    sync.Mutex
	totals  *totals.Totals
	rollups *rollup.Rollups
	applied int64 // number of the last row in both
	counted int64 // number of the last row in totals: higher only at the start

	// The writer's own.
	saved   int64         // number of the last row in the stored checkpoint
	rolling rolling       // the roll-ups on their way into the store
	behind  bool          // whether there are rows that apply could not fold; guarded by fold
	batch   []*submission // used again for each commit, as is entries
	entries []Entry
}

// A lane is a queue of requests of one size.
type lane struct {
	queue   chan *submission
	waiting int // jobs in queue, not yet taken by the writer
}

// Open loads the totals from the store, folds the rows behind its checkpoint,
// and starts the writer. The store is the Ledger's from now on, also if Open
// fails: it is closed then.
func Open(ctx context.Context, store Store, opts Options) (*Ledger, error) {
	opts.setDefaults()
	l := &Ledger{
		store:   store,
		opts:    opts,
		stopped: make(chan struct{}),
		totals:  totals.New(opts.Totals),
		rollups: rollup.New(opts.Rollups),
		trouble: trouble{logger: opts.Logger},
		budget:  budget{logger: opts.Logger},
	}
	for i := range l.lanes {
		l.lanes[i].queue = make(chan *submission, MaxQueue)
	}
	if err := l.load(ctx); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	l.notes.revision.Store(rand.Uint64())
	go l.write()
	return l, nil
}

// Record makes the entries durable and counted. When it returns outcomes, one for
// each entry, a power cut can't undo them, and Totals has them. The entries are
// the Ledger's from now on.
//
// After any error nothing is recorded. There is no context: what waits for its
// commit can't be taken back, and to say so before it is known would be a guess.
func (l *Ledger) Record(entries []Entry) ([]Outcome, error) {
	s := submissions.Get().(*submission)
	s.entries = entries
	err := l.submit(s)
	if err == nil {
		<-s.done
		err = s.err
	}
	outcomes := s.outcomes
	*s = submission{done: s.done}
	submissions.Put(s)
	return outcomes, err
}

func (l *Ledger) submit(s *submission) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	lane := l.laneOf(s)
	if lane.waiting+len(s.entries) > MaxQueue {
		return ErrQueueFull
	}
	lane.waiting += len(s.entries)
	lane.queue <- s // never blocks: it has room for MaxQueue, and each holds a job
	return nil
}

func (l *Ledger) laneOf(s *submission) *lane {
	if len(s.entries) <= SmallRequest {
		return &l.lanes[0]
	}
	return &l.lanes[1]
}

// CatchUp brings the totals to the last row: every job that Record acknowledged before
// the call is in the Feed then, at least. It fails if the ledger can't be read.
func (l *Ledger) CatchUp(ctx context.Context) error {
	l.fold.Lock()
	defer l.fold.Unlock()
	if err := l.catchUp(ctx); err != nil {
		return fmt.Errorf("reading the ledger: %w", err)
	}
	return nil
}

// Feed tells one reader how the totals move; see totals.Feed.
func (l *Ledger) Feed() *totals.Feed { return l.totals.Feed() }

// Check fails, with the reason, if jobs can't be recorded or the ledger can't be read.
func (l *Ledger) Check(ctx context.Context) error {
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if err := l.trouble.now(); err != nil {
		return err
	}
	_, err := l.store.Rows(ctx, 0, 1)
	return err
}

// Writable reports whether jobs can be recorded, as far as is known from the last
// attempt.
func (l *Ledger) Writable() bool { return l.trouble.now() == nil }

// Space is how much room the ledger takes.
func (l *Ledger) Space() (Space, error) { return l.store.Space() }

// Created is when the ledger was made.
func (l *Ledger) Created() time.Time { return l.store.Created() }

// Stats are numbers about the ledger's own health.
type Stats struct {
	totals.Stats
	Waiting int // jobs in the queues
}

// Stats returns the current numbers.
func (l *Ledger) Stats() Stats {
	l.mu.Lock()
	waiting := 0
	for i := range l.lanes {
		waiting += l.lanes[i].waiting
	}
	l.mu.Unlock()
	return Stats{Stats: l.totals.Stats(), Waiting: waiting}
}

// Close takes no more jobs, records those that wait, stores the totals and closes
// the store. It returns ctx's error if ctx ends first; the rest then goes on
// behind it.
func (l *Ledger) Close(ctx context.Context) error {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		for i := range l.lanes {
			close(l.lanes[i].queue)
		}
	}
	l.mu.Unlock()
	select {
	case <-l.stopped:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("closing the ledger: %w", ctx.Err())
	}
}

// Job returns the recorded job with the given id, and whether there is one: every job
// that Record acknowledged before the call, until it is past its retention. It fails if
// the ledger can't be read.
func (l *Ledger) Job(ctx context.Context, id string) (Row, bool, error) {
	row, found, err := l.store.Job(ctx, id)
	if err != nil {
		return Row{}, false, fmt.Errorf("reading the ledger: %w", err)
	}
	return row, found, nil
}
