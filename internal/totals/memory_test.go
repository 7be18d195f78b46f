package totals_test

import (
	"fmt"
	"runtime"
	"testing"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/totals"
)

// docs/operating.md says how much memory a label set takes. It is taken where the map of
// counters has just grown, which is when it is largest.
func TestMemoryOfLabelSets(t *testing.T) {
	const sets, most = 250_000, 110 // bytes
	jobs := make([]job.Job, sets)
	for i := range jobs {
		jobs[i] = job.Job{Name: fmt.Sprint("template_", i%100), Project: fmt.Sprint("group/project-", i/300), Status: job.Statuses[i/100%3]}
	}
	before := inUse()
	ts := totals.New(totals.Settings{})
	for i := range jobs {
		ts.Apply(int64(i+1), start, &jobs[i])
	}
	ts.Changes() // a list of what is to be stored is no part of it
	each := (inUse() - before) / sets
	if ts.Stats().Runs != sets || each > most || each < 20 {
		t.Errorf("%d label sets take %d bytes each, want %d at most", ts.Stats().Runs, each, most)
	}
	t.Logf("%d bytes for a label set", each)
	runtime.KeepAlive(jobs)
}

func inUse() int {
	runtime.GC()
	runtime.GC() // what a finalizer held goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
