package ledger

import (
	"context"
	"slices"
	"sync"
	"time"

	"ci-jobs-metrics/internal/job"
)

const (
	// maxBatch is how many jobs a commit gathers at least of each lane before it stops
	// to gather more. What one request brought is never divided.
	maxBatch = 1000
	// pruneStep is how many rows are pruned at a time: a few milliseconds that
	// jobs wait for.
	pruneStep = 500
	// prunePause lets jobs through between two steps when there is more to prune.
	prunePause = 50 * time.Millisecond
	// foldStep is how many rows are read at a time to be folded.
	foldStep = 2000
)

// A submission is what one Record waits for.
type submission struct {
	entries  []Entry
	outcomes []Outcome
	err      error
	done     chan struct{} // has room for the one word that outcomes and err are final
}

// submissions are used again, for there is one for every request.
var submissions = sync.Pool{New: func() any { return &submission{done: make(chan struct{}, 1)} }}

// write is the writer: the only goroutine that changes the store. It ends when
// the queue is closed and empty.
func (l *Ledger) write() {
	defer close(l.stopped)
	ctx := context.Background() // what was taken in is finished, whoever still waits for it
	checkpoint := time.NewTicker(l.opts.CheckpointEvery)
	defer checkpoint.Stop()
	prune := time.NewTimer(l.opts.PruneEvery)
	defer prune.Stop()
	probe := time.NewTimer(probeEvery)
	defer probe.Stop()
	roll := time.NewTimer(l.rollLook())
	defer roll.Stop()
	small, large := l.lanes[0].queue, l.lanes[1].queue
	for small != nil || large != nil {
		select {
		case s, ok := <-small:
			if !ok {
				small = nil
				continue
			}
			l.commit(ctx, l.gather(s))
		case s, ok := <-large:
			if !ok {
				large = nil
				continue
			}
			l.commit(ctx, l.gather(s))
		case <-checkpoint.C:
			l.tend(ctx)
		case <-probe.C:
			l.probe(ctx)
			probe.Reset(probeEvery)
		case <-roll.C:
			roll.Reset(l.roll(ctx))
		case <-prune.C:
			prune.Reset(l.prune(ctx))
		}
	}
	l.finish(ctx)
}

// tend does what is due every few seconds.
func (l *Ledger) tend(ctx context.Context) {
	if l.trouble.now() != nil {
		return // it would fail too; probe finds out when it is over
	}
	l.trouble.begin()
	err := l.store.Tend(ctx)
	if err == nil {
		if err := l.fillGap(ctx); err != nil {
			l.opts.Logger.Error("Reading the ledger failed; it will be tried again", "err", err)
		}
		if err := l.checkpoint(ctx); err != nil {
			l.opts.Logger.Error("Storing the totals failed; it will be tried again", "err", err)
		}
		if err := l.saveProblems(ctx); err != nil {
			l.opts.Logger.Error("Storing the problems of senders failed; it will be tried again", "err", err)
		}
	}
	l.trouble.end(err, 0, false)
	l.budget.look(l.totals.Stats(), l.opts.Now())
}

// probe tries, after a commit that failed, whether the next would succeed: whoever asks
// whether the receiver is ready keeps jobs away until it is.
func (l *Ledger) probe(ctx context.Context) {
	if l.trouble.now() == nil {
		return
	}
	l.trouble.begin()
	l.trouble.end(l.store.Probe(ctx), 0, true)
}

// gather returns first and what else waits: of small requests and of large ones up to
// maxBatch jobs each, so that a commit brings both on, however many of the other wait.
func (l *Ledger) gather(first *submission) []*submission {
	l.batch = append(l.batch[:0], first)
	var taken [len(l.lanes)]int
	for i := range l.lanes {
		lane := &l.lanes[i]
		if lane == l.laneOf(first) {
			taken[i] = len(first.entries)
		}
	gathering:
		for taken[i] < maxBatch {
			select {
			case s, ok := <-lane.queue:
				if !ok {
					break gathering // write sees it too
				}
				l.batch = append(l.batch, s)
				taken[i] += len(s.entries)
			default:
				break gathering
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.lanes {
		l.lanes[i].waiting -= taken[i]
	}
	return l.batch
}

// commit makes a batch durable, then visible, then known to those who wait: in
// this order, or an answer could promise what a crash undoes, or what the next
// scrape does not show.
func (l *Ledger) commit(ctx context.Context, batch []*submission) {
	entries := l.together(batch)
	start := time.Now()
	l.trouble.begin()
	outcomes, err := l.store.Append(ctx, entries)
	l.trouble.end(err, len(entries), slices.ContainsFunc(outcomes, func(o Outcome) bool { return o.Seq > 0 }))
	l.opts.OnCommit(outcomes, time.Since(start), err)
	if err == nil {
		l.apply(entries, outcomes)
	}
	for _, s := range batch {
		if s.err = err; err == nil {
			s.outcomes, outcomes = outcomes[:len(s.entries)], outcomes[len(s.entries):]
		}
		s.done <- struct{}{}
	}
	clear(l.entries) // or texts of jobs long recorded stay in memory
}

// together is what the submissions of a batch hold, in a buffer that is used again.
func (l *Ledger) together(batch []*submission) []Entry {
	if len(batch) == 1 {
		return batch[0].entries
	}
	l.entries = l.entries[:0]
	for _, s := range batch {
		l.entries = append(l.entries, s.entries...)
	}
	return l.entries
}

// apply folds what was just committed, without reading it back. A row that a
// scrape has folded already is left out, and so is one that comes behind rows
// not folded yet: those are others', and are read from the store.
func (l *Ledger) apply(entries []Entry, outcomes []Outcome) {
	l.fold.Lock()
	defer l.fold.Unlock()
	for i, o := range outcomes {
		switch {
		case o.Seq == l.applied+1:
			l.applyOne(o.Seq, entries[i].Received, &entries[i].Job)
		case o.Seq > l.applied:
			l.behind = true
		}
	}
}

// applyOne adds a row to both folds. At the start one of them may have it already.
func (l *Ledger) applyOne(row int64, received time.Time, j *job.Job) {
	if row > l.counted {
		l.totals.Apply(row, received, j)
		l.counted = row
	}
	if l.rollups != nil {
		l.rollups.Apply(row, j)
	}
	l.applied = row
}

// fillGap folds the rows that apply could not, should no scrape have done it: no
// checkpoint gets past them, and nothing behind them is pruned.
func (l *Ledger) fillGap(ctx context.Context) error {
	l.fold.Lock()
	defer l.fold.Unlock()
	if !l.behind {
		return nil
	}
	return l.catchUp(ctx)
}

// catchUp folds the rows in the store that are not in the totals yet. The caller
// holds l.fold, or is the only one.
func (l *Ledger) catchUp(ctx context.Context) error {
	for {
		n, err := l.foldStep(ctx)
		if err != nil || n < foldStep {
			return err
		}
	}
}

// foldStep folds the next rows and returns how many: fewer than foldStep if there are no
// more.
func (l *Ledger) foldStep(ctx context.Context) (int, error) {
	rows, err := l.store.Rows(ctx, l.applied, foldStep)
	if err != nil {
		return 0, err
	}
	for i := range rows {
		l.applyOne(rows[i].Seq, rows[i].Received, &rows[i].Job)
	}
	if len(rows) < foldStep {
		l.behind = false
	}
	return len(rows), nil
}

// checkpoint stores the totals as they are, with the number of their last row.
func (l *Ledger) checkpoint(ctx context.Context) error {
	l.fold.Lock()
	changes, upTo := l.totals.Changes(), l.applied
	l.fold.Unlock()
	if changes == nil {
		return nil
	}
	if err := l.store.SaveTotals(ctx, changes, upTo); err != nil {
		l.totals.Unsaved(changes)
		return err
	}
	l.saved = upTo
	return nil
}

// prune deletes one step of old rows, and of old roll-ups, and returns when to come again.
// Only rows in both stored checkpoints go: a crash must find all others.
func (l *Ledger) prune(ctx context.Context) time.Duration {
	if l.trouble.now() != nil {
		return l.opts.PruneEvery
	}
	n, err := l.store.Prune(ctx, l.opts.Now().Add(-l.opts.Retention), min(l.saved, l.rolling.saved), pruneStep)
	if err != nil {
		l.opts.Logger.Error("Deleting jobs past their retention failed; it will be tried again", "err", err)
	}
	if l.pruneRollups(ctx) || n > 0 {
		return prunePause
	}
	return l.opts.PruneEvery
}

// finish is the writer's end: everything is recorded by now.
func (l *Ledger) finish(ctx context.Context) {
	if err := l.checkpoint(ctx); err != nil {
		l.opts.Logger.Error("Storing the totals failed; the next start folds them from the jobs", "err", err)
	}
	if err := l.rollAll(ctx); err != nil {
		l.opts.Logger.Error("Storing the roll-ups failed; the next start folds them from the jobs", "err", err)
	}
	if err := l.saveProblems(ctx); err != nil {
		l.opts.Logger.Error("Storing the problems of senders failed; those since the last time are lost", "err", err)
	}
	if err := l.store.Close(); err != nil {
		l.opts.Logger.Error("Closing the ledger failed", "err", err)
	}
}
