package history

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ci-jobs-metrics/internal/ledger"
)

const (
	// batchSize is how many jobs are recorded at once, far fewer than ledger.MaxQueue.
	batchSize = 1000
	// pause is how long a full queue is left alone.
	pause = 10 * time.Millisecond
)

// Fill records the jobs in a ledger, in the order of their receipt, by its Record, a
// thousand at a time; if the ledger's queue is full, it waits. progress, if not nil, is
// told after each batch how many of all jobs are recorded.
//
// It ends with the first error, or when ctx does; what was recorded until then stays. Filling
// the ledger again with the same shape then adds what is missing, for ids count once.
func (s Shape) Fill(ctx context.Context, record func([]ledger.Entry) ([]ledger.Outcome, error),
	progress func(done, total int),
) error {
	f := filler{record: record, progress: progress, total: s.Jobs}
	for e := range s.Entries() {
		f.batch = append(f.batch, e)
		if len(f.batch) < batchSize {
			continue
		}
		if err := f.flush(ctx); err != nil {
			return err
		}
	}
	return f.flush(ctx)
}

type filler struct {
	record      func([]ledger.Entry) ([]ledger.Outcome, error)
	progress    func(done, total int)
	batch       []ledger.Entry
	done, total int
}

// flush records the batch and begins a new one, for the ledger keeps what it is given.
func (f *filler) flush(ctx context.Context) error {
	if len(f.batch) == 0 {
		return nil
	}
	if err := f.deliver(ctx); err != nil {
		return fmt.Errorf("recording jobs %d to %d of %d: %w", f.done+1, f.done+len(f.batch), f.total, err)
	}
	f.done += len(f.batch)
	f.batch = make([]ledger.Entry, 0, batchSize)
	if f.progress != nil {
		f.progress(f.done, f.total)
	}
	return nil
}

// deliver tries until the queue has room.
func (f *filler) deliver(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := f.record(f.batch)
		if !errors.Is(err, ledger.ErrQueueFull) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}
