package rollup

import (
	"cmp"
	"slices"

	"ci-jobs-metrics/internal/job"
)

// A counted is how many jobs there are of something, and how long they took.
type counted struct {
	count   uint32 // jobs
	timed   uint32 // of those, how many have a duration
	micros  int64  // their durations together, in microseconds
	buckets []bucket

	// Of successful jobs: how many came after a failure of the same commit, and how long
	// those failures had taken, in microseconds.
	again  uint32
	wasted int64
}

// add adds what another counted.
func (c *counted) add(o *counted) {
	c.count += o.count
	c.timed += o.timed
	c.micros += o.micros
	for _, b := range o.buckets {
		c.buckets = observe(c.buckets, b.index, b.count)
	}
	c.again += o.again
	c.wasted += o.wasted
}

// A slotted is what a cell counted in one slot.
type slotted struct {
	slot Slot
	counted
	rows []int64 // numbers of the jobs in the ledger, if they are failures; ascending
}

// A cellKey says which jobs of a template and a day a cell has.
type cellKey struct {
	project, version uint32 // symbols
	status           uint8  // rank of a job.Status
}

// isFailure says whether the numbers of a cell's jobs are kept.
func (k cellKey) isFailure() bool { return IsFailure(job.Statuses[k.status]) }

// IsFailure says whether a status is one of those for which somebody has to look at the
// job, and of which the ledger finds them again.
func IsFailure(s job.Status) bool { return s == job.Failed || s == job.TimedOut }

// A cell is the jobs of one template and day that have one project, version and status.
type cell struct{ slots []slotted } // ascending

// at is what was counted in a slot, which is made if there is none.
func (c *cell) at(s Slot) *slotted {
	last := len(c.slots) - 1
	if last >= 0 && c.slots[last].slot == s { // nearly always
		return &c.slots[last]
	}
	at, found := slices.BinarySearchFunc(c.slots, s, func(e slotted, s Slot) int { return cmp.Compare(e.slot, s) })
	if !found {
		c.slots = slices.Insert(c.slots, at, slotted{slot: s})
	}
	return &c.slots[at]
}

// merge adds the slots of another cell.
func (c *cell) merge(o *cell) {
	for i := range o.slots {
		from := &o.slots[i]
		into := c.at(from.slot)
		into.add(&from.counted)
		if len(from.rows) > 0 {
			into.rows = append(slices.Clip(into.rows), from.rows...)
			slices.Sort(into.rows)
		}
	}
}

// sum is what all slots counted together.
func (c *cell) sum() (all counted) {
	for i := range c.slots {
		all.add(&c.slots[i].counted)
	}
	return all
}

// cells are those of one template and day.
type cells map[cellKey]*cell

func (cs cells) at(k cellKey) *cell {
	c := cs[k]
	if c == nil {
		c = &cell{}
		cs[k] = c
	}
	return c
}

func (cs cells) merge(o cells) {
	for k, c := range o {
		cs.at(k).merge(c)
	}
}

// jobs is how many there are.
func (cs cells) jobs() (n int64) {
	for _, c := range cs {
		for i := range c.slots {
			n += int64(c.slots[i].count)
		}
	}
	return n
}

// sorted are the keys in the order in which cells are stored: by the texts of project
// and version, for numbers differ from process to process.
func (cs cells) sorted(texts []string) []cellKey {
	keys := make([]cellKey, 0, len(cs))
	for k := range cs {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b cellKey) int {
		return cmp.Or(cmp.Compare(texts[a.project], texts[b.project]),
			cmp.Compare(texts[a.version], texts[b.version]), cmp.Compare(a.status, b.status))
	})
	return keys
}
