package ledger

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ci-jobs-metrics/internal/problems"
)

// notes are the problems of senders on their way into the store.
type notes struct {
	book problems.Book
	// sweep is when the store is to be looked through for old ones, though there are no
	// new ones; the writer's own.
	sweep time.Time

	// revision changes whenever Problems may return something else. It begins with a random number,
	// so that it differs from those of earlier processes.
	revision atomic.Uint64

	mu    sync.Mutex
	moves int           // how often problems began to move from the book into the store
	moved chan struct{} // closed when the last of those moves has ended; nil: there was none
}

// Note keeps in mind what was wrong with reports. It waits for no disk: every
// CheckpointEvery, and when the ledger is closed, the writer stores what was noted since.
// A crash forgets what is not stored yet, which is the problems of the last seconds; while
// the disk fails it is more of them, as many as a problems.Book holds.
func (l *Ledger) Note(found []problems.Problem) {
	l.notes.book.Note(found)
	l.notes.revision.Add(1)
}

// ProblemsRevision returns a number that changes whenever Problems may return something else. It
// reads only memory.
func (l *Ledger) ProblemsRevision() uint64 { return l.notes.revision.Load() }

// Problems returns what was noted within the retention, here and by whoever else writes
// to the store: the problems.MaxKept problems last seen, in the order of their Compare. It
// fails if the ledger can't be read, or if ctx ends while problems are being stored, which
// takes long where the disk hangs.
func (l *Ledger) Problems(ctx context.Context) ([]problems.Problem, error) {
	stored, waiting, err := l.readProblems(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the ledger: %w", err)
	}
	since := l.opts.Now().Add(-l.opts.Retention)
	return slices.DeleteFunc(problems.Merge(stored, waiting), func(p problems.Problem) bool {
		return p.Last.Before(since)
	}), nil
}

// readProblems returns what is stored, and what is not yet. It reads again if problems
// moved meanwhile, for then it may have seen them in both places or in neither. No lock
// would do: the writer, and with it every job, must not wait for who reads.
func (l *Ledger) readProblems(ctx context.Context) (stored, waiting []problems.Problem, err error) {
	for {
		moves, moved := l.notes.lastMove()
		if moved != nil {
			select {
			case <-moved:
			case <-ctx.Done():
				return nil, nil, ctx.Err()
			}
		}
		if stored, err = l.store.Problems(ctx); err != nil {
			return nil, nil, err
		}
		waiting = l.notes.book.Waiting()
		if now, _ := l.notes.lastMove(); now == moves {
			return stored, waiting, nil
		}
	}
}

// saveProblems stores what was noted since the last time, and drops what is past the
// retention. What could not be stored stays in memory.
func (l *Ledger) saveProblems(ctx context.Context) error {
	n, now := &l.notes, l.opts.Now()
	if n.book.Len() == 0 && now.Before(n.sweep) {
		return nil
	}
	defer n.move()()
	found := n.book.Changes()
	if err := l.store.SaveProblems(ctx, found, now.Add(-l.opts.Retention), now); err != nil {
		n.book.Unsaved(found)
		return err
	}
	n.sweep = now.Add(l.opts.PruneEvery)
	n.revision.Add(1) // old ones may be gone
	return nil
}

// move begins a move, and returns what ends it.
func (n *notes) move() (end func()) {
	moved := make(chan struct{})
	n.mu.Lock()
	defer n.mu.Unlock()
	n.moves++
	n.moved = moved
	return func() { close(moved) }
}

func (n *notes) lastMove() (moves int, moved <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.moves, n.moved
}
