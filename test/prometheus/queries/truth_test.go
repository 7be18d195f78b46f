package queries

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"ci-jobs-metrics/internal/job"
)

// A truth is what a query should give, from the jobs of its period alone. It shares
// nothing with the queries: it counts jobs one by one.
type truth struct {
	values result
	// near says whether a value is as good as the true one; nil: it has to be the same, and
	// where there is no true one it may be 0.
	near func(got float64, jobs []job.Job) bool
	jobs map[string][]job.Job
}

// field is what a job has as a label.
func field(j *job.Job, label string) string {
	switch label {
	case "template":
		return j.Name
	case "project":
		return j.Project
	case "status":
		return string(j.Status)
	case "version":
		return j.Version
	case "job":
		return scrapeOf
	}
	panic("no label " + label)
}

// groups puts jobs together that have the same labels.
func groups(jobs []job.Job, by []string) map[string][]job.Job {
	all := map[string][]job.Job{}
	for i := range jobs {
		values := map[string]string{}
		for _, label := range by {
			if v := field(&jobs[i], label); v != "" {
				values[label] = v
			}
		}
		key := labels.FromMap(values).String()
		all[key] = append(all[key], jobs[i])
	}
	return all
}

// each makes a number of each group; NaN is none.
func each(jobs []job.Job, by []string, number func([]job.Job) float64) truth {
	t := truth{values: result{}, jobs: groups(jobs, by)}
	if len(by) == 0 && len(jobs) == 0 {
		t.jobs = map[string][]job.Job{"{}": nil}
	}
	for key, group := range t.jobs {
		if v := number(group); !math.IsNaN(v) {
			t.values[key] = v
		}
	}
	return t
}

func where(jobs []job.Job, keep func(*job.Job) bool) (kept []job.Job) {
	for i := range jobs {
		if keep(&jobs[i]) {
			kept = append(kept, jobs[i])
		}
	}
	return kept
}

func is(statuses ...job.Status) func(*job.Job) bool {
	return func(j *job.Job) bool { return slices.Contains(statuses, j.Status) }
}

var (
	passed = is(job.Success)
	failed = is(job.Failed, job.TimedOut)
	judged = is(job.Success, job.Failed, job.TimedOut)
)

func number(jobs []job.Job) float64 { return float64(len(jobs)) }

// share is success / (success + failed + timedout), as docs/kpi.md has it.
func share(jobs []job.Job) float64 {
	return number(where(jobs, passed)) / number(where(jobs, judged))
}

func seconds(jobs []job.Job) (sum float64) {
	for i := range jobs {
		if jobs[i].Timed {
			sum += jobs[i].Duration.Seconds()
		}
	}
	return sum
}

func distinct(label string) func([]job.Job) float64 {
	return func(jobs []job.Job) float64 {
		all := map[string]bool{}
		for i := range jobs {
			all[field(&jobs[i], label)] = true
		}
		return float64(len(all))
	}
}

// quantile is the duration of number ⌈q·n⌉ in ascending order, NaN of none.
func quantile(q float64) func([]job.Job) float64 {
	return func(jobs []job.Job) float64 {
		low, _ := around(q, jobs)
		return low
	}
}

// around are the two durations between which the quantile is: the same one, unless q·n is
// whole. Then as many are up to the first one as it takes, and Prometheus may take the next.
func around(q float64, jobs []job.Job) (low, high float64) {
	var all []float64
	for i := range jobs {
		if jobs[i].Timed {
			all = append(all, jobs[i].Duration.Seconds())
		}
	}
	if len(all) == 0 {
		return math.NaN(), math.NaN()
	}
	slices.Sort(all)
	rank := q * float64(len(all))
	at := func(rank float64) float64 { return all[min(max(int(rank), 1), len(all))-1] }
	return at(math.Ceil(rank - 1e-9)), at(math.Floor(rank+1e-9) + 1)
}

// classic says whether a quantile is as near as docs/grafana.md says of classic buckets:
// in that of the true one.
func classic(q float64) func(float64, []job.Job) bool {
	return func(got float64, jobs []job.Job) bool {
		v, lower := quantile(q)(jobs), 0.0
		for _, upper := range bounds {
			if v <= upper {
				return lower <= got && got <= upper
			}
			lower = upper
		}
		return got == lower // nothing is known of what is longer
	}
}

// native says the same of native ones: within 2^(1/8).
func native(q float64) func(float64, []job.Job) bool {
	return func(got float64, jobs []job.Job) bool {
		low, high := around(q, jobs)
		off := math.Exp2(1.0/8) + 1e-9
		return got >= low/off && got <= high*off
	}
}

// differences lists where a query's result is not the truth.
func (want truth) differences(got result) (all []string) {
	for _, key := range slices.Sorted(maps.Keys(got)) {
		v, ok := want.values[key]
		switch {
		case math.IsNaN(got[key]):
			all = append(all, key+" is NaN")
		case want.near != nil && (!ok || !want.near(got[key], want.jobs[key])):
			all = append(all, fmt.Sprintf("%s is %v, too far from %v", key, got[key], v))
		case want.near == nil && !same(got[key], v):
			all = append(all, fmt.Sprintf("%s is %v, want %v", key, got[key], v))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want.values)) {
		if _, ok := got[key]; !ok && (want.near != nil || want.values[key] != 0) {
			all = append(all, fmt.Sprintf("%s is missing, want %v", key, want.values[key]))
		}
	}
	return all
}

// same allows for what sums of seconds lose by their order; counts are far below what that
// could hide.
func same(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b)) }
