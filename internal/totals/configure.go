package totals

import (
	"slices"
	"time"
)

// A Change is what new settings did.
type Change struct {
	Dropped int      // histograms that start anew, for their bounds were changed
	Added   []string // labels that are new; counters of before have no value for them
	Removed []string // labels that are gone; counters that differed in them only were added up
}

// Configure brings in other settings; applied is the number of the last row that was
// applied. If the bounds differ, every histogram starts anew with the next job that it
// observes. A smaller budget takes nothing away.
func (t *Totals) Configure(s Settings, applied int64) Change {
	t.mu.Lock()
	defer t.mu.Unlock()
	change := Change{
		Added:   without(s.Labels, t.settings.Labels),
		Removed: without(t.settings.Labels, s.Labels),
	}
	rebound := !slices.Equal(s.Bounds, t.settings.Bounds)
	if rebound {
		change.Dropped = len(t.durations)
		t.dropDurations()
	}
	if len(change.Added)+len(change.Removed) > 0 {
		t.exactFrom = applied + 1
	}
	if len(change.Removed) > 0 {
		t.rebuild(func(r *Run) bool { r.Labels = keepLabels(r.Labels, s.Labels); return true },
			func(d *Duration) bool { d.Labels = keepLabels(d.Labels, s.Labels); return true })
	}
	if rebound || !slices.Equal(s.Labels, t.settings.Labels) || s.MaxSets != t.settings.MaxSets {
		t.feed.reset = true
		t.saveSettings = true
	}
	t.settings = s.clone()
	clear(t.encoded)
	t.encodedSize = 0
	return change
}

// without returns those of list that are not in other.
func without(list, other []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(other, s) })
}

// Forget takes out the counters of a project, of a template, or, given both, of that
// template in that project; of a template as a whole the histograms go too. (Those of
// a project are in its templates' histograms and can't be told apart.) They start anew
// with the next job. applied is as in Configure.
func (t *Totals) Forget(template, project string, applied int64) Forgotten {
	t.mu.Lock()
	defer t.mu.Unlock()
	isNamed := func(k *RunKey) bool {
		return (template == "" || k.Template == template) && (project == "" || k.Project == project)
	}
	isNamedHistogram := func(d *Duration) bool { return project == "" && d.Template == template }
	var f Forgotten
	for n := range t.runs.len {
		if r := t.export(t.runs.at(uint32(n))); isNamed(&r.RunKey) {
			f.Sets++
			f.Jobs += r.Count
		}
	}
	for _, d := range t.durations {
		if isNamedHistogram(&d.Duration) {
			f.Histograms++
		}
	}
	if f == (Forgotten{}) {
		return f
	}
	t.rebuild(func(r *Run) bool { return !isNamed(&r.RunKey) },
		func(d *Duration) bool { return !isNamedHistogram(d) })
	t.forgotten += f.Jobs
	t.exactFrom = applied + 1
	return f
}

// Forgotten is what Forget took out.
type Forgotten struct {
	Sets       int    // label sets
	Histograms int    // of a template
	Jobs       uint64 // jobs that counted in the sets
}

// rebuild replaces all entries by what the functions make of them; those for which
// they return false end, and those that have one key afterwards are added up.
func (t *Totals) rebuild(keepRun func(*Run) bool, keepDuration func(*Duration) bool) {
	old, oldDurations := Totals{symbols: t.symbols, runs: t.runs}, t.durations
	t.symbols, t.runs, t.others = newSymbols(), newRuns(), 0
	t.unsavedRuns = nil
	t.dropDurations()
	t.replaced = true
	for n := range old.runs.len {
		if r := old.export(old.runs.at(uint32(n))); keepRun(&r) {
			t.touchRun(t.mergeRun(&r))
		}
	}
	for _, d := range oldDurations {
		if keepDuration(&d.Duration) {
			t.touchDuration(t.mergeDuration(&d.Duration))
		}
	}
}

// mergeRun adds a counter. Where it meets another, both have been there since the
// first began.
func (t *Totals) mergeRun(r *Run) uint32 {
	number, ok := t.lookUp(r.RunKey)
	if !ok {
		return t.loadRun(r)
	}
	into := t.runs.at(number)
	into.count += r.Count
	into.created = min(into.created, r.Created.UnixMicro())
	into.since = min(into.since, r.Since)
	return number
}

func (t *Totals) mergeDuration(d *Duration) uint32 {
	number, ok := t.durationsOf[d.DurationKey]
	if !ok {
		if d.Exemplars != nil {
			t.exemplars++
		}
		return t.newDuration(*d)
	}
	t.durations[number].Add(d)
	return number
}

// Add adds the jobs of another histogram with the same bounds. Of two exemplars the
// later one stays.
func (d *Duration) Add(o *Duration) {
	d.Count += o.Count
	d.addSum(o.Sum)
	d.Created = earlier(d.Created, o.Created)
	for i, n := range o.Buckets {
		d.Buckets[i] += n
	}
	d.Exp.add(o.Exp)
	if d.Exemplars == nil {
		d.Exemplars = slices.Clone(o.Exemplars)
		return
	}
	for i, e := range o.Exemplars {
		if e.ID != "" && e.At.After(d.Exemplars[i].At) {
			d.Exemplars[i] = e
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (t *Totals) dropDurations() {
	t.durations, t.unsavedDurations = nil, nil
	clear(t.durationsOf)
	t.exemplars = 0
	t.dropped = true
	t.feed.reset = true
}
