package rollup

import (
	"fmt"
	"math"
	"unsafe"

	"ci-jobs-metrics/internal/job"
)

// A View is a block as questions read it: the jobs of one template, of a day or of a part
// of it, by project, version and status. Nobody changes it.
type View struct {
	Day      Day
	Template string
	Cells    []Cell
	buckets  []byte // where Cell.buckets point to
}

// A Cell is the jobs of a View that have one project, version and status.
type Cell struct {
	Micros           int64  // durations of the jobs together, in microseconds
	Wasted           int64  // what failures before another try had taken, in microseconds
	Project, Version uint32 // their texts are in Texts of the Scan
	Count            uint32 // jobs
	Timed            uint32 // of those, how many have a duration
	Again            uint32 // successes after a failure of the same commit
	buckets          uint32 // place in the View's buckets
	Status           uint8  // rank: job.Statuses[Status]
}

// cellSize is what a Cell takes in memory, in bytes. There are a million of them for 90 days
// of ten million jobs, so the order of its fields leaves no gaps.
const cellSize = int(unsafe.Sizeof(Cell{}))

// AddDurations adds the durations of one of the view's cells to a histogram.
func (v *View) AddDurations(c *Cell, to *Histogram) {
	if c.Timed == 0 {
		return
	}
	b, at := v.buckets, int(c.buckets)
	index, left := int64(usualIndex), uint64(c.Timed)
	for left > 0 {
		var delta, n uint64
		delta, at = uvarint(b, at)
		index += int64(delta>>1) ^ -int64(delta&1) //nolint:gosec // zigzag
		n = 1
		if left > 1 {
			n, at = uvarint(b, at)
		}
		to.add(int(index), n)
		left -= n
	}
}

// uvarint is binary.Uvarint for what was checked before.
func uvarint(b []byte, at int) (uint64, int) {
	if b[at] < 0x80 {
		return uint64(b[at]), at + 1
	}
	var n uint64
	for shift := 0; ; shift += 7 {
		c := b[at]
		at++
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return n, at
		}
	}
}

// size is what a view takes in memory, in bytes.
func (v *View) size() int { return len(v.Cells)*cellSize + len(v.buckets) + 100 }

// seal makes the view of a whole block from its first part.
func seal(b *Block, s *symbols) (*View, error) {
	r := &reader{b: b.Cells}
	r.begin()
	texts := make([][]byte, r.length())
	for i := range texts {
		texts[i] = r.bytes(r.number(math.MaxUint32))
	}
	v := &View{Day: b.Day, Template: b.Template, buckets: b.Cells, Cells: make([]Cell, r.length())}
	if r.err == nil {
		numbers := s.numbersOf(texts)
		jobs := int64(0)
		for i := range v.Cells {
			r.cell(&v.Cells[i], numbers)
			jobs += int64(v.Cells[i].Count)
		}
		if r.err == nil && (r.at != len(r.b) || jobs != b.Jobs) {
			r.fail("something that does not add up")
		}
	}
	return v, damaged(b, r)
}

func damaged(b *Block, r *reader) error {
	if r.err == nil {
		return nil
	}
	return fmt.Errorf("the roll-up of %q on %v is damaged: %w", b.Template, b.Day, r.err)
}

func (r *reader) cell(c *Cell, numbers []uint32) {
	project, version := r.number(math.MaxUint32), r.number(math.MaxUint32)
	status := r.bytes(1)
	if r.err != nil {
		return
	}
	if project >= uint64(len(numbers)) || version >= uint64(len(numbers)) || int(status[0]) >= len(job.Statuses) {
		r.fail("a cell that is none")
		return
	}
	var n counted
	c.Project, c.Version, c.Status = numbers[project], numbers[version], status[0]
	c.buckets = uint32(r.counted(&n, c.Status, nil)) //nolint:gosec // in a block
	c.set(&n)
}

func (c *Cell) set(n *counted) {
	c.Count, c.Timed, c.Micros, c.Again, c.Wasted = n.count, n.timed, n.micros, n.again, n.wasted
}

// eachSlot calls f with what every cell counted in every slot, read from the block's
// second part: cell by cell, slots ascending. What at holds is used again for the next.
func (v *View) eachSlot(b *Block, f func(cell int, at *slotted)) error {
	r := &reader{b: b.Slots}
	r.begin()
	var s slotted
	for i := range v.Cells {
		status := v.Cells[i].Status
		slot := uint64(0)
		for n := r.length(); n > 0 && r.err == nil; n-- {
			slot += r.number(maxSlot)
			if slot > maxSlot {
				r.fail("a time that is none")
			}
			s = slotted{slot: Slot(slot), rows: s.rows[:0], counted: counted{buckets: s.buckets[:0]}} //nolint:gosec // checked
			r.counted(&s.counted, status, &s.buckets)
			r.rows(&s.rows, s.count, status)
			if r.err == nil {
				f(i, &s)
			}
		}
	}
	if r.err == nil && r.at != len(r.b) {
		r.fail("something that does not belong there")
	}
	return damaged(b, r)
}

// maxSlot is millennia ahead, and near enough for its day to be found.
const maxSlot = 1 << 29

func (r *reader) rows(into *[]int64, n uint32, status uint8) {
	if !IsFailure(job.Statuses[status]) || r.err != nil {
		return
	}
	if uint64(n) > uint64(len(r.b)-r.at) {
		r.fail("fewer jobs than were counted")
		return
	}
	before := uint64(0)
	for range n {
		before += r.number(math.MaxInt64)
		*into = append(*into, int64(before)) //nolint:gosec // numbers of jobs
	}
}

// A builder puts a view together from cells.
type builder struct{ view *View }

func newBuilder(k Key) builder { return builder{&View{Day: k.Day, Template: k.Template}} }

func (b builder) add(k cellKey, n *counted) {
	if n.count == 0 {
		return
	}
	c := Cell{Project: k.project, Version: k.version, Status: k.status, buckets: uint32(len(b.view.buckets))} //nolint:gosec // a day's
	c.set(n)
	b.view.buckets = appendBuckets(b.view.buckets, n.buckets, uint64(n.timed))
	b.view.Cells = append(b.view.Cells, c)
}
