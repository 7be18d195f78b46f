package history_test

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"ci-jobs-metrics/internal/history"
	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
)

// jobs are some of a history, in the order of receipt.
type jobs []*job.Job

// made keeps histories, for most tests look at the same few.
var made = map[history.Shape][]ledger.Entry{}

func entries(s history.Shape) []ledger.Entry {
	all, known := made[s]
	if !known {
		all = slices.Collect(s.Entries())
		made[s] = all
	}
	return all
}

func collect(s history.Shape) jobs {
	entries := entries(s)
	all := make(jobs, len(entries))
	for i := range entries {
		all[i] = &entries[i].Job
	}
	return all
}

// seeds of the companies that are looked at.
var seeds = []uint64{1, 2, 3}

// companies runs a test with several histories of the demonstration's size.
func companies(t *testing.T, planted bool, test func(t *testing.T, s history.Shape, all jobs)) {
	for _, seed := range seeds {
		s := history.Demo(end)
		s.Seed, s.Planted = seed, planted
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { test(t, s, collect(s)) })
	}
}

func (all jobs) where(keep func(j *job.Job) bool) jobs {
	var kept jobs
	for _, j := range all {
		if keep(j) {
			kept = append(kept, j)
		}
	}
	return kept
}

func (all jobs) in(status job.Status) jobs {
	return all.where(func(j *job.Job) bool { return j.Status == status })
}

// since are those of the last days of the history.
func (all jobs) since(last int) jobs {
	return all.where(func(j *job.Job) bool { return !before(j, last) })
}

// until are those before the last days.
func (all jobs) until(last int) jobs {
	return all.where(func(j *job.Job) bool { return before(j, last) })
}

func before(j *job.Job, last int) bool {
	return j.Finished.Before(end.Add(-time.Duration(last) * days))
}

func (all jobs) by(key func(j *job.Job) string) map[string]jobs {
	groups := map[string]jobs{}
	for _, j := range all {
		groups[key(j)] = append(groups[key(j)], j)
	}
	return groups
}

func byTemplate(j *job.Job) string { return j.Name }
func byProject(j *job.Job) string  { return j.Project }

func (all jobs) template(name string) jobs {
	return all.where(func(j *job.Job) bool { return j.Name == name })
}

func (all jobs) project(path string) jobs {
	return all.where(func(j *job.Job) bool { return j.Project == path })
}

// share is how many of all these are.
func (all jobs) share(of jobs) float64 { return float64(len(all)) / float64(len(of)) }

// quantile is of the known durations, in seconds.
func (all jobs) quantile(q float64) float64 {
	var seconds []float64
	for _, j := range all {
		if j.Timed {
			seconds = append(seconds, j.Duration.Seconds())
		}
	}
	if len(seconds) == 0 {
		return math.NaN()
	}
	slices.Sort(seconds)
	return seconds[int(q*float64(len(seconds)-1))]
}

func (all jobs) hours() float64 {
	total := 0.0
	for _, j := range all {
		total += j.Duration.Hours()
	}
	return total
}

// largest are the groups with the most jobs, in this order.
func largest(groups map[string]jobs) (keys []string) {
	for k := range groups {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(groups[b]), len(groups[a])), cmp.Compare(a, b))
	})
	return keys
}

// A rerun is a job that was run again, for the same commit.
type rerun struct{ first, again *job.Job }

// reruns are told by GitLab's name of the job, for a template may have several in a
// pipeline.
func (all jobs) reruns() (pairs []rerun) {
	attempts := all.by(func(j *job.Job) string { return j.Project + " " + j.SHA + " " + j.Job })
	for _, runs := range attempts {
		slices.SortFunc(runs, func(a, b *job.Job) int { return a.Finished.Compare(b.Finished) })
		for i := 1; i < len(runs); i++ {
			pairs = append(pairs, rerun{runs[i-1], runs[i]})
		}
	}
	return pairs
}
