package exposition

import (
	"maps"
	"slices"

	"ci-jobs-metrics/internal/totals"
)

// A duration is a copy of a histogram of the totals.
type duration struct {
	totals.Duration
	lines [views]uint32
}

// A distribution is a histogram as it is shown: the sum of one or more.
type distribution struct {
	members []int // numbers of durations, ascending
}

// add keeps the members in one order, however they came: where sums or exemplars
// depend on it, they are the same for everybody who was told the same.
func (d *distribution) add(number int) {
	i, _ := slices.BinarySearch(d.members, number)
	d.members = slices.Insert(d.members, i, number)
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

// shown is the histogram of a line, good until the next call.
func (d *document) shown(l *line, sum *totals.Duration) *totals.Duration {
	members := d.distributions[l.value].members
	first := &d.durations[members[0]].Duration
	if len(members) == 1 {
		return first
	}
	copyDuration(sum, first)
	if len(first.Exemplars) == 0 {
		sum.Exemplars = nil // which is how Add knows that there are none
	}
	for _, m := range members[1:] {
		sum.Add(&d.durations[m].Duration)
	}
	return sum
}
