package findings

import (
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/rollup"
)

// The two parts that are compared, as indexes.
const (
	previous = iota
	current
)

// Ranks of statuses in the cells of roll-ups.
var (
	success  = job.Success.Rank()
	failed   = job.Failed.Rank()
	timedOut = job.TimedOut.Rank()
)

const microsPerHour = 3_600_000_000

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// quantile returns a quantile of durations in seconds; nil if there are none.
func quantile(h *rollup.Histogram, q float64) *float64 {
	seconds, ok := h.Quantile(q)
	if !ok {
		return nil
	}
	return &seconds
}
