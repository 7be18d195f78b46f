package api

import "context"

// turns are how many questions may be computed at a time; others wait in the order in which
// they came. So a crowd of questions leaves processors to jobs that come in.
type turns chan struct{}

// take waits for a turn, which done ends. It fails if ctx ends before.
func (t turns) take(ctx context.Context) (done func(), err error) {
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
