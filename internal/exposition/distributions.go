package exposition

import (
	"maps"
	"math"
	"slices"

	"ci-jobs-metrics/internal/totals"
)

// A duration is a copy of a histogram of the totals.
type duration struct {
	totals.Duration
	lines   [views]uint32
	shownIn []uint32 // numbers of distributions; none until it has lines
}

// A distribution is a histogram as it is shown: the sum of one or more, of which there
// are as many as an operator's label has values.
type distribution struct {
	members []int // numbers of durations, ascending
	// sum is theirs, if there is more than one: counts always, the rest unless stale.
	sum   totals.Duration
	stale bool
}

// add keeps the members in one order, however they came: where sums or exemplars
// depend on it, they are the same for everybody who was told the same.
func (d *distribution) add(durations []*duration, number int) {
	i, _ := slices.BinarySearch(d.members, number)
	d.members = slices.Insert(d.members, i, number)
	switch len(d.members) {
	case 1:
		return
	case 2:
		copyDuration(&d.sum, &durations[d.members[0]].Duration)
		d.sum.Add(&durations[d.members[1]].Duration)
	default:
		d.sum.Add(&durations[number].Duration)
	}
	d.stale = true
}

// move brings the counts up to a member that moves on from what it was.
func (d *distribution) move(was, is *totals.Duration) {
	if len(d.members) < 2 {
		return
	}
	d.sum.Count += is.Count - was.Count
	for i := range is.Buckets {
		d.sum.Buckets[i] += is.Buckets[i] - was.Buckets[i]
	}
	d.sum.Exp.Zero += is.Exp.Zero - was.Exp.Zero
	for i, n := range is.Exp.Counts {
		if n != was.Exp.Counts[i] {
			d.sum.Exp.Counts[i] += n - was.Exp.Counts[i]
		}
	}
	d.stale = true
}

// refresh adds up what can't be done by differences: a sum that stays at its largest
// value, and the latest exemplars.
func (d *distribution) refresh(durations []*duration) {
	d.sum.Sum = 0
	clear(d.sum.Exemplars)
	for _, m := range d.members {
		of := &durations[m].Duration
		if d.sum.Sum += of.Sum; d.sum.Sum < 0 {
			d.sum.Sum = math.MaxInt64
		}
		if len(d.sum.Exemplars) < len(of.Exemplars) {
			d.sum.Exemplars = make([]totals.Exemplar, len(of.Exemplars))
		}
		for i, e := range of.Exemplars {
			if e.ID != "" && e.At.After(d.sum.Exemplars[i].At) {
				d.sum.Exemplars[i] = e
			}
		}
	}
	d.stale = false
}

// copyDuration copies a histogram into one that was copied before, for which nothing
// has to be allocated.
func copyDuration(into, from *totals.Duration) {
	old := *into
	*into = *from
	into.Buckets = refill(old.Buckets, from.Buckets)
	into.Exemplars = refill(old.Exemplars, from.Exemplars)
	counts := old.Exp.Counts
	if counts == nil {
		counts = make(map[int]uint64, len(from.Exp.Counts))
	}
	clear(counts)
	maps.Copy(counts, from.Exp.Counts)
	into.Exp.Counts = counts
}

func refill[T any](list, by []T) []T { return append(list[:0], by...) }

// shown is the histogram of a line.
func (d *document) shown(l *line) *totals.Duration {
	of := &d.distributions[l.value]
	if len(of.members) == 1 {
		return &d.durations[of.members[0]].Duration
	}
	if of.stale {
		of.refresh(d.durations)
	}
	return &of.sum
}
