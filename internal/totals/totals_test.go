package totals_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/totals"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func bounds(seconds ...float64) totals.Settings { return totals.Settings{Bounds: seconds} }

func took(d time.Duration) *job.Job {
	return &job.Job{Name: "n", Project: "p", Status: job.Success, Timed: true, Duration: d}
}

// The exponential buckets are those of Prometheus' native histograms: what
// client_golang counts into bucket i, we count into bucket i.
func TestExponentialIsNative(t *testing.T) {
	native := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "x", Help: "x",
		NativeHistogramBucketFactor:  math.Exp2(1. / 8),
		NativeHistogramZeroThreshold: prometheus.NativeHistogramZeroThresholdZero,
	})
	ours := totals.New(bounds(60))
	observe := func(us int64) {
		d := time.Duration(us) * time.Microsecond
		native.Observe(float64(us) / 1e6)
		ours.Apply(1, start, took(d))
	}
	r := rand.New(rand.NewPCG(1, 2))
	observe(0)
	for i := range 20_000 {
		observe(1 + r.Int64N(int64(job.MaxDuration/time.Microsecond)>>(i%40)))
	}
	for _, us := range []int64{1, 125_000, 250_000, 500_000, 1_000_000, 2_000_000, 1 << 40} { // powers of two: bounds, as near as may be
		observe(us)
	}
	var metric dto.Metric
	if err := native.Write(&metric); err != nil {
		t.Fatal(err)
	}
	h := metric.GetHistogram()
	if h.GetSchema() != 3 {
		t.Fatalf("client_golang uses schema %d: the comparison means nothing", h.GetSchema())
	}
	want, index, count := map[int]uint64{}, 0, int64(0)
	delta := 0
	for _, span := range h.GetPositiveSpan() {
		index += int(span.GetOffset())
		for range span.GetLength() {
			count += h.GetPositiveDelta()[delta]
			if count > 0 { // a short gap is spanned
				want[index] = uint64(count)
			}
			index++
			delta++
		}
	}
	got := ours.Snapshot().Durations[0]
	if diff := cmp.Diff(want, got.Exp.Counts); diff != "" {
		t.Errorf("(-client_golang +ours):\n%s", diff)
	}
	if got.Exp.Zero != h.GetZeroCount() || got.Count != h.GetSampleCount() {
		t.Errorf("zero %d, count %d; client_golang %d, %d", got.Exp.Zero, got.Count, h.GetZeroCount(), h.GetSampleCount())
	}
}

// Any duration is within 4.4 % of the geometric middle of its bucket.
func TestExponentialError(t *testing.T) {
	for us := int64(1); us < int64(job.MaxDuration/time.Microsecond); us += us/7 + 1 {
		s := float64(us) / 1e6
		i := totals.ExponentialIndex(s)
		if s <= totals.ExponentialBound(i-1)*(1-1e-12) || s > totals.ExponentialBound(i)*(1+1e-12) {
			t.Fatalf("%v s is not in (%v, %v]", s, totals.ExponentialBound(i-1), totals.ExponentialBound(i))
		}
		middle := math.Sqrt(totals.ExponentialBound(i-1) * totals.ExponentialBound(i))
		if e := math.Abs(middle-s) / s; e > 0.0443 {
			t.Fatalf("%v s is %.2f %% from the middle of its bucket", s, 100*e)
		}
	}
}

// Classic bounds are inclusive, to the microsecond.
func TestClassicBounds(t *testing.T) {
	for _, test := range []struct {
		took time.Duration
		want []uint64
	}{
		{0, []uint64{1, 0, 0, 0}},
		{500 * time.Millisecond, []uint64{1, 0, 0, 0}},
		{500*time.Millisecond + time.Microsecond, []uint64{0, 1, 0, 0}},
		{time.Minute, []uint64{0, 1, 0, 0}},
		{time.Minute + time.Microsecond, []uint64{0, 0, 1, 0}},
		{time.Hour, []uint64{0, 0, 1, 0}},
		{time.Hour + time.Microsecond, []uint64{0, 0, 0, 1}},
	} {
		totals := totals.New(bounds(0.5, 60, 3600))
		totals.Apply(1, start, took(test.took))
		if diff := cmp.Diff(test.want, totals.Snapshot().Durations[0].Buckets); diff != "" {
			t.Errorf("%v (-want +got):\n%s", test.took, diff)
		}
	}
}

// A counter must not fall, not even when a sum has no room left.
func TestSumStaysAtItsLargest(t *testing.T) {
	d := totals.Duration{DurationKey: totals.DurationKey{Template: "n", Status: job.Success},
		Count: 1, Sum: math.MaxInt64 - 5, Buckets: []uint64{0, 1}}
	ts := totals.New(bounds())
	ts.Load(&totals.Checkpoint{Settings: bounds(60), Durations: []totals.Duration{d}})
	for range 3 {
		ts.Apply(1, start, took(job.MaxDuration))
	}
	if got := ts.Snapshot().Durations[0]; got.Sum != math.MaxInt64 || got.Count != 4 {
		t.Errorf("sum %d, count %d", got.Sum, got.Count)
	}
}

// Changes has what moved, once, and again if it was given back.
func TestChanges(t *testing.T) {
	ts := totals.New(bounds(60))
	first := ts.Changes()
	if first == nil || !first.DropDurations || len(first.Runs) > 0 {
		t.Errorf("the first checkpoint stores the bounds: %+v", first)
	}
	if c := ts.Changes(); c != nil {
		t.Errorf("nothing moved: %+v", c)
	}
	ts.Apply(1, start, took(time.Second))
	ts.Apply(1, start, &job.Job{Name: "a", Project: "p", Status: job.Failed})
	c := ts.Changes()
	if len(c.Runs) != 2 || c.Runs[0].Template != "a" || len(c.Durations) != 1 || c.DropDurations {
		t.Errorf("changes: %+v", c)
	}
	ts.Apply(1, start, took(time.Second))
	ts.Unsaved(c)
	again := ts.Changes()
	if len(again.Runs) != 2 || again.Runs[1].Count != 2 || again.Durations[0].Count != 2 {
		t.Errorf("given back: %+v", again)
	}
	if c.Durations[0].Count != 1 || c.Durations[0].Exp.Counts[0] != 1 {
		t.Errorf("what was taken moved: %+v", c)
	}
	ts.Unsaved(again)
	if n := ts.Configure(bounds(1), 4).Dropped; n != 1 {
		t.Errorf("%d histograms were dropped", n)
	}
	if c := ts.Changes(); !c.DropDurations || len(c.Durations) != 0 || len(c.Runs) != 2 {
		t.Errorf("after new bounds: %+v", c)
	}
	if n := ts.Configure(bounds(1), 4).Dropped; n != 0 || ts.Changes() != nil {
		t.Error("the same bounds are no change")
	}
}

// Load takes back what Changes gave.
func TestLoad(t *testing.T) {
	ts := totals.New(bounds(60))
	for i := range 100 {
		j := took(time.Duration(i*i) * time.Second)
		j.Project = string(rune('a' + i%3))
		ts.Apply(1, start.Add(time.Duration(i)*time.Second), j)
	}
	again := totals.New(bounds(1, 2, 3))
	again.Load(ts.Changes())
	order := cmpopts.SortSlices(func(a, b totals.Run) bool { return a.Compare(b.RunKey) < 0 })
	if diff := cmp.Diff(ts.Snapshot(), again.Snapshot(), order); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
	if s := again.Stats(); s.Runs != 3 || s.Durations != 1 || !s.LastJob.Equal(start.Add(99*time.Second)) {
		t.Errorf("stats: %+v", s)
	}
	if again.Changes() != nil {
		t.Error("what was loaded is stored already")
	}
}
