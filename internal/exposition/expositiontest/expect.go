package expositiontest

import (
	"maps"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"ci-jobs-metrics/internal/totals"
)

// Expected is what an exposition should show, in both views, by Key.
type Expected struct {
	Values    map[string]float64  // of every sample
	Exemplars map[string]Exemplar // of samples; not in text 0.0.4

	// In protobuf only, as in Document.
	Created map[string]time.Time
	Native  map[string]map[int]uint64
}

// Expect says it of totals, each entry of which is added where it belongs. It shares
// no code with what it is compared with.
func Expect(s *totals.Snapshot) *Expected {
	e := &expecting{
		Expected: Expected{Values: map[string]float64{}, Exemplars: map[string]Exemplar{},
			Created: map[string]time.Time{}, Native: map[string]map[int]uint64{}},
		sums: map[string]int64{}, metrics: map[string]string{},
	}
	for i := range s.Runs {
		r := &s.Runs[i]
		status, project, template := Label{"status", string(r.Status)}, Label{"project", r.Project}, Label{"template", r.Template}
		e.run(r, e.metric(r.Template, "_total"), project, status)
		e.run(r, "cijob_runs_total", append(operators(s.Labels, r.Labels), template, project, status)...)
	}
	for i := range s.Durations {
		d := &s.Durations[i]
		status, template := Label{"status", string(d.Status)}, Label{"template", d.Template}
		e.duration(d, s.Bounds, e.metric(d.Template, "_duration"), status)
		e.duration(d, s.Bounds, "cijob_duration_seconds", append(operators(s.Labels, d.Labels), template, status)...)
	}
	for k, us := range e.sums {
		e.Values[k] = float64(us) / 1e6
	}
	maps.DeleteFunc(e.Exemplars, func(_ string, x Exemplar) bool { return x.Labels == nil })
	return &e.Expected
}

type expecting struct {
	Expected
	sums    map[string]int64 // microseconds
	metrics map[string]string
}

// metric remembers what Metric says.
func (e *expecting) metric(template, suffix string) string {
	m, ok := e.metrics[template+suffix]
	if !ok {
		m = Metric(template, suffix)
		e.metrics[template+suffix] = m
	}
	return m
}

func operators(names []string, encoded string) (labels []Label) {
	values, _ := totals.DecodeLabels(encoded)
	for _, n := range names {
		labels = append(labels, Label{n, values[n]})
	}
	return labels
}

func (e *expecting) run(r *totals.Run, metric string, labels ...Label) {
	e.Values[Key(metric, labels...)] += float64(r.Count)
	e.created(r.Created, Key(metric, labels...))
}

func (e *expecting) created(at time.Time, key string) {
	if was, ok := e.Created[key]; !ok || at.Before(was) {
		e.Created[key] = at
	}
}

func (e *expecting) duration(d *totals.Duration, bounds []float64, metric string, labels ...Label) {
	key, sum := Key(metric, labels...), Key(metric+"_sum", labels...)
	e.created(d.Created, key)
	e.Values[Key(metric+"_count", labels...)] += float64(d.Count)
	if e.sums[sum] += d.Sum; e.sums[sum] < 0 {
		e.sums[sum] = math.MaxInt64
	}
	upTo := uint64(0)
	for i, n := range d.Buckets {
		upTo += n
		le := Label{"le", "+Inf"}
		if i < len(bounds) {
			le.Value = strconv.FormatFloat(bounds[i], 'g', -1, 64)
		}
		bucket := Key(metric+"_bucket", append(labels[:len(labels):len(labels)], le)...)
		e.Values[bucket] += float64(upTo)
		if i < len(d.Exemplars) {
			e.exemplar(bucket, &d.Exemplars[i])
		}
	}
	native := map[int]uint64{math.MinInt: d.Exp.Zero}
	maps.Copy(native, d.Exp.Counts)
	for i, n := range e.Native[key] {
		native[i] += n
	}
	e.Native[key] = native
}

// exemplar keeps the latest, and of several at one time that of the first histogram.
func (e *expecting) exemplar(key string, x *totals.Exemplar) {
	at := float64(x.At.UnixMicro()) / 1e6
	if x.ID == "" || at <= e.Exemplars[key].Time {
		return
	}
	labels := []Label{{"id", x.ID}}
	if utf8.RuneCountInString(x.ID) > 126 {
		labels = nil // it is the latest, and can't be shown
	}
	e.Exemplars[key] = Exemplar{Labels: labels, Value: float64(x.Duration) / 1e6, Time: at}
}
