package rollup

import (
	"context"
	"errors"
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

// Scan goes over all jobs in some ranges, as of one row, whose number it returns: that and
// every row before it is in. It calls begin, and what begin
// returns with every part; that may come to nothing, if the store moves on meanwhile, and
// then begins anew. Parts come in no particular order, from one goroutine.
func (r *Rollups) Scan(ctx context.Context, from Loader, q Scan, begin func(*Texts) func(Part)) (asOf int64, err error) {
	for i := range attempts {
		asOf, err = r.tryScan(ctx, from, q, begin)
		if !errors.Is(err, errMoved) {
			return asOf, err
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(min(time.Duration(i+1)*time.Millisecond, 20*time.Millisecond)):
		}
	}
	return 0, errMoved
}

func (r *Rollups) tryScan(ctx context.Context, from Loader, q Scan, begin func(*Texts) func(Part)) (asOf int64, err error) {
	s := r.snapshot(&q)
	visit := begin(&Texts{symbols: s.symbols})
	for _, p := range s.gathered {
		visit(p)
	}
	err = s.load(ctx, from, func(d *scanDay) error {
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
