package rollup

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// A Loader reads blocks from the store.
type Loader interface {
	// Blocks hands over the stored blocks of a day, by template in ascending order of
	// bytes; only that of the given template unless it is empty; without Slots unless
	// they are asked for. What is handed over is the caller's. An error of take ends it
	// and is returned.
	Blocks(ctx context.Context, day Day, template string, slots bool, take func(*Block) error) error
}

// A Scan is what to go over.
type Scan struct {
	// Ranges are times, ascending and without overlaps.
	Ranges []Range
	// Template, if not empty, is the only one.
	Template string
	// Failures asks for the numbers of failed jobs. Every day is read from the store then.
	Failures bool
}

// A Part is what a View has of one of a Scan's ranges. Several parts can be of one
// template, day and range.
type Part struct {
	*View
	Range    int // index
	Failures []Failure
}

// A Failure is a failed job of a Part.
type Failure struct {
	Cell int   // index
	Slot Slot  // in which it finished
	Row  int64 // its number in the ledger
}

// AsOf says as of when an answer is.
type AsOf struct {
	Row  int64 // number of the last job that is in it, as is every one before
	Time time.Time
}

// Texts are the projects and versions of cells. It is for one goroutine.
type Texts struct {
	symbols *symbols
	known   []string
}

// At is the text with a number.
func (t *Texts) At(number uint32) string {
	if int(number) >= len(t.known) {
		t.known = t.symbols.all()
	}
	return t.known[number]
}

// attempts is how often a scan is tried anew, when blocks that it read were being stored.
const attempts = 100

// errMoved says that blocks that were read were being stored meanwhile.
var errMoved = errors.New("the roll-ups moved on")

// Scan goes over all jobs in some ranges, as of one row. It calls begin, and what begin
// returns with every part; that may come to nothing, if the store moves on meanwhile, and
// then begins anew. Parts come in no particular order, from one goroutine.
func (r *Rollups) Scan(ctx context.Context, from Loader, q Scan, begin func(*Texts) func(Part)) (AsOf, error) {
	for i := range attempts {
		asOf, err := r.tryScan(ctx, from, q, begin)
		if !errors.Is(err, errMoved) {
			return asOf, err
		}
		select {
		case <-ctx.Done():
			return AsOf{}, ctx.Err()
		case <-time.After(min(time.Duration(i+1)*time.Millisecond, 20*time.Millisecond)):
		}
	}
	return AsOf{}, errMoved
}

func (r *Rollups) tryScan(ctx context.Context, from Loader, q Scan, begin func(*Texts) func(Part)) (AsOf, error) {
	s := r.snapshot(&q)
	visit := begin(&Texts{symbols: s.symbols})
	for _, p := range s.gathered {
		visit(p)
	}
	err := s.load(ctx, from, func(d *scanDay) error {
		for _, v := range d.views {
			if q.wants(v.Template) {
				visit(Part{View: v, Range: d.whole})
			}
		}
		for _, p := range d.parts {
			visit(p)
		}
		d.views, d.parts = nil, nil // the cache has what it keeps
		return ctx.Err()
	})
	return s.asOf, err
}

func (q *Scan) wants(template string) bool { return q.Template == "" || q.Template == template }

// A snapshot is the roll-ups at one moment, as far as a scan needs them.
type snapshot struct {
	*Scan
	rollups  *Rollups
	symbols  *symbols
	asOf     AsOf
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
	s.asOf = AsOf{r.applied, time.Now().UTC()}
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

// daysOf are the days that the ranges touch, ascending. Behind the last slot there are no
// jobs, so that a range that ends there has all of its day.
func (q *Scan) daysOf(c Calendar, last Slot) (days []scanDay) {
	for i, r := range q.Ranges {
		if r.From >= r.To {
			continue
		}
		for d, end := c.DayOf(r.From), c.DayOf(min(r.To-1, max(last, r.From))); d <= end; d++ {
			if n := len(days); n > 0 && days[n-1].Day == d {
				days[n-1].whole = -1
				continue
			}
			day := scanDay{Day: d, slots: c.Slots(d), whole: -1}
			if r.From <= day.slots.From && (day.slots.To <= r.To || last < r.To) {
				day.whole = i
			}
			days = append(days, day)
		}
	}
	return days
}

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

// unmoved fails if blocks of a day were being stored since the snapshot was taken, or
// before that by a try that seemed to fail, or were pruned.
func (s *snapshot) unmoved(d *scanDay, blocks seen) error {
	r := s.rollups
	if r.cache.moves[d.Day] != d.moves || r.cache.moving[d.Day] > 0 || s.prunings < r.prunings && d.Day < r.pruned {
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

// limitSymbols begins them anew when they take as much memory as the views may: versions
// can be as many as jobs.
func (r *Rollups) limitSymbols() {
	if r.symbols.bytes() < r.cache.limit/2 {
		return
	}
	old := r.symbols.all()
	r.symbols = newSymbols()
	r.cache.clear()
	r.active = r.renumber(r.active, old)
	for _, list := range [...]*[]map[Key]cells{&r.before, &r.frozen} {
		renumbered := make([]map[Key]cells, len(*list)) // the old ones are being read
		for i, m := range *list {
			renumbered[i] = r.renumber(m, old)
		}
		*list = renumbered
	}
}

func (r *Rollups) renumber(gathered map[Key]cells, texts []string) map[Key]cells {
	if gathered == nil {
		return nil
	}
	anew := make(map[Key]cells, len(gathered))
	for k, cs := range gathered {
		anew[k] = make(cells, len(cs))
		for ck, c := range cs {
			ck.project, ck.version = r.symbols.number(texts[ck.project]), r.symbols.number(texts[ck.version])
			anew[k][ck] = c
		}
	}
	return anew
}
