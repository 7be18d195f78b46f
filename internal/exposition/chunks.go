package exposition

import (
	"cmp"
	"slices"
)

// A family is a metric with its series.
type family struct {
	number   int    // place in the document's list, by birth
	metric   string // the full name; of a counter with its _total
	help     string // one line, not escaped
	kind     kind
	labelled bool     // shows the template, and the operator's labels
	chunks   []*chunk // none of them empty, in the order of their keys
	last     int      // the chunk in which a key was found last

	heads [slots]*piece
	sizes [slots]int // bytes of the series that the head announces; of protobuf only
}

type kind int

const (
	counter kind = iota
	histogram
)

// How many series a chunk has at most. If one of them moves, all of them are rendered
// and compressed again: 64 counters take some 20 µs, which is as long as 16 would take
// on their own twice, and 8.6 bytes each when compressed; 32 took 10.1 bytes, 128 took
// 7.7. A histogram has as many lines as a handful of counters.
const (
	maxCounters   = 64
	maxHistograms = 8
)

// A chunk is some neighbouring series of a family.
type chunk struct {
	number uint32 // place in the document's list
	family *family
	lines  []line
	pieces [slots]*piece // nil: not rendered
}

// A line is a series. Its size times the number of series is what the exposition
// takes beside what it rendered, so it holds no pointers and no texts.
type line struct {
	key
	id      uint32 // place in the document's list of where lines are
	value   uint64 // of a counter its count; of a histogram the number of its distribution
	created int64  // microseconds of Unix time: receipt of the first job
}

// A key is the values of a series' labels, in the order in which they are written and
// sorted. Of a label that its family doesn't show it is 0.
type key struct {
	template, project uint32 // symbols
	status            status
	labels            uint32 // symbol of the operator's labels
}

func (d *document) compare(a, b key) int {
	if a == b {
		return 0
	}
	return cmp.Or(
		d.symbols.compare(a.template, b.template),
		d.symbols.compare(a.project, b.project),
		d.symbols.compareStatus(a.status, b.status),
		d.labelSets.compare(a.labels, b.labels))
}

// changed says that what was rendered of a chunk is no longer true.
func (c *chunk) changed() {
	for _, p := range c.pieces {
		if p != nil {
			p.stale = true
		}
	}
}

// line finds the line of a key, a new one if need be.
func (d *document) line(f *family, k key) (c *chunk, at int, born bool) {
	if len(f.chunks) == 0 {
		c = d.newChunk(f, 0)
	} else {
		c = f.chunks[d.find(f, k)]
		var found bool
		if at, found = d.search(c, k); found {
			return c, at, false
		}
		c, at = d.makeRoom(c, f.last, at)
	}
	l := line{key: k, id: uint32(d.chunkOf.len)}
	d.chunkOf.add(c.number)
	c.lines = slices.Insert(c.lines, at, l)
	c.changed()
	return c, at, true
}

// find returns the chunk that a key belongs to: the last that begins with it or before
// it. Keys that come in order are mostly found where the one before was.
func (d *document) find(f *family, k key) int {
	begins := func(i int) int { return d.compare(f.chunks[i].lines[0].key, k) }
	if last := f.last; begins(last) <= 0 && (last+1 == len(f.chunks) || begins(last+1) > 0) {
		return last
	}
	from, to := 0, len(f.chunks) // of those before from it is known that they begin at or before k
	for from < to {
		if middle := (from + to) / 2; begins(middle) <= 0 {
			from = middle + 1
		} else {
			to = middle
		}
	}
	f.last = max(from-1, 0)
	return f.last
}

func (d *document) search(c *chunk, k key) (at int, found bool) {
	if d.compare(c.lines[len(c.lines)-1].key, k) < 0 { // as when keys come in order
		return len(c.lines), false
	}
	return slices.BinarySearchFunc(c.lines, k, func(l line, k key) int { return d.compare(l.key, k) })
}

// makeRoom makes sure that a line can be inserted into the i-th chunk of a family, and
// returns where. A full chunk is halved; but what comes at its end begins a new one, so
// that keys that come in order leave full chunks behind.
func (d *document) makeRoom(c *chunk, i, at int) (*chunk, int) {
	f := c.family
	if len(c.lines) < f.maxLines() {
		return c, at
	}
	behind := d.newChunk(f, i+1)
	if at == len(c.lines) {
		f.last = i + 1
		return behind, 0
	}
	half := len(c.lines) / 2
	behind.lines = slices.Clone(c.lines[half:])
	c.lines = slices.Clone(c.lines[:half])
	c.changed()
	for i := range behind.lines {
		*d.chunkOf.at(behind.lines[i].id) = behind.number
	}
	if at <= half {
		return c, at
	}
	return behind, at - half
}

func (f *family) maxLines() int {
	if f.kind == counter {
		return maxCounters
	}
	return maxHistograms
}

func (d *document) newChunk(f *family, i int) *chunk {
	c := &chunk{number: uint32(len(d.chunks)), family: f}
	d.chunks = append(d.chunks, c)
	f.chunks = slices.Insert(f.chunks, i, c)
	return c
}

// whereIs returns where a line is by now.
func (d *document) whereIs(id uint32) (*chunk, *line) {
	c := d.chunks[*d.chunkOf.at(id)]
	for i := range c.lines {
		if c.lines[i].id == id {
			return c, &c.lines[i]
		}
	}
	panic("exposition: a line is not in its chunk")
}

// A paged list grows without being copied: while it grows, jobs may be waiting.
type paged[T any] struct {
	pages []*[pageSize]T
	len   int
}

const pageSize = 1 << 12

func (p *paged[T]) at(i uint32) *T { return &p.pages[i/pageSize][i%pageSize] }

func (p *paged[T]) add(v T) {
	if p.len == len(p.pages)*pageSize {
		p.pages = append(p.pages, new([pageSize]T))
	}
	p.len++
	*p.at(uint32(p.len - 1)) = v
}

// take returns all as one list, and leaves nothing.
func (p *paged[T]) take() []T {
	list := make([]T, 0, p.len)
	for i := range p.len {
		list = append(list, *p.at(uint32(i)))
	}
	if p.len > pageSize {
		p.pages = nil
	}
	p.len = 0
	return list
}
