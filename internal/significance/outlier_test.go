package significance_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"ci-jobs-metrics/internal/significance"
)

// One more of what varies among others does not stand out more often than the level.
func TestStandsOut(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	draw := func(mean float64) significance.Estimate {
		variance := 0.01 + 0.1*r.Float64()
		return significance.Estimate{Value: mean + 0.4*r.NormFloat64() + math.Sqrt(variance)*r.NormFloat64(), Variance: variance}
	}
	var p []float64
	for range 4000 {
		var others []significance.Estimate
		for range 12 {
			others = append(others, draw(1))
		}
		one, _ := significance.StandsOut(draw(1), others)
		p = append(p, one)
	}
	atMost(t, p, 0.05)
	alike := make([]significance.Estimate, 8)
	for i := range alike {
		alike[i] = significance.Estimate{Value: 1, Variance: 0.01}
	}
	out, expected := significance.StandsOut(significance.Estimate{Value: 2, Variance: 0.01}, alike)
	near(t, "expected", expected, 1, 1e-9)
	near(t, "t of 6 degrees", out, significance.Student(1/math.Sqrt(0.01+0.01/8), 6), 1e-9)
	if p, _ := significance.StandsOut(draw(9), alike[:significance.MinOthers-1]); p != 1 {
		t.Errorf("too few others: p %g", p)
	}
}

// The variance of a ratio is that of what is drawn again and again.
func TestLogRatio(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	var values []float64
	estimated := 0.0
	const tries = 3000
	for range tries {
		var parts []significance.Part
		for range 40 {
			n := float64(1 + r.IntN(9))
			pace := math.Exp(0.3 * r.NormFloat64()) // of all jobs of a cluster
			parts = append(parts, significance.Part{Num: 5 * n * pace, Den: n})
		}
		e := significance.LogRatio(parts)
		values = append(values, e.Value)
		estimated += e.Variance / tries
	}
	mean, variance := 0.0, 0.0
	for _, v := range values {
		mean += v / tries
	}
	for _, v := range values {
		variance += (v - mean) * (v - mean) / tries
	}
	near(t, "variance", estimated, variance, 0.1)
	if e := significance.LogRatio([]significance.Part{{Num: 1, Den: 1}}); !math.IsInf(e.Variance, 1) {
		t.Errorf("of one cluster: variance %g", e.Variance)
	}
}
