package kpi

import (
	"math"

	"ci-jobs-metrics/internal/rollup"
)

// coarse is how many of a histogram's buckets one of a Distribution has: so its bounds
// grow by 2^(1/2), of which a chart has room for all.
const coarse = 4

// distribute makes a distribution of the durations of a period by status, and of those of
// the points of its series.
func distribute(byStatus *[6]rollup.Histogram, e *series) Distribution {
	var succeeded, lost rollup.Histogram
	succeeded.Add(&byStatus[success])
	lost.Add(&byStatus[failed])
	lost.Add(&byStatus[timedOut])
	from, to := math.MaxInt, math.MinInt
	widen := func(h *rollup.Histogram) {
		h.Each(func(index int, zero bool, _ uint64) {
			if !zero { // it goes into the first, whichever that is
				from, to = min(from, coarseIndex(index)), max(to, coarseIndex(index))
			}
		})
	}
	widen(&succeeded)
	widen(&lost)
	for i := range e.points {
		widen(&e.points[i].durations)
	}
	if from > to {
		from, to = 0, 0 // all took no time, or none is known
	}
	d := Distribution{Heat: [][]int64{}}
	for i := from; i <= to; i++ {
		d.Bounds = append(d.Bounds, math.Exp2(float64(i)*coarse/8))
	}
	counts := func(h *rollup.Histogram) []int64 {
		counts := make([]int64, to-from+1)
		h.Each(func(index int, zero bool, n uint64) {
			i := 0
			if !zero {
				i = coarseIndex(index) - from
			}
			counts[i] += int64(n) //nolint:gosec // jobs
		})
		return counts
	}
	d.Success, d.Failed = counts(&succeeded), counts(&lost)
	for i := range e.points {
		d.Heat = append(d.Heat, counts(&e.points[i].durations))
	}
	return d
}

// coarseIndex is ⌈index/coarse⌉: bucket i of 2^(1/2) ends at 2^(i/2) seconds.
func coarseIndex(index int) int { return int(math.Ceil(float64(index) / coarse)) }
