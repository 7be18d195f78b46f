package api

import (
	"context"
	"runtime"
)

// Turns are how many questions may be computed at a time, by all who share them; others wait
// in the order in which they came. So a crowd of questions leaves processors to jobs that
// come in.
type Turns chan struct{}

// NewTurns returns turns for half of the processors.
func NewTurns() Turns { return make(Turns, max(1, runtime.GOMAXPROCS(0)/2)) }

// Take waits for a turn, which done ends. It fails if ctx ends before.
func (t Turns) Take(ctx context.Context) (done func(), err error) {
	select {
	case t <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := ctx.Err(); err != nil { // of two that are ready select takes any
		<-t
		return nil, err
	}
	return func() { <-t }, nil
}
