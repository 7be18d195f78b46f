package api

import "context"

// turns are how many questions may be computed at a time; others wait in the order in which
// they came. So a crowd of questions leaves processors to jobs that come in.
type turns chan struct{}

// take waits for a turn, which done ends. It fails if ctx ends before.
func (t turns) take(ctx context.Context) (done func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err // a turn that is free would be as good to select
	}
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
