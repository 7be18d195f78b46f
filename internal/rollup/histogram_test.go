package rollup_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/rollup"
)

// histogramOf is that of some durations, which are jobs of so many versions.
func histogramOf(t testing.TB, micros []int64, versions int) *rollup.Histogram {
	t.Helper()
	r := rollup.New(rollup.Options{})
	for i, us := range micros {
		r.Apply(int64(i)+1, &job.Job{Name: "build", Version: fmt.Sprint(i % versions), Status: job.Success, Finished: noon,
			Timed: true, Duration: time.Duration(us) * time.Microsecond})
	}
	var h rollup.Histogram
	q := rollup.Scan{Ranges: []rollup.Range{{From: rollup.SlotOf(noon), To: rollup.SlotOf(noon) + 1}}}
	_, err := r.Scan(t.Context(), blocks{}, q, func(*rollup.Texts) func(rollup.Part) {
		h = rollup.Histogram{}
		return func(p rollup.Part) {
			for i := range p.Cells {
				p.AddDurations(&p.Cells[i], &h)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return &h
}

// A quantile is within 4.4 % of the duration with its rank, whatever there is.
func TestQuantiles(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	for n := range 300 {
		micros := make([]int64, n)
		for i := range micros {
			micros[i] = int64(math.Exp2(r.Float64() * math.Log2(float64(job.MaxDuration.Microseconds()))))
			if r.IntN(10) == 0 {
				micros[i] = pick(r, 0, 1, 500_000, job.MaxDuration.Microseconds())
			}
		}
		h := histogramOf(t, micros, 1+r.IntN(5))
		if h.Count() != uint64(n) {
			t.Fatalf("%d of %d durations", h.Count(), n)
		}
		slices.Sort(micros)
		for _, percent := range []int{0, 25, 50, 75, 95, 100} {
			got, ok := h.Quantile(float64(percent) / 100)
			if n == 0 {
				if ok {
					t.Fatalf("the quantile of nothing is %v", got)
				}
				continue
			}
			want := float64(micros[max((percent*n+99)/100, 1)-1]) / 1e6
			if want == 0 && got != 0 || want > 0 && math.Abs(math.Log2(got/want)) > 1./16+1e-12 {
				t.Fatalf("the quantile %d %% of %d is %v, the one with its rank %v", percent, n, got, want)
			}
		}
	}
}

// Two together are one of all, in whichever order their buckets came.
func TestHistogramsAdd(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	for range 200 {
		var all []int64
		var together rollup.Histogram
		for range r.IntN(4) {
			some := make([]int64, r.IntN(4))
			for i := range some {
				some[i] = int64(math.Exp2(r.Float64()*42)) - 1
			}
			all = append(all, some...)
			together.Add(histogramOf(t, some, 1))
		}
		type bucket struct {
			index int
			zero  bool
			n     uint64
		}
		of := func(h *rollup.Histogram) (buckets []bucket) {
			h.Each(func(index int, zero bool, n uint64) { buckets = append(buckets, bucket{index, zero, n}) })
			return buckets
		}
		want := of(histogramOf(t, all, 3))
		if got := of(&together); !slices.Equal(got, want) || together.Count() != uint64(len(all)) {
			t.Fatalf("%v together are %v, not %v", all, got, want)
		}
	}
}
