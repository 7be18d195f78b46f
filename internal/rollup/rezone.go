package rollup

import (
	"iter"
	"slices"
)

// Rezone makes blocks of the days of another time zone: exactly, for those of all zones
// are made of whole slots. from has all blocks, by day in ascending order; put is called
// with the new ones in the same order. A block's jobs move by two days at most.
func Rezone(from iter.Seq2[*Block, error], to Calendar, put func(*Block) error) error {
	const furthest = 2
	z := rezoner{symbols: newSymbols(), to: to, days: map[Day]map[string]*rezoned{}, put: put}
	for b, err := range from {
		if err != nil {
			return err
		}
		if err := z.finish(b.Day - furthest); err != nil {
			return err
		}
		if err := z.add(b); err != nil {
			return err
		}
	}
	return z.finish(1<<31 - 1)
}

type rezoner struct {
	symbols *symbols
	to      Calendar
	days    map[Day]map[string]*rezoned // by template
	put     func(*Block) error
}

type rezoned struct {
	cells cells
	upTo  int64
}

func (z *rezoner) add(b *Block) error {
	cs, err := decode(b, z.symbols)
	if err != nil {
		return err
	}
	for k, c := range cs {
		for i := range c.slots {
			into := z.block(z.to.DayOf(c.slots[i].slot), b.Template)
			into.upTo = max(into.upTo, b.UpTo)
			one := cell{slots: c.slots[i : i+1 : i+1]}
			into.cells.at(k).merge(&one)
		}
	}
	return nil
}

func (z *rezoner) block(d Day, template string) *rezoned {
	if z.days[d] == nil {
		z.days[d] = map[string]*rezoned{}
	}
	b := z.days[d][template]
	if b == nil {
		b = &rezoned{cells: cells{}}
		z.days[d][template] = b
	}
	return b
}

// finish puts the blocks of all days before one.
func (z *rezoner) finish(before Day) error {
	var days []Day
	for d := range z.days {
		if d < before {
			days = append(days, d)
		}
	}
	slices.Sort(days)
	for _, d := range days {
		for template, b := range z.days[d] {
			block := encode(Key{d, template}, b.upTo, b.cells, z.symbols.all())
			if err := z.put(&block); err != nil {
				return err
			}
		}
		delete(z.days, d)
	}
	return nil
}
