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
	Settings            // what Runs and Durations were counted by
	LastJob   time.Time // receipt of the last job applied; zero if none
	Runs      []Run
	Durations []Duration

	// ExactFrom is the number of the row from which on each job is where Targets says:
	// later than 1 after the labels were changed or something was forgotten, for then
	// counters were added up or taken out. Earlier jobs are in the sum of all counters.
	ExactFrom int64
	// Forgotten is how many jobs were taken out of the counters.
	Forgotten uint64

	// DropDurations, when saving: every histogram stored so far is void, for
	// the bounds were changed. The Durations here were counted after that.
	DropDurations bool
	// Replace, when saving: every counter stored so far is void, too. All of them are
	// here.
	Replace bool
}

// Changes takes what moved since the last call, in key order, the order in which
// a store's index is written fastest. It is nil if nothing did. Give it back with
// [Totals.Unsaved] if it could not be stored.
func (t *Totals) Changes() *Checkpoint {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.saveSettings && !t.dropped && len(t.unsavedRuns) == 0 {
		return nil
	}
	c := &Checkpoint{
		Settings:      t.settings,
		LastJob:       t.lastJob,
		ExactFrom:     t.exactFrom,
		Forgotten:     t.forgotten,
		Runs:          make([]Run, 0, len(t.unsavedRuns)),
		Durations:     make([]Duration, 0, len(t.unsavedDurations)),
		DropDurations: t.dropped,
		Replace:       t.replaced,
	}
	for _, number := range t.unsavedRuns {
		r := t.runs.at(number)
		r.state &^= unsaved
		c.Runs = append(c.Runs, t.export(r))
	}
	for _, number := range t.unsavedDurations {
		d := t.durations[number]
		d.state &^= unsaved
		c.Durations = append(c.Durations, d.clone())
	}
	slices.SortFunc(c.Runs, func(a, b Run) int { return a.Compare(b.RunKey) })
	slices.SortFunc(c.Durations, func(a, b Duration) int { return a.Compare(b.DurationKey) })
	t.unsavedRuns, t.unsavedDurations = t.unsavedRuns[:0], t.unsavedDurations[:0]
	t.dropped, t.replaced, t.saveSettings = false, false, false
	return c
}

// Unsaved gives back what Changes returned and could not be stored. The next call
// of Changes has it again, as it is by then.
func (t *Totals) Unsaved(c *Checkpoint) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropped = t.dropped || c.DropDurations
	t.replaced = t.replaced || c.Replace
	t.saveSettings = true
	for i := range c.Runs {
		if number, ok := t.lookUp(c.Runs[i].RunKey); ok { // else it ended since
			t.touchRun(number)
		}
	}
	for i := range c.Durations {
		if number, ok := t.durationsOf[c.Durations[i].DurationKey]; ok {
			t.touchDuration(number)
		}
	}
}

// Load takes a part of what a store has; there are as many as the store likes, into
// totals that nothing was applied to. Settings come with it: jobs behind it that were
// recorded before the restart belong to the histograms and the budget of before. When
// those are applied, [Totals.Configure] brings in the settings of now.
func (t *Totals) Load(part *Checkpoint) {
	t.mu.Lock()
	defer t.mu.Unlock()
	settings := part.Settings
	t.settings = settings.clone()
	t.lastJob = part.LastJob
	t.exactFrom = max(part.ExactFrom, 1)
	t.forgotten = part.Forgotten
	t.dropped, t.replaced = false, false
	for i := range part.Runs {
		t.loadRun(&part.Runs[i])
	}
	for i := range part.Durations {
		t.newDuration(part.Durations[i].clone())
	}
}

func (t *Totals) loadRun(r *Run) uint32 {
	return t.addRun(&r.RunKey, run{
		count:   r.Count,
		created: r.Created.UnixMicro(),
		since:   r.Since,
	})
}

func (d *Duration) clone() Duration {
	c := *d
	c.Buckets = slices.Clone(d.Buckets)
	c.Exp.Counts = maps.Clone(d.Exp.Counts)
	c.Exemplars = slices.Clone(d.Exemplars)
	return c
}
