package rollup

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
)

// A snapshot is the roll-ups at one moment, as far as a scan needs them.
type snapshot struct {
	*Scan
	rollups  *Rollups
	symbols  *symbols
	asOf     int64
	clock    uint64
	prunings int
	gathered []Part // from what is in no block yet
	days     []scanDay
}

// A scanDay is a day of a scan.
type scanDay struct {
	Day
	slots Range
	whole int     // the range that has all of the day; -1: ranges cut it
	moves uint64  // of the cache, when the snapshot was taken
	views []*View // of a whole day
	parts []Part  // of one that is cut
	ready bool    // nothing has to be read
}

// few is how many rows are divided while other rows wait to be applied.
const few = 256

func (r *Rollups) snapshot(q *Scan) *snapshot {
	s := &snapshot{Scan: q, rollups: r}
	var g gathered
	for last := Slot(-1); !r.take(s, last, &g); {
		last = r.lastSlot()
		s.days = q.daysOf(r.calendar, last)
	}
	for _, k := range g.pending { // by day, so that most are passed by
		if !s.needs(k) || g.settled[k] {
			continue
		}
		for _, m := range g.frozen {
			s.gathered = append(s.gathered, q.cut(k, m[k])...)
		}
	}
	for _, m := range g.before {
		s.gathered = append(s.gathered, s.cutAll(m)...)
	}
	return s
}

// gathered is what is in no block yet, and does not change any more.
type gathered struct {
	frozen, before []map[Key]cells
	pending        []Key
	settled        map[Key]bool
}

// take takes a snapshot for days that were found out by the last slot. It is false if there
// is a later one by now.
func (r *Rollups) take(s *snapshot, last Slot, g *gathered) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last != r.head.Last {
		return false
	}
	r.limitSymbols()
	s.symbols, s.clock, s.prunings = r.symbols, r.cache.clock, r.prunings
	s.asOf = r.applied
	for i := range s.days {
		d := &s.days[i]
		d.moves = r.cache.moves[d.Day]
		if s.Failures {
			d.whole = -1
		}
		if d.whole >= 0 {
			d.views = r.cache.get(d.Day)
			d.ready = d.views != nil
		}
	}
	if r.recent > few {
		r.before, r.active, r.recent = append(r.before, r.active), map[Key]cells{}, 0
	} else {
		s.gathered = s.cutAll(r.active)
	}
	g.frozen, g.before, g.pending, g.settled = r.frozen, slices.Clone(r.before), r.pending, maps.Clone(r.settled)
	return true
}

func (r *Rollups) lastSlot() Slot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.head.Last
}

func (s *snapshot) cutAll(m map[Key]cells) (parts []Part) {
	for k, cs := range m {
		if s.needs(k) {
			parts = append(parts, s.cut(k, cs)...)
		}
	}
	return parts
}

func (s *snapshot) needs(k Key) bool { return s.wants(k.Template) && s.hasDay(k.Day) }

func (s *snapshot) hasDay(d Day) bool {
	_, found := slices.BinarySearchFunc(s.days, d, func(s scanDay, d Day) int { return cmp.Compare(s.Day, d) })
	return found
}

// loaders is how many days are read at a time.
const loaders = 2

// load calls f with every day in order, when it was read if it has to be. It fails with
// errMoved if blocks were being stored meanwhile.
func (s *snapshot) load(ctx context.Context, from Loader, f func(*scanDay) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	loaded := make([]chan error, len(s.days))
	turns := make(chan struct{}, loaders)
	for i := range s.days {
		if !s.days[i].ready {
			loaded[i] = make(chan error, 1)
		}
	}
	go func() {
		for i := range s.days {
			if loaded[i] == nil {
				continue
			}
			select {
			case turns <- struct{}{}:
			case <-ctx.Done():
				loaded[i] <- ctx.Err()
				continue
			}
			go func() { loaded[i] <- s.read(ctx, from, &s.days[i]) }()
		}
	}()
	var failed error
	for i := range s.days {
		if loaded[i] != nil {
			err := <-loaded[i] // all of them, for they use what is the caller's
			if !errors.Is(err, context.Canceled) || failed == nil {
				failed = cmp.Or(failed, err)
			}
			select {
			case <-turns:
			default: // it had none, for all was over
			}
		}
		if failed == nil {
			failed = f(&s.days[i])
		}
		if failed != nil {
			cancel()
		}
	}
	return failed
}

// read reads a day from the store, and keeps it if it is a whole one.
func (s *snapshot) read(ctx context.Context, from Loader, d *scanDay) error {
	if d.whole >= 0 {
		return s.readWhole(ctx, from, d)
	}
	var blocks seen
	err := from.Blocks(ctx, d.Day, s.Template, true, func(b *Block) error {
		blocks.add(b)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		parts, err := s.cutBlock(b, s.symbols)
		d.parts = append(d.parts, parts...)
		return err
	})
	if err != nil {
		return err
	}
	s.rollups.mu.Lock()
	defer s.rollups.mu.Unlock()
	return s.unmoved(d, blocks)
}

func (s *snapshot) readWhole(ctx context.Context, from Loader, d *scanDay) error {
	views := []*View{} // not nil, also if there are none
	var blocks seen
	err := from.Blocks(ctx, d.Day, "", false, func(b *Block) error {
		blocks.add(b)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		v, err := seal(b, s.symbols)
		views = append(views, v)
		return err
	})
	if err != nil {
		return err
	}
	r := s.rollups
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := s.unmoved(d, blocks); err != nil {
		return err
	}
	d.views = views
	if s.symbols == r.symbols {
		r.cache.put(d.Day, views, s.clock)
	}
	return nil
}

// seen are blocks that were read, with the number of the last row in them.
type seen []struct {
	template string
	upTo     int64
}

func (s *seen) add(b *Block) {
	*s = append(*s, struct {
		template string
		upTo     int64
	}{b.Template, b.UpTo})
}

// unmoved fails if blocks of a day were stored since the snapshot was taken, or pruned, or
// are stored without that being said yet, because it was not, or seemed to fail.
func (s *snapshot) unmoved(d *scanDay, blocks seen) error {
	r := s.rollups
	if r.cache.moves[d.Day] != d.moves || s.prunings < r.prunings && d.Day < r.pruned {
		return errMoved
	}
	var err error
	for _, b := range blocks {
		k := Key{d.Day, b.template}
		if b.upTo >= r.saving && !r.settled[k] && slices.Contains(r.pending, k) {
			r.settled[k] = true
			r.cache.moves[d.Day]++ // other scans may have begun with what is settled now
			r.cache.drop(d.Day)
			err = errMoved
		}
	}
	return err
}
