package exposition

import "slices"

// A piece is a part of a document as it is sent. While documents are being written
// nothing in it changes but stale.
type piece struct {
	buf   []byte // as lines or messages, or deflated
	stale bool   // what it shows has changed

	// Of a deflated one:
	length uint32 // of what was deflated
	crc    uint32 // of what was deflated
	shift  uint32 // see crcShift
}

// A slot says in which form a piece is: a shape, as it is or deflated.
type slot int

const slots = slot(shapes) * 2

// A shape is what formats have in common that are written alike.
type shape int

const (
	textShape shape = iota
	openMetricsShape
	protobufShape
	shapes
)

func slotOf(s shape, gzip bool) slot {
	if gzip {
		return slot(s) + slot(shapes)
	}
	return slot(s)
}

func (s slot) deflated() bool { return s >= slot(shapes) }
func (s slot) shape() shape   { return shape(s % slot(shapes)) }

// of is the slot of a family's series: the lines of counters are the same in text and
// in OpenMetrics.
func (s slot) of(k kind) slot {
	if k == counter && s.shape() == openMetricsShape {
		return slotOf(textShape, s.deflated())
	}
	return s
}

// A press renders pieces, one at a time; it is the memory for that.
type press struct {
	plain    []byte
	part     []byte
	indexes  []int
	deflater deflater
}

// chunkPiece returns a chunk as it is sent, rendered anew if it has changed.
func (e *Exposition) chunkPiece(c *chunk, s slot) *piece {
	s = s.of(c.family.kind)
	if p := c.pieces[s]; p != nil && !p.stale {
		return p
	}
	e.press.plain = e.appendChunk(e.press.plain[:0], c, s.shape())
	c.pieces[s] = e.press.print(e.writable(c.pieces[s]), s)
	return c.pieces[s]
}

// headPiece returns the declaration of a family whose series have the given size.
func (e *Exposition) headPiece(f *family, s slot, size int) *piece {
	if s.shape() != protobufShape {
		size = 0
	}
	if p := f.heads[s]; p != nil && !p.stale && f.sizes[s] == size {
		return p
	}
	f.sizes[s] = size
	if s.shape() == protobufShape {
		e.press.plain = appendFamily(e.press.plain[:0], f, size)
	} else {
		e.press.plain = e.doc.appendHead(e.press.plain[:0], f, s.shape())
	}
	p := e.writable(f.heads[s])
	if s.deflated() {
		e.press.part = appendStored(e.press.part[:0], e.press.plain)
		p.fill(e.press.part)
		p.sum(e.press.plain)
	} else {
		p.fill(e.press.plain)
	}
	f.heads[s] = p
	return p
}

func (e *Exposition) appendChunk(b []byte, c *chunk, s shape) []byte {
	switch {
	case s == protobufShape:
		return e.appendMetrics(b, c)
	case c.family.kind == counter:
		return e.doc.appendCounters(b, c)
	default:
		return e.appendHistograms(b, c, s)
	}
}

// print makes a piece of what is in plain.
func (pr *press) print(p *piece, s slot) *piece {
	if s.deflated() {
		pr.part = pr.deflater.append(pr.part[:0], pr.plain)
		p.fill(pr.part)
		p.sum(pr.plain)
	} else {
		p.fill(pr.plain)
	}
	return p
}

// writable returns the piece itself if nobody is sending it. Otherwise it is left to
// those who are, and there is a new one.
func (e *Exposition) writable(p *piece) *piece {
	if p == nil || e.views.Load() > 0 {
		return &piece{}
	}
	return p
}

// slack is room for numbers that get longer, beside a 32nd. Without it every tenth job
// of a counter would cost a new buffer, and append would make that a quarter too large.
const slack = 16

func (p *piece) fill(b []byte) {
	if cap(p.buf) < len(b) {
		p.buf = slices.Grow([]byte(nil), len(b)+len(b)/32+slack)
	}
	p.buf = append(p.buf[:0], b...)
	p.length = uint32(len(b))
	p.stale = false
}

// sum says what a deflated piece is of.
func (p *piece) sum(plain []byte) {
	p.length = uint32(len(plain))
	p.crc, p.shift = checksum(plain), crcShift(len(plain))
}

// release drops what nobody asked for lately.
func (d *document) release(asked *[slots]bool) {
	var keep [2][slots]bool // by kind
	for s, wanted := range asked {
		if wanted {
			keep[counter][slot(s).of(counter)] = true
			keep[histogram][s] = true
		}
	}
	for _, f := range d.families {
		drop(&f.heads, asked)
		for _, c := range f.chunks {
			drop(&c.pieces, &keep[f.kind])
		}
	}
}

func drop(pieces *[slots]*piece, keep *[slots]bool) {
	for s := range pieces {
		if !keep[s] {
			pieces[s] = nil
		}
	}
}
