package totals

import (
	"maps"
	"slices"
	"time"
)

// A Checkpoint carries totals between memory and a store: all of them when they
// are loaded, and when they are saved those that moved since the last time, each
// in full, so that a store replaces what it has of it.
type Checkpoint struct {
	Bounds    []float64 // seconds; what the Buckets of all Durations were counted by
	LastJob   time.Time // receipt of the last job applied; zero if none
	Runs      []Run
	Durations []Duration
	// DropDurations, when saving: every histogram stored so far is void, for
	// the bounds were changed. The Durations here were counted after that.
	DropDurations bool
}

// Changes takes what moved since the last call, in key order, the order in which
// a store's index is written fastest. It is nil if nothing did. Give it back with
// [Totals.Unsaved] if it could not be stored.
func (t *Totals) Changes() *Checkpoint {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.dropped && len(t.dirtyRuns) == 0 {
		return nil
	}
	c := &Checkpoint{
		Bounds:        t.bounds,
		LastJob:       t.lastJob,
		Runs:          make([]Run, 0, len(t.dirtyRuns)),
		Durations:     make([]Duration, 0, len(t.dirtyDurations)),
		DropDurations: t.dropped,
	}
	for _, r := range t.dirtyRuns {
		c.Runs, r.dirty = append(c.Runs, r.Run), false
	}
	for _, d := range t.dirtyDurations {
		c.Durations, d.dirty = append(c.Durations, d.clone()), false
	}
	slices.SortFunc(c.Runs, func(a, b Run) int { return a.Compare(b.RunKey) })
	slices.SortFunc(c.Durations, func(a, b Duration) int { return a.Compare(b.DurationKey) })
	t.dirtyRuns, t.dirtyDurations = t.dirtyRuns[:0], t.dirtyDurations[:0]
	t.dropped = false
	return c
}

// Unsaved gives back what Changes returned and could not be stored. The next call
// of Changes has it again, as it is by then.
func (t *Totals) Unsaved(c *Checkpoint) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropped = t.dropped || c.DropDurations
	for i := range c.Runs {
		t.markRun(t.runs[c.Runs[i].RunKey])
	}
	for i := range c.Durations {
		if d := t.durations[c.Durations[i].DurationKey]; d != nil { // else dropped since
			t.markDuration(d)
		}
	}
}

// Load replaces everything with a checkpoint, its bounds included: jobs behind it
// that were recorded before the restart belong to the histograms of before. When
// those are applied, [Totals.Rebound] brings in the bounds of now.
func (t *Totals) Load(c *Checkpoint) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bounds = slices.Clone(c.Bounds)
	t.lastJob = c.LastJob
	t.runs = make(map[RunKey]*run, len(c.Runs))
	for i := range c.Runs {
		t.runs[c.Runs[i].RunKey] = &run{Run: c.Runs[i]}
	}
	t.durations = make(map[DurationKey]*duration, len(c.Durations))
	for i := range c.Durations {
		t.durations[c.Durations[i].DurationKey] = &duration{Duration: c.Durations[i].clone()}
	}
	t.dirtyRuns, t.dirtyDurations = nil, nil
	t.dropped = false
}

// Rebound changes the histograms' bounds, in seconds, ascending, without +Inf. If
// they differ, every histogram starts anew with the next job that it observes. It
// returns how many did.
func (t *Totals) Rebound(bounds []float64) (dropped int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.Equal(bounds, t.bounds) {
		return 0
	}
	dropped = len(t.durations)
	t.bounds = slices.Clone(bounds)
	clear(t.durations)
	t.dirtyDurations = nil
	t.dropped = true
	return dropped
}

func (d *Duration) clone() Duration {
	c := *d
	c.Buckets = slices.Clone(d.Buckets)
	c.Exp.Counts = maps.Clone(d.Exp.Counts)
	return c
}
