package rollup

import "slices"

// A cutter divides what a block's cells counted among the ranges of a scan.
type cutter struct {
	scan  *Scan
	key   Key
	parts []Part // by range; without a View as long as there is nothing
	cell  cellKey
	at    int // the range that sum is of
	sum   counted
}

// cut divides cells.
func (q *Scan) cut(k Key, cs cells) []Part {
	c := cutter{scan: q, key: k, parts: make([]Part, len(q.Ranges))}
	for ck, cell := range cs {
		c.begin(ck)
		for i := range cell.slots {
			c.add(&cell.slots[i])
		}
	}
	return c.end()
}

// cutBlock divides a stored block, without making cells of it: questions by the hour read
// many.
func (q *Scan) cutBlock(b *Block, symbols *symbols) ([]Part, error) {
	v, err := seal(b, symbols)
	if err != nil {
		return nil, err
	}
	c := cutter{scan: q, key: b.Key, parts: make([]Part, len(q.Ranges))}
	before := -1
	err = v.eachSlot(b, func(i int, s *slotted) {
		if i != before {
			before = i
			c.begin(cellKey{v.Cells[i].Project, v.Cells[i].Version, v.Cells[i].Status})
		}
		c.add(s)
	})
	return c.end(), err
}

// begin says of which cell the next slots are.
func (c *cutter) begin(k cellKey) {
	c.flush()
	c.cell, c.at = k, 0
}

// add takes the next slot, in ascending order.
func (c *cutter) add(s *slotted) {
	ranges := c.scan.Ranges
	if c.at < len(ranges) && ranges[c.at].To <= s.slot {
		c.flush()
		for c.at < len(ranges) && ranges[c.at].To <= s.slot {
			c.at++
		}
	}
	if c.at == len(ranges) || s.slot < ranges[c.at].From {
		return
	}
	c.sum.add(&s.counted)
	if c.scan.Failures {
		p := &c.parts[c.at]
		cell := 0 // the one that flush will add
		if p.View != nil {
			cell = len(p.Cells)
		}
		for _, row := range s.rows {
			p.Failures = append(p.Failures, Failure{cell, s.slot, row})
		}
	}
}

// flush adds what was counted of a cell in a range.
func (c *cutter) flush() {
	if c.sum.count == 0 {
		return
	}
	p := &c.parts[c.at]
	if p.View == nil {
		p.View, p.Range = newBuilder(c.key).view, c.at
	}
	builder{p.View}.add(c.cell, &c.sum)
	c.sum = counted{buckets: c.sum.buckets[:0]}
}

// end returns the parts that have jobs.
func (c *cutter) end() []Part {
	c.flush()
	return slices.DeleteFunc(c.parts, func(p Part) bool { return p.View == nil })
}
