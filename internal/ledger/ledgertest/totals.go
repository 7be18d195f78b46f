package ledgertest

import (
	"slices"
	"testing"

	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/totals"
)

// Checkpoint is the one that a store has, in one piece; nil if it has none.
func Checkpoint(t *testing.T, s ledger.Store) (c *totals.Checkpoint, upTo int64) {
	t.Helper()
	upTo, err := s.LoadTotals(t.Context(), func(part *totals.Checkpoint) error {
		whole := *part
		if c == nil {
			c = &totals.Checkpoint{}
		}
		whole.Runs, whole.Durations = slices.Concat(c.Runs, part.Runs), slices.Concat(c.Durations, part.Durations)
		c = &whole
		return nil
	})
	if err != nil {
		t.Fatalf("LoadTotals: %v", err)
	}
	return c, upTo
}

// Totals are those of all jobs in a ledger, as its Feed tells them.
func Totals(t *testing.T, l *ledger.Ledger) (*totals.Snapshot, error) {
	t.Helper()
	if err := l.CatchUp(t.Context()); err != nil {
		return nil, err
	}
	var c collector
	l.Feed().Next(&c)
	return &c.Snapshot, nil
}

// A collector keeps what a feed tells.
type collector struct{ totals.Snapshot }

func (c *collector) Reset(s totals.Settings) { c.Snapshot = totals.Snapshot{Settings: s} }

func (c *collector) Run(number int, r totals.Run) {
	if number == len(c.Runs) {
		c.Runs = append(c.Runs, r)
	}
	c.Runs[number] = r
}

func (c *collector) Duration(number int, d *totals.Duration) {
	own := totals.Duration{DurationKey: d.DurationKey, Created: d.Created, Buckets: make([]uint64, len(d.Buckets))}
	own.Add(d)
	if number == len(c.Durations) {
		c.Durations = append(c.Durations, own)
	}
	c.Durations[number] = own
}
