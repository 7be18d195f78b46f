package query

import (
	"context"
	"errors"
	"runtime"

	"golang.org/x/sync/semaphore"
)

// Slots bound how many queries are computed at the same time, by all who share them. Further
// queries wait in the order in which they came, so that many queries leave processors to the jobs
// that are being recorded.
type Slots struct{ semaphore *semaphore.Weighted }

// NewSlots returns slots for half of the processors, at least one.
func NewSlots() *Slots {
	return &Slots{semaphore.NewWeighted(int64(max(1, runtime.GOMAXPROCS(0)/2)))}
}

// ErrNoSlot means that no slot became free before the query's deadline.
var ErrNoSlot = errors.New("too many queries at once")

// Acquire waits for a slot and returns a function that frees it. It returns ErrNoSlot if ctx ends
// first. It may be called from several goroutines.
func (s *Slots) Acquire(ctx context.Context) (release func(), err error) {
	if s.semaphore.Acquire(ctx, 1) != nil {
		return nil, ErrNoSlot
	}
	if ctx.Err() != nil { // a free slot is taken even when ctx has ended
		s.semaphore.Release(1)
		return nil, ErrNoSlot
	}
	return func() { s.semaphore.Release(1) }, nil
}
