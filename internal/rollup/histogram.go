package rollup

import (
	"encoding/binary"
	"math"
	"slices"

	"ci-jobs-metrics/internal/totals"
)

// A bucket is how many durations fell into one of the exponential buckets that package
// totals has: index i is (2^((i-1)/8), 2^(i/8)] seconds.
type bucket struct {
	index int16
	count uint32
}

// zeroIndex is the bucket of durations of 0: the one below that of a microsecond, which
// is the shortest other one.
const zeroIndex = -160

// usualIndex is a bucket of some minutes: near it, an index takes one byte.
const usualIndex = 56

func indexOf(microseconds int64) int16 {
	if microseconds <= 0 {
		return zeroIndex
	}
	return int16(totals.ExponentialIndex(float64(microseconds) / 1e6)) //nolint:gosec // at most 171, for 30 days
}

// observe adds n durations of a bucket to buckets in ascending order.
func observe(buckets []bucket, index int16, n uint32) []bucket {
	at, found := slices.BinarySearchFunc(buckets, index, func(b bucket, i int16) int { return int(b.index) - int(i) })
	if !found {
		buckets = slices.Insert(buckets, at, bucket{index: index})
	}
	buckets[at].count += n
	return buckets
}

// appendBuckets writes buckets whose counts add up to a sum that the reader knows: each
// as the distance to the one before and its count, which the last one needs not.
func appendBuckets(to []byte, buckets []bucket, sum uint64) []byte {
	before := int16(usualIndex)
	for _, b := range buckets {
		to = binary.AppendVarint(to, int64(b.index-before))
		before = b.index
		if sum > 1 {
			to = binary.AppendUvarint(to, uint64(b.count))
		}
		sum -= uint64(b.count)
	}
	return to
}

// A Histogram adds up durations. Quantiles of it are within 4.4 %. The zero value is
// empty.
type Histogram struct {
	base   int // index of counts[0]
	counts []uint64
	sum    uint64
}

// Count is how many durations there are.
func (h *Histogram) Count() uint64 { return h.sum }

func (h *Histogram) add(index int, n uint64) {
	h.sum += n
	if i := index - h.base; i >= 0 && i < len(h.counts) {
		h.counts[i] += n
		return
	}
	h.grow(index)
	h.counts[index-h.base] += n
}

// grow makes room for an index, and for some around it.
func (h *Histogram) grow(index int) {
	const around = 8
	from, to := index-around, index+around+1
	if len(h.counts) > 0 {
		from, to = min(from, h.base), max(to, h.base+len(h.counts))
	}
	counts := make([]uint64, to-from)
	if len(h.counts) > 0 {
		copy(counts[h.base-from:], h.counts)
	}
	h.base, h.counts = from, counts
}

// Add adds another histogram.
func (h *Histogram) Add(o *Histogram) {
	for i, n := range o.counts {
		if n > 0 {
			h.add(o.base+i, n)
		}
	}
}

// Each calls f with every bucket that has durations, shortest first: their number, and
// the bucket's upper bound as the index i of 2^(i/8) seconds. zero are those of 0.
func (h *Histogram) Each(f func(index int, zero bool, n uint64)) {
	for i, n := range h.counts {
		if n > 0 {
			f(h.base+i, h.base+i == zeroIndex, n)
		}
	}
}

// Quantile is the nearest-rank quantile in seconds: of n durations in order the one
// numbered ⌈q·n⌉, by the geometric middle of its bucket (at most 2^(1/16)-1 = 4.4 % off).
// It is false if there are no durations.
func (h *Histogram) Quantile(q float64) (seconds float64, ok bool) {
	rank := uint64(math.Ceil(q * float64(h.sum)))
	rank = max(rank, 1)
	for i, n := range h.counts {
		if n >= rank {
			return middle(h.base + i), true
		}
		rank -= n
	}
	return 0, false
}

func middle(index int) float64 {
	if index == zeroIndex {
		return 0
	}
	return math.Exp2((float64(index) - 0.5) / 8)
}
