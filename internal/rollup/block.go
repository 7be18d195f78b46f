package rollup

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"ci-jobs-metrics/internal/job"
)

// A Block is what a store keeps of one template and day.
//
// Cells has, for each project, version and status, what the whole day counted; Slots has
// the same cells in the same order, by quarters of an hour, with the numbers of failed
// jobs. Most questions need only the first, which is a third of it.
//
//	Cells = format texts cells
//	texts = n (length bytes)...            of projects and versions
//	cells = n (project version status counted)...
//	Slots = format (n (distance counted rows)...)...
//	counted = jobs timed [microseconds buckets] [again [wasted]]
//
// All numbers are varints. A slot is the distance to the one before, in its cell.
type Block struct {
	Key
	UpTo         int64 // number of the last job of the ledger that it has seen
	Jobs         int64 // how many it holds
	Cells, Slots []byte
}

// A Key names a block.
type Key struct {
	Day      Day
	Template string
}

// format is the first byte of both parts: how they are written.
const format = 1

// encode writes cells as a block.
func encode(k Key, upTo int64, cs cells, texts []string) Block {
	keys := cs.sorted(texts)
	b := Block{Key: k, UpTo: upTo, Jobs: cs.jobs()}
	b.Cells, b.Slots = append(b.Cells, format), append(b.Slots, format)
	var references map[uint32]uint64
	b.Cells, references = appendTexts(b.Cells, keys, texts)
	b.Cells = binary.AppendUvarint(b.Cells, uint64(len(keys)))
	for _, k := range keys {
		c := cs[k]
		b.Cells = binary.AppendUvarint(b.Cells, references[k.project])
		b.Cells = binary.AppendUvarint(b.Cells, references[k.version])
		b.Cells = append(b.Cells, k.status)
		all := c.sum()
		b.Cells = all.append(b.Cells, k)
		b.Slots = binary.AppendUvarint(b.Slots, uint64(len(c.slots)))
		before := Slot(0)
		for i := range c.slots {
			s := &c.slots[i]
			b.Slots = binary.AppendUvarint(b.Slots, uint64(s.slot-before)) //nolint:gosec // ascending
			before = s.slot
			b.Slots = s.append(b.Slots, k)
			b.Slots = appendRows(b.Slots, s.rows, k)
		}
	}
	return b
}

// appendTexts writes the texts that keys need, and returns their places.
func appendTexts(to []byte, keys []cellKey, texts []string) ([]byte, map[uint32]uint64) {
	references := map[uint32]uint64{}
	var order []uint32
	for _, k := range keys {
		for _, symbol := range [...]uint32{k.project, k.version} {
			if _, ok := references[symbol]; !ok {
				references[symbol] = uint64(len(order))
				order = append(order, symbol)
			}
		}
	}
	to = binary.AppendUvarint(to, uint64(len(order)))
	for _, symbol := range order {
		to = binary.AppendUvarint(to, uint64(len(texts[symbol])))
		to = append(to, texts[symbol]...)
	}
	return to, references
}

func (c *counted) append(to []byte, k cellKey) []byte {
	to = binary.AppendUvarint(to, uint64(c.count))
	to = binary.AppendUvarint(to, uint64(c.timed))
	if c.timed > 0 {
		to = binary.AppendUvarint(to, uint64(c.micros)) //nolint:gosec // durations are not negative
		to = appendBuckets(to, c.buckets, uint64(c.timed))
	}
	if job.Statuses[k.status] == job.Success {
		to = binary.AppendUvarint(to, uint64(c.again))
		if c.again > 0 {
			to = binary.AppendUvarint(to, uint64(c.wasted)) //nolint:gosec // likewise
		}
	}
	return to
}

// appendRows writes the numbers of failed jobs: as many as were counted.
func appendRows(to []byte, rows []int64, k cellKey) []byte {
	if !k.isFailure() {
		return to
	}
	before := int64(0)
	for _, row := range rows {
		to = binary.AppendUvarint(to, uint64(row-before)) //nolint:gosec // ascending
		before = row
	}
	return to
}

// decode reads a block, both parts. Its error says that the block is damaged.
func decode(b *Block, s *symbols) (cells, error) {
	v, err := seal(b, s)
	if err != nil {
		return nil, err
	}
	cs := make(cells, len(v.Cells))
	err = v.eachSlot(b, func(i int, at *slotted) {
		c := &v.Cells[i]
		into := cs.at(cellKey{c.Project, c.Version, c.Status})
		own := *at
		own.buckets, own.rows = slices.Clone(at.buckets), slices.Clone(at.rows)
		into.slots = append(into.slots, own)
	})
	return cs, err
}

// A reader reads varints, until something is not as it was written.
type reader struct {
	b   []byte
	at  int
	err error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%s at byte %d", what, r.at)
	}
}

// number reads a number up to a limit.
func (r *reader) number(limit uint64) uint64 {
	if r.err != nil {
		return 0
	}
	if r.at < len(r.b) && r.b[r.at] < 0x80 { // most
		n := uint64(r.b[r.at])
		if n > limit {
			r.fail("a number that is too large")
			return 0
		}
		r.at++
		return n
	}
	n, size := binary.Uvarint(r.b[min(r.at, len(r.b)):])
	if size <= 0 || n > limit {
		r.fail("a number that is too large or cut off")
		return 0
	}
	r.at += size
	return n
}

func (r *reader) signed() int64 {
	n := r.number(math.MaxUint64)
	return int64(n>>1) ^ -int64(n&1) //nolint:gosec // zigzag, as AppendVarint writes
}

func (r *reader) bytes(n uint64) []byte {
	if r.err == nil && n > uint64(len(r.b)-r.at) {
		r.fail("a text that is cut off")
	}
	if r.err != nil {
		return nil
	}
	r.at += int(n) //nolint:gosec // at most len(r.b)
	return r.b[r.at-int(n) : r.at]
}

// begin checks the format.
func (r *reader) begin() {
	if f := r.bytes(1); r.err == nil && f[0] != format {
		r.fail(fmt.Sprintf("format %d", f[0]))
	}
}

// length reads how many of something follow, each of a byte at least.
func (r *reader) length() int { return int(r.number(uint64(len(r.b) - min(r.at, len(r.b))))) }

// counted reads what counted.append wrote, and what is needed of the buckets: where they
// begin. They are read too if into is not nil.
func (r *reader) counted(c *counted, status uint8, into *[]bucket) (bucketsAt int) {
	c.count = uint32(r.number(math.MaxUint32))
	c.timed = uint32(r.number(uint64(c.count)))
	bucketsAt = r.at
	if c.timed > 0 {
		c.micros = int64(r.number(math.MaxInt64))
		bucketsAt = r.at
		r.buckets(uint64(c.timed), into)
	}
	if job.Statuses[status] == job.Success {
		if c.again = uint32(r.number(uint64(c.count))); c.again > 0 {
			c.wasted = int64(r.number(math.MaxInt64))
		}
	}
	return bucketsAt
}

func (r *reader) buckets(sum uint64, into *[]bucket) {
	index := int64(usualIndex)
	for sum > 0 && r.err == nil {
		index += r.signed()
		n := uint64(1)
		if sum > 1 {
			n = r.number(sum)
		}
		if index < zeroIndex || index > maxIndex || n == 0 {
			r.fail("a bucket that is none")
			return
		}
		sum -= n
		if into != nil {
			*into = append(*into, bucket{int16(index), uint32(n)}) //nolint:gosec // within limits
		}
	}
}

// maxIndex is above the bucket of job.MaxDuration.
const maxIndex = 255
