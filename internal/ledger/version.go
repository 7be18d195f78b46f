package ledger

import (
	"context"
	"time"
)

// A Version tells states of the roll-ups apart: a Scan of equal versions finds the same.
type Version struct {
	Ledger time.Time // when the ledger was made
	Last   int64     // number of the last job; 0: there is none
	// Received is when that came, which tells it from the one that had its number before
	// an older ledger was restored.
	Received time.Time
	Pruned   int64 // jobs of roll-ups past their retention
}

// Version is that of now: every job that Record acknowledged before the call is in it. It
// fails if the ledger can't be read.
func (l *Ledger) Version(ctx context.Context) (Version, error) {
	pruned := l.rollups.Stats().Pruned
	last, err := l.Applied(ctx)
	if err != nil {
		return Version{}, err
	}
	received, err := l.Received(ctx, last)
	return Version{l.Created(), last, received, pruned}, err
}

// Received is when the job with the given number came. For one that is past its retention
// that is taken to be when the last job came, and when the ledger was made if none did.
func (l *Ledger) Received(ctx context.Context, number int64) (time.Time, error) {
	rows, err := l.Jobs(ctx, []int64{number})
	switch last := l.totals.Stats().LastJob; {
	case err != nil:
		return time.Time{}, err
	case len(rows) > 0:
		return rows[0].Received.UTC(), nil
	case !last.IsZero():
		return last.UTC(), nil
	}
	return l.Created(), nil
}
