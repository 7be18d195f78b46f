package totals

import (
	"time"

	"ci-jobs-metrics/internal/job"
)

// runs are all counters, numbered from 0 in the order in which they began. None of
// its parts holds a pointer: together they take some 80 bytes for each.
type runs struct {
	numbers map[runKey]uint32
	pages   []*[runsPerPage]run // not one slice, which would be copied as it grows
	len     int
}

const runsPerPage = 1 << 12

// A runKey is a RunKey as numbers of symbols.
type runKey struct{ template, project, status, labels uint32 }

type run struct {
	runKey
	count   uint64
	created int64 // microseconds of Unix time
	since   int64
	state   state
}

// A state says who has not seen the last change yet.
type state uint8

const (
	unsaved state = 1 << iota // the next checkpoint has it
	untold                    // the next Next of the feed has it
)

func newRuns() runs { return runs{numbers: map[runKey]uint32{}} }

func (r *runs) at(number uint32) *run {
	return &r.pages[number/runsPerPage][number%runsPerPage]
}

func (r *runs) add(added run) uint32 {
	if r.len%runsPerPage == 0 {
		r.pages = append(r.pages, new([runsPerPage]run))
	}
	number := uint32(r.len)
	r.len++
	*r.at(number) = added
	r.numbers[added.runKey] = number
	return number
}

// symbolize returns a key as numbers, new ones where it has to.
func (t *Totals) symbolize(k RunKey) runKey {
	return runKey{
		template: t.symbols.number(k.Template),
		project:  t.symbols.number(k.Project),
		status:   t.symbols.number(string(k.Status)),
		labels:   t.symbols.number(k.Labels),
	}
}

// lookUp returns the number of a counter, if there is one.
func (t *Totals) lookUp(k RunKey) (uint32, bool) {
	template, ok1 := t.symbols.find(k.Template)
	project, ok2 := t.symbols.find(k.Project)
	status, ok3 := t.symbols.find(string(k.Status))
	labels, ok4 := t.symbols.find(k.Labels)
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return 0, false
	}
	n, ok := t.runs.numbers[runKey{template, project, status, labels}]
	return n, ok
}

// export returns a counter as others see it.
func (t *Totals) export(r *run) Run {
	return Run{
		RunKey: RunKey{
			Template: t.symbols.texts[r.template],
			Project:  t.symbols.texts[r.project],
			Status:   job.Status(t.symbols.texts[r.status]),
			Labels:   t.symbols.texts[r.labels],
		},
		Count:   r.count,
		Created: time.UnixMicro(r.created).UTC(),
		Since:   r.since,
	}
}

func (t *Totals) touchRun(number uint32) {
	r := t.runs.at(number)
	if r.state&unsaved == 0 {
		r.state |= unsaved
		t.unsavedRuns = append(t.unsavedRuns, number)
	}
	if r.state&untold == 0 && t.feed.knowsRun(number) {
		r.state |= untold
		t.feed.runs = append(t.feed.runs, number)
	}
}
