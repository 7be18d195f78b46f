package kpi

import (
	"math/bits"
	"slices"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/rollup"
)

// A cellSums adds up cells.
type cellSums struct {
	statuses [6]int64
	timed    [6]int64
	micros   [6]int64
	flaky    int64
	wasted   int64 // microseconds
	// durations of those statuses that Stats.Durations are about.
	durations rollup.Histogram
}

// add adds a cell. observed says of which statuses the histogram is wanted as well.
func (t *cellSums) add(v *rollup.View, c *rollup.Cell, observed *[6]bool) {
	t.statuses[c.Status] += int64(c.Count)
	t.timed[c.Status] += int64(c.Timed)
	t.micros[c.Status] += c.Micros
	t.flaky += int64(c.Again)
	t.wasted += c.Wasted
	if observed[c.Status] {
		v.AddDurations(c, &t.durations)
	}
}

func (t *cellSums) jobs() (n int64) {
	for _, m := range t.statuses {
		n += m
	}
	return n
}

// ranks of statuses.
var (
	success  = job.Success.Rank()
	failed   = job.Failed.Rank()
	canceled = job.Canceled.Rank()
	skipped  = job.Skipped.Rank()
	timedOut = job.TimedOut.Rank()
	unknown  = job.Unknown.Rank()
)

const microsPerHour = 3_600_000_000

// stats are the numbers, but for how many templates and projects there are.
func (t *cellSums) stats(observed *[6]bool) Stats {
	s := Stats{
		Jobs: t.jobs(),
		Statuses: Statuses{t.statuses[success], t.statuses[failed], t.statuses[canceled],
			t.statuses[skipped], t.statuses[timedOut], t.statuses[unknown]},
		HoursLost:  float64(t.micros[failed]+t.micros[timedOut]) / microsPerHour,
		Flaky:      t.flaky,
		FlakyHours: float64(t.wasted) / microsPerHour,
	}
	if ended := t.statuses[success] + t.statuses[failed] + t.statuses[timedOut]; ended > 0 {
		s.SuccessRate = new(float64(t.statuses[success]) / float64(ended))
	}
	micros, observedMicros := int64(0), int64(0)
	for status := range t.statuses {
		s.Timed += t.timed[status]
		micros += t.micros[status]
		if observed[status] {
			s.Durations.Jobs += t.timed[status]
			observedMicros += t.micros[status]
		}
	}
	s.CIHours = float64(micros) / microsPerHour
	if n := s.Durations.Jobs; n > 0 {
		s.Durations.Mean = new(float64(observedMicros) / 1e6 / float64(n))
		s.Durations.P50 = quantile(&t.durations, 0.5)
		s.Durations.P95 = quantile(&t.durations, 0.95)
	}
	return s
}

func quantile(h *rollup.Histogram, q float64) *float64 {
	seconds, ok := h.Quantile(q)
	if !ok {
		return nil
	}
	return &seconds
}

// A set of numbers: a few of them as a list, more as bits in chunks where there are some.
// There is one in each row of a table, and most have few.
type set struct {
	few    []uint32
	chunks map[uint32]*chunk
}

const (
	fewest    = 16
	chunkBits = 1024
)

type chunk [chunkBits / 64]uint64

func (s *set) add(n uint32) {
	if s.chunks == nil {
		if slices.Contains(s.few, n) {
			return
		}
		if len(s.few) < fewest {
			s.few = append(s.few, n)
			return
		}
		s.chunks = map[uint32]*chunk{}
		for _, m := range s.few {
			s.set(m)
		}
	}
	s.set(n)
}

func (s *set) set(n uint32) {
	c := s.chunks[n/chunkBits]
	if c == nil {
		c = &chunk{}
		s.chunks[n/chunkBits] = c
	}
	c[n%chunkBits/64] |= 1 << (n % 64)
}

func (s *set) len() (n int) {
	if s.chunks == nil {
		return len(s.few)
	}
	for _, c := range s.chunks {
		for _, w := range c {
			n += bits.OnesCount64(w)
		}
	}
	return n
}
