// Package totals is the fold behind the metrics: the running counters and
// histograms of all jobs that were ever recorded.
//
// Rows of the ledger come in through [Totals.Apply], each once and in row
// order; who calls it keeps count of how far it has read. What goes out is a
// [Snapshot] for the exposition, and a [Checkpoint] for the ledger: the entries
// that moved since the last one. [Totals.Load] takes all of them back at the next
// start.
//
// A total is never rebuilt from the jobs that retention has left: counters only
// grow, across restarts too.
package totals

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"ci-jobs-metrics/internal/job"
)

// A RunKey names one counter: one label set of the jobs' metrics.
type RunKey struct {
	Template string
	Project  string
	Status   job.Status
	Labels   string // the operator's labels; none yet, so always empty
}

// Run is how many jobs of one label set were recorded.
type Run struct {
	RunKey
	Count   uint64
	Created time.Time // receipt of the first
}

// A DurationKey names one histogram.
type DurationKey struct {
	Template string
	Status   job.Status
	Labels   string // as in RunKey
}

// Duration is the distribution of the durations of one label set's jobs. Both
// ways of counting, the operator's classic bounds and the exponential buckets,
// have seen the same jobs.
type Duration struct {
	DurationKey
	Created time.Time // receipt of the first job, or of the first after the bounds changed
	Count   uint64
	Sum     int64    // microseconds; stays at its largest value rather than wrap
	Buckets []uint64 // jobs per bound of Bounds, not added up, and one more for the rest
	Exp     Exponential
}

// Totals holds all counters and histograms. Its methods may be called from
// several goroutines.
type Totals struct {
	mu        sync.Mutex
	bounds    []float64 // seconds; replaced, never changed in place
	runs      map[RunKey]*run
	durations map[DurationKey]*duration
	// What the next checkpoint has to store, each once.
	dirtyRuns      []*run
	dirtyDurations []*duration
	dropped        bool // all stored histograms are void

	lastJob time.Time // latest receipt
}

// A run is a Run and whether it waits to be stored; so is a duration.
type (
	run struct {
		Run
		dirty bool
	}
	duration struct {
		Duration
		dirty bool
	}
)

// New returns empty totals whose histograms have the given upper bounds, in
// seconds, ascending, without +Inf.
func New(bounds []float64) *Totals {
	return &Totals{
		bounds:    slices.Clone(bounds),
		dropped:   true, // the first checkpoint stores the bounds, even if no job came by then
		runs:      map[RunKey]*run{},
		durations: map[DurationKey]*duration{},
	}
}

// Apply adds one recorded job, received at the given time.
func (t *Totals) Apply(received time.Time, j *job.Job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if received.After(t.lastJob) {
		t.lastJob = received
	}
	t.addRun(RunKey{Template: j.Name, Project: j.Project, Status: j.Status}, received)
	if j.Timed {
		t.addDuration(DurationKey{Template: j.Name, Status: j.Status}, received, j.Duration)
	}
}

func (t *Totals) addRun(k RunKey, received time.Time) {
	r := t.runs[k]
	if r == nil {
		k.Template, k.Project = strings.Clone(k.Template), strings.Clone(k.Project) // not the request they came in
		r = &run{Run: Run{RunKey: k, Created: received}}
		t.runs[k] = r
	}
	r.Count++
	t.markRun(r)
}

func (t *Totals) markRun(r *run) {
	if !r.dirty {
		r.dirty = true
		t.dirtyRuns = append(t.dirtyRuns, r)
	}
}

func (t *Totals) addDuration(k DurationKey, received time.Time, took time.Duration) {
	d := t.durations[k]
	if d == nil {
		k.Template = strings.Clone(k.Template) // as in addRun
		d = &duration{Duration: Duration{DurationKey: k, Created: received, Buckets: make([]uint64, len(t.bounds)+1)}}
		t.durations[k] = d
	}
	d.observe(t.bounds, took)
	t.markDuration(d)
}

func (t *Totals) markDuration(d *duration) {
	if !d.dirty {
		d.dirty = true
		t.dirtyDurations = append(t.dirtyDurations, d)
	}
}

func (d *Duration) observe(bounds []float64, took time.Duration) {
	us := took.Microseconds()
	d.Count++
	if d.Sum += us; d.Sum < 0 {
		d.Sum = math.MaxInt64
	}
	// A bound is inclusive: 60 s is le="60".
	i, _ := slices.BinarySearch(bounds, float64(us)/1e6)
	d.Buckets[i]++
	d.Exp.observe(us)
}

// A Snapshot is all totals at one moment, no two entries of different moments.
// Its contents belong to the caller; entries are in no particular order.
type Snapshot struct {
	Bounds    []float64 // seconds, ascending, without +Inf
	Runs      []Run
	Durations []Duration
}

// Snapshot copies all totals.
func (t *Totals) Snapshot() *Snapshot {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &Snapshot{
		Bounds:    t.bounds,
		Runs:      make([]Run, 0, len(t.runs)),
		Durations: make([]Duration, 0, len(t.durations)),
	}
	for _, r := range t.runs {
		s.Runs = append(s.Runs, r.Run)
	}
	for _, d := range t.durations {
		s.Durations = append(s.Durations, d.clone())
	}
	return s
}

// Stats is the size of the totals and when they last moved.
type Stats struct {
	Runs, Durations int       // label sets
	LastJob         time.Time // receipt of the last job applied or loaded; zero if none
}

// Stats returns the current numbers.
func (t *Totals) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Stats{Runs: len(t.runs), Durations: len(t.durations), LastJob: t.lastJob}
}

// Compare orders runs by template, project, status as in job.Statuses, labels.
func (k RunKey) Compare(o RunKey) int {
	return cmp.Or(
		cmp.Compare(k.Template, o.Template),
		cmp.Compare(k.Project, o.Project),
		cmp.Compare(k.Status.Rank(), o.Status.Rank()),
		cmp.Compare(k.Labels, o.Labels))
}

// Compare orders histograms by template, status as in job.Statuses, labels.
func (k DurationKey) Compare(o DurationKey) int {
	return cmp.Or(
		cmp.Compare(k.Template, o.Template),
		cmp.Compare(k.Status.Rank(), o.Status.Rank()),
		cmp.Compare(k.Labels, o.Labels))
}
