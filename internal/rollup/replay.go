package rollup

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"ci-jobs-metrics/internal/job"
)

// A Replay makes the blocks anew from the rows that are there, to compare stored ones with
// them. It keeps them as a store does, so that millions of rows take tens of megabytes.
type Replay struct {
	rollups *Rollups
	head    Head
	blocks  map[Key]*Block
	rows    int64 // of those that head is about
}

// replayStep is how many rows gather before they are merged.
const replayStep = 50_000

// NewReplay returns a Replay of what a store has: ahead are blocks that have seen rows
// behind the head.
func NewReplay(h Head, zone *time.Location, ahead map[Key]int64) *Replay {
	p := &Replay{rollups: New(Options{Zone: zone}), head: h, blocks: map[Key]*Block{}}
	p.rollups.skip = func(k Key, row int64) bool { return row > max(h.UpTo, ahead[k]) }
	return p
}

// Add adds the job of a row, each row that is there once and in order.
func (p *Replay) Add(row int64, j *job.Job) error {
	if row <= p.head.UpTo {
		p.rows++
	}
	p.rollups.Apply(row, j)
	if p.rollups.Stats().Waiting < replayStep {
		return nil
	}
	return p.merge()
}

func (p *Replay) merge() error {
	save := p.rollups.Begin()
	if save == nil {
		return nil
	}
	skip := p.rollups.skip // which a Save that ends takes away
	keys := slices.Clone(save.Keys())
	for _, k := range keys {
		m, err := save.Merge(k, p.blocks[k])
		if err != nil {
			return err
		}
		p.blocks[k] = &m.Block
		save.Stored([]*Merged{m}, nil)
	}
	save.End()
	p.rollups.skip = skip
	return nil
}

// End merges what is left, and says whether all rows that the stored blocks have seen were
// there.
func (p *Replay) End() (complete bool, err error) {
	return p.rows == p.head.rows(), p.merge()
}

// Compare says in what a stored block differs from its replay; empty if it does not. If
// the rows were not complete it may hold more.
func (p *Replay) Compare(stored *Block, complete bool) string {
	replayed := p.blocks[stored.Key]
	delete(p.blocks, stored.Key)
	s := newSymbols()
	cs, err := decode(stored, s)
	if err != nil {
		return fmt.Sprintf("is damaged: %v", errors.Unwrap(err))
	}
	again := encode(stored.Key, stored.UpTo, cs, s.all())
	if !bytes.Equal(again.Cells, stored.Cells) || !bytes.Equal(again.Slots, stored.Slots) {
		return "contradicts itself: its days differ from its quarters of an hour"
	}
	switch {
	case replayed == nil && complete:
		return fmt.Sprintf("has %d jobs, but none of them is here", stored.Jobs)
	case replayed == nil:
		return ""
	case complete && stored.Jobs != replayed.Jobs:
		return fmt.Sprintf("has %d jobs, but there are %d", stored.Jobs, replayed.Jobs)
	case complete && (!bytes.Equal(stored.Cells, replayed.Cells) || !bytes.Equal(stored.Slots, replayed.Slots)):
		return "differs from what its jobs give"
	case complete:
		return ""
	}
	least, err := decode(replayed, s)
	if err == nil && !cs.cover(least) {
		return "has less than what those of its jobs give that are here"
	}
	return ""
}

// Rest are the blocks that Compare was not asked about, with their jobs.
func (p *Replay) Rest() []*Block {
	return slices.SortedFunc(maps.Values(p.blocks), func(a, b *Block) int { return int(a.Day - b.Day) })
}

// cover says whether cells have at least what others have.
func (cs cells) cover(o cells) bool {
	for k, c := range o {
		mine := cs[k]
		if mine == nil {
			return false
		}
		for i := range c.slots {
			if !mine.at(c.slots[i].slot).covers(&c.slots[i]) {
				return false
			}
		}
	}
	return true
}

func (s *slotted) covers(o *slotted) bool {
	if s.count < o.count || s.timed < o.timed || s.micros < o.micros || s.again < o.again || s.wasted < o.wasted {
		return false
	}
	for _, b := range o.buckets {
		at, found := slices.BinarySearchFunc(s.buckets, b.index, func(b bucket, i int16) int { return int(b.index) - int(i) })
		if !found || s.buckets[at].count < b.count {
			return false
		}
	}
	for _, row := range o.rows {
		if _, found := slices.BinarySearch(s.rows, row); !found {
			return false
		}
	}
	return true
}

// Contradiction says what can't be of all blocks together; empty if they add up. jobs is
// how many they hold, and ahead has what some have seen behind the head.
func (h *Head) Contradiction(jobs int64, ahead map[Key]int64) string {
	seen := h.rows()
	last := h.UpTo
	for _, row := range ahead {
		last = max(last, row)
	}
	if h.UpTo < 0 || h.Since < 0 || h.Pruned < 0 || h.Since > h.UpTo+1 || h.Before < 0 || h.Before > h.UpTo {
		return fmt.Sprintf("begin at job %d and end at job %d", h.Since, h.UpTo)
	}
	if jobs > math.MaxInt64-h.Pruned {
		return "hold more jobs than there can be"
	}
	if all := jobs + h.Pruned; all < seen || all > seen+last-h.UpTo {
		return fmt.Sprintf("hold %d jobs, and %d past their retention, but have seen %d", jobs, h.Pruned, seen)
	}
	return ""
}

// rows is how many rows the blocks have seen.
func (h *Head) rows() int64 {
	if h.Since == 0 {
		return 0
	}
	return h.Before + h.UpTo - h.Since + 1
}
