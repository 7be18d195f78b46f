package totals

import (
	"math"
	"slices"
)

// An Exponential is a sparse histogram with buckets that grow by 2^(1/8), the
// schema 3 of Prometheus' native histograms: bucket i holds durations in
// (2^((i-1)/8), 2^(i/8)] seconds, so a bucket's geometric middle is within 4.4 %
// of whatever fell into it.
type Exponential struct {
	Zero   uint64         // durations of 0
	Counts map[int]uint64 // by bucket index; nil if empty
}

// bucketsPerDoubling is 2 to the power of the schema.
const bucketsPerDoubling = 8

// fractions are the bucket bounds in [0.5, 1), the range in which math.Frexp
// leaves its fraction: 2^(i/8 - 1).
var fractions = func() []float64 {
	f := make([]float64, bucketsPerDoubling)
	for i := range f {
		f[i] = math.Exp2(float64(i)/bucketsPerDoubling - 1)
	}
	return f
}()

func (e *Exponential) observe(microseconds int64) {
	if microseconds == 0 {
		e.Zero++
		return
	}
	if e.Counts == nil {
		e.Counts = map[int]uint64{}
	}
	e.Counts[ExponentialIndex(float64(microseconds)/1e6)]++
}

// ExponentialIndex is the bucket of a positive number of seconds, found as
// client_golang does for its native histograms: split the number into fraction
// and exponent, look the fraction up, and count eight buckets per exponent.
func ExponentialIndex(seconds float64) int {
	fraction, exponent := math.Frexp(seconds)
	i, _ := slices.BinarySearch(fractions, fraction)
	return i + (exponent-1)*bucketsPerDoubling
}

// ExponentialBound is the upper bound of bucket i in seconds: 2^(i/8).
func ExponentialBound(i int) float64 {
	return math.Exp2(float64(i) / bucketsPerDoubling)
}

func (e *Exponential) add(o Exponential) {
	e.Zero += o.Zero
	if e.Counts == nil && o.Counts != nil {
		e.Counts = map[int]uint64{}
	}
	for i, n := range o.Counts {
		e.Counts[i] += n
	}
}
