package ledger

import (
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/totals"
)

// Sums are what must hold of stored totals whatever the rows are. Parts are added as
// they are loaded.
type sums struct {
	all       uint64
	exactFrom int64
	forgotten uint64
	ended     map[totals.DurationKey]uint64 // jobs that a histogram could have
	found     []contradiction
}

type contradiction struct{ kind, text string }

func (s *sums) add(part *totals.Checkpoint) {
	if s.ended == nil {
		s.ended = map[totals.DurationKey]uint64{}
		s.forgotten, s.exactFrom = part.Forgotten, part.ExactFrom
		s.checkBounds(part.Bounds)
	}
	for i := range part.Runs {
		r := &part.Runs[i]
		s.all = add(s.all, r.Count)
		k := r.Histogram()
		s.ended[k] = add(s.ended[k], r.Count)
	}
	for i := range part.Durations {
		d := &part.Durations[i]
		if fault := s.faultOf(d, len(part.Bounds)); fault != "" {
			s.found = append(s.found, contradiction{"histogram",
				fmt.Sprintf("%s %s: %s", nameHistogram(d.DurationKey), fault, Remedy)})
		}
	}
}

func (s *sums) checkBounds(bounds []float64) {
	for i, b := range bounds {
		if b <= 0 || i > 0 && b <= bounds[i-1] {
			s.found = append(s.found, contradiction{"sum",
				fmt.Sprintf("the stored buckets %v do not ascend: %s", bounds, Remedy)})
			return
		}
	}
}

// contradictions are all that were found in the parts, of totals up to a row.
func (s *sums) contradictions(upTo int64) []contradiction {
	if s.exactFrom < 0 || s.exactFrom > upTo+1 {
		s.found = append(s.found, contradiction{"sum",
			fmt.Sprintf("the stored counters are exact from job %d on, but end at job %d: %s", s.exactFrom, upTo, Remedy)})
	}
	// Each recorded job has a number of its own, without gaps.
	if add(s.all, s.forgotten) == uint64(upTo) {
		return s.found
	}
	forgotten := ""
	if s.forgotten > 0 {
		forgotten = fmt.Sprintf(" and %d were forgotten", s.forgotten)
	}
	return append([]contradiction{{"sum", fmt.Sprintf("the stored counters hold %d jobs%s, but they end at job %d: %s",
		s.all, forgotten, upTo, Remedy)}}, s.found...)
}

// faultOf says in what a histogram contradicts itself, or the number of jobs that it
// could hold.
func (s *sums) faultOf(d *totals.Duration, bounds int) string {
	classic, exponential := sum(slices.Values(d.Buckets)), add(d.Exp.Zero, sum(maps.Values(d.Exp.Counts)))
	switch {
	case len(d.Buckets) != bounds+1:
		return fmt.Sprintf("has %d buckets for %d bounds", len(d.Buckets), bounds)
	case d.Count == 0:
		return "is stored without any job"
	case classic != d.Count:
		return fmt.Sprintf("has %d jobs, but %d in its buckets", d.Count, classic)
	case exponential != d.Count:
		return fmt.Sprintf("has %d jobs, but %d in its exponential buckets", d.Count, exponential)
	case d.Count > add(s.ended[d.DurationKey], s.forgotten): // a forgotten project's jobs stay in histograms
		return fmt.Sprintf("has %d jobs, but the counters only %d", d.Count, s.ended[d.DurationKey])
	case d.Sum < 0 || float64(d.Sum) > float64(d.Count)*float64(job.MaxDuration.Microseconds()):
		return fmt.Sprintf("has %d jobs, which can't have taken %d µs", d.Count, d.Sum)
	}
	return ""
}

// add and sum stay at the largest value rather than wrap: what a damaged ledger holds
// may be any number.
func add(a, b uint64) uint64 {
	if b > math.MaxUint64-a {
		return math.MaxUint64
	}
	return a + b
}

func sum(counts iter.Seq[uint64]) (all uint64) {
	for n := range counts {
		all = add(all, n)
	}
	return all
}

func nameCounter(k totals.RunKey) string {
	return fmt.Sprintf("the counter of %q, %q, %s%s", k.Template, k.Project, k.Status, k.Labels)
}

func nameHistogram(k totals.DurationKey) string {
	return fmt.Sprintf("the histogram of %q, %s%s", k.Template, k.Status, k.Labels)
}

// compare compares the stored totals with the replay.
func (v *verifier) compare() {
	replayed := v.replayed.Snapshot()
	runs := map[totals.RunKey]*totals.Run{}
	for i := range replayed.Runs {
		runs[replayed.Runs[i].RunKey] = &replayed.Runs[i]
	}
	for i := range v.stored.Runs {
		r := &v.stored.Runs[i]
		v.compareRun(r, runs[r.RunKey])
		delete(runs, r.RunKey)
	}
	for _, k := range slices.SortedFunc(maps.Keys(runs), totals.RunKey.Compare) {
		v.problem("counter", "%s is not stored, but %d of its jobs are here: %s", nameCounter(k), runs[k].Count, Remedy)
	}

	durations := map[totals.DurationKey]*totals.Duration{}
	for i := range replayed.Durations {
		durations[replayed.Durations[i].DurationKey] = &replayed.Durations[i]
	}
	for i := range v.stored.Durations {
		d := &v.stored.Durations[i]
		v.compareDuration(d, durations[d.DurationKey])
	}
	// A histogram that is not stored has none of its jobs, and shows here.
	if b := &v.begin; b.out >= b.in {
		v.problem("histogram", "the histograms do not all start at the same job: %s lacks job %d, %s has job %d: %s",
			nameHistogram(b.outKey), b.out, nameHistogram(b.inKey), b.in, Remedy)
	}

	if v.stored.LastJob.Before(v.lastJob) || v.Pruned() == 0 && !v.stored.LastJob.Equal(v.lastJob) {
		v.problem("sum", "the last job in the stored totals was received at %s, but by the jobs that are here at %s: %s",
			moment(v.stored.LastJob), moment(v.lastJob), Remedy)
	}
}

// compareRun compares a counter with its replay, which is nil if none of its jobs is
// there. If as many are there as the counter has they are all of them, so that the
// first must be the first.
func (v *verifier) compareRun(stored, replayed *totals.Run) {
	if replayed == nil {
		replayed = &totals.Run{}
	}
	name := nameCounter(stored.RunKey)
	switch {
	case stored.Count < replayed.Count:
		v.problem("counter", "%s is %d, but %d of its jobs are here: %s", name, stored.Count, replayed.Count, Remedy)
	case stored.Count > replayed.Count && v.Pruned() == 0 && v.stored.ExactFrom <= 1:
		v.problem("counter", "%s is %d, but all its jobs are here, and they are %d: %s", name, stored.Count, replayed.Count, Remedy)
	case stored.Count == replayed.Count && !stored.Created.Equal(replayed.Created):
		v.problem("counter", "%s has its first job at %s, but that was received at %s: %s",
			name, moment(stored.Created), moment(replayed.Created), Remedy)
	case stored.Count == replayed.Count && stored.Since > 0 && stored.Since != replayed.Since:
		v.problem("counter", "%s begins with job %d, but its first is job %d: %s", name, stored.Since, replayed.Since, Remedy)
	}
}

// compareDuration compares a histogram with its replay, which is nil if none of its
// jobs is there.
func (v *verifier) compareDuration(stored, replayed *totals.Duration) {
	if replayed == nil {
		replayed = &totals.Duration{Buckets: make([]uint64, len(v.stored.Bounds)+1)}
	}
	if len(stored.Buckets) != len(replayed.Buckets) {
		return // told already
	}
	differs, than := differsFrom, "what its jobs give"
	if v.isPartial(stored) {
		differs, than = isBelow, "what those of its jobs give that are here"
	}
	if in := differs(stored, replayed); in != "" {
		v.problem("histogram", "%s differs in its %s from %s: %s", nameHistogram(stored.DurationKey), in, than, Remedy)
	}
}

func differsFrom(stored, replayed *totals.Duration) string {
	switch {
	case stored.Count != replayed.Count:
		return "number of jobs"
	case stored.Sum != replayed.Sum:
		return "sum"
	case !slices.Equal(stored.Buckets, replayed.Buckets):
		return "buckets"
	case stored.Exp.Zero != replayed.Exp.Zero || !maps.Equal(stored.Exp.Counts, replayed.Exp.Counts):
		return "exponential buckets"
	case !stored.Created.Equal(replayed.Created):
		return "first job"
	}
	return ""
}

// isBelow is the same for a histogram of which only the later jobs are there.
func isBelow(stored, replayed *totals.Duration) string {
	if stored.Sum < replayed.Sum {
		return "sum"
	}
	for i := range stored.Buckets {
		if stored.Buckets[i] < replayed.Buckets[i] {
			return "buckets"
		}
	}
	if stored.Exp.Zero < replayed.Exp.Zero {
		return "exponential buckets"
	}
	for i, n := range replayed.Exp.Counts {
		if stored.Exp.Counts[i] < n {
			return "exponential buckets"
		}
	}
	return ""
}
