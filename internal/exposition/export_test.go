package exposition

// For tests: what can't be seen from outside.
var (
	JoinChecksum = joinChecksum
	CRCShift     = crcShift
)

// Kept returns how many bytes of renderings are kept.
func (e *Exposition) Kept() (n int) {
	e.turn <- struct{}{}
	defer func() { <-e.turn }()
	for _, f := range e.doc.families {
		pieces := f.heads[:]
		for _, c := range f.chunks {
			pieces = append(pieces, c.pieces[:]...)
		}
		for _, p := range pieces {
			if p != nil {
				n += cap(p.buf)
			}
		}
	}
	return n
}

// Occupy is a scrape that takes long to render.
func (e *Exposition) Occupy() (end func()) {
	e.turn <- struct{}{}
	return func() { <-e.turn }
}
