// Package rollup is the fold behind the KPI: how many jobs there were of each template,
// project, version and status, by quarters of an hour, with how long they took.
//
// Rows of the ledger come in through [Rollups.Apply], each once and in row order. They
// gather in memory, as cells of a template and day. Every minute or so the ledger's writer
// merges what has gathered into the [Block]s that the store keeps, a few at a time
// ([Rollups.Begin] and the [Save] that it returns), and stores the number of the last row
// in them; a start folds the rows behind it. A block remembers by itself which rows it has
// seen, so that a crash between two of them does no harm.
//
// [Rollups.Scan] answers questions: it goes over all blocks of a time, and over what is not
// in them yet, as of one row. Blocks of whole days are kept in memory in a compact form
// ([View]); days that a question cuts are read by quarters of an hour.
//
// Days are those of one time zone ([Calendar]). [Rezone] moves blocks to another.
//
// Jobs are where they finished, not where they were received, so a late report changes a
// past day. What the numbers mean is said by package kpi.
package rollup

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"ci-jobs-metrics/internal/job"
)

// Head is what a store keeps of the roll-ups beside their blocks.
type Head struct {
	UpTo   int64  // number of the last row that is in the blocks
	Since  int64  // number of the first row from which on all are
	Before int64  // how many are that came before: an older program pruned with gaps
	Pruned int64  // jobs of blocks that were past their retention
	Zone   string // whose days the blocks are
	Last   Slot   // the latest in which a job finished
	// Failures are the last failed jobs, of which the next row may be another try, as
	// retries.append writes them.
	Failures []byte
}

// Options say how Rollups work. The zero value of a field means its default.
type Options struct {
	Zone   *time.Location // whose days there are; default UTC
	Memory int            // how many bytes the views of days may take; default 256 MiB
}

// DefaultMemory is how many bytes the views of days may take: enough for 90 days of 20
// million jobs in a thousand projects.
const DefaultMemory = 256 << 20

// Rollups is the fold. Its methods may be called from several goroutines, those of a Save
// from one at a time.
type Rollups struct {
	mu       sync.Mutex
	calendar Calendar
	symbols  *symbols
	applied  int64 // number of the last row applied
	head     Head  // as it is stored
	retries  retries

	// Rows that are in no block yet. Those of frozen a Save is about, of which pending are
	// not stored; those of before came since, and of active last. Only active changes: a
	// question that needs many rows of it makes it one of before, to read it at leisure.
	frozen, before []map[Key]cells
	active         map[Key]cells
	pending        []Key
	settled        map[Key]bool // pending ones that are stored all the same, by a try that seemed to fail
	waiting        int          // rows in before and active
	recent         int          // rows in active
	saving         int64        // number of the last row in frozen

	prunings int
	pruned   Day // blocks before it were

	// skip, if not nil, says of which rows a block is not to be told, up to skipTo.
	skip   func(k Key, row int64) bool
	skipTo int64

	day    Day // of the last row, with its slots: the next one is nearly always of it too
	within Range

	cache cache
}

// New returns the fold of no rows.
func New(o Options) *Rollups {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.Memory == 0 {
		o.Memory = DefaultMemory
	}
	return &Rollups{
		calendar: NewCalendar(o.Zone),
		symbols:  newSymbols(),
		retries:  newRetries(),
		active:   map[Key]cells{},
		cache:    newCache(o.Memory),
	}
}

// Calendar says which days there are.
func (r *Rollups) Calendar() Calendar { return r.calendar }

// Load takes what a store has, before the first row is applied: the head, and the blocks
// that have seen rows behind it. Its error says that the head is damaged.
func (r *Rollups) Load(h Head, ahead map[Key]int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.head, r.applied = h, h.UpTo
	r.skip = func(k Key, row int64) bool { return row <= ahead[k] }
	if len(ahead) == 0 {
		r.skip = nil
	}
	for _, row := range ahead {
		r.skipTo = max(r.skipTo, row)
	}
	return r.retries.load(h.Failures)
}

// Apply adds the job of a row.
func (r *Rollups) Apply(row int64, j *job.Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if row <= r.applied { // it is in the blocks
		return
	}
	if h := &r.head; h.Since == 0 || row > r.applied+1 { // rows are missing that an older program pruned
		if h.Since > 0 {
			h.Before += r.applied - h.Since + 1
		}
		h.Since = row
	}
	r.applied = row
	slot := max(SlotOf(j.Finished), 0)
	r.head.Last = max(r.head.Last, slot)
	again, wasted := r.retries.see(j, slot)
	k := Key{r.dayOf(slot), j.Name}
	if r.skip != nil && r.skip(k, row) {
		return
	}
	cs := r.active[k]
	if cs == nil {
		cs = cells{}
		k.Template = strings.Clone(k.Template) // it may be part of a request that is long over
		r.active[k] = cs
	}
	r.waiting++
	r.recent++
	ck := cellKey{r.symbols.number(j.Project), r.symbols.number(j.Version), uint8(j.Status.Rank())} //nolint:gosec // one of six
	s := cs.at(ck).at(slot)
	s.count++
	if j.Timed {
		us := j.Duration.Microseconds()
		s.timed++
		s.micros += us
		s.buckets = observe(s.buckets, indexOf(us), 1)
	}
	if again {
		s.again++
		s.wasted += wasted
	}
	if ck.isFailure() {
		s.rows = append(s.rows, row)
	}
}

// dayOf is the calendar's, which takes a microsecond, unless it is the same day again.
func (r *Rollups) dayOf(s Slot) Day {
	if !r.within.Contains(s) {
		r.day = r.calendar.DayOf(s)
		r.within = r.calendar.Slots(r.day)
	}
	return r.day
}

// Stats are numbers about the roll-ups' own size.
type Stats struct {
	Applied int64 // number of the last row
	Waiting int   // rows that no Save was begun for
	Pruned  int64 // jobs of blocks past their retention: the one thing beside rows that changes what Scan finds
	Cached  int   // bytes of views in memory
	Ahead   bool  // whether a crash left blocks that have seen rows behind the stored head
}

// Stats returns the current numbers.
func (r *Rollups) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Stats{Applied: r.applied, Waiting: r.waiting, Pruned: r.head.Pruned,
		Cached: r.cache.size + r.symbols.bytes(), Ahead: r.skip != nil}
}

// A Save brings the stored blocks to the row that was the last when it was begun.
type Save struct {
	rollups *Rollups
	head    Head
	keys    []Key // of blocks that are not stored yet
}

// Begin begins a Save; nil if there is nothing to be saved. There is one at a time, until
// its Head is Stored.
func (r *Rollups) Begin() *Save {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.applied == r.head.UpTo && r.head.Zone != "" {
		return nil
	}
	r.limitSymbols()
	s := &Save{rollups: r, head: r.head}
	s.head.UpTo, s.head.Zone = r.applied, r.calendar.Zone().String()
	s.head.Failures = r.retries.append(nil)
	r.frozen, r.saving = slices.Concat(r.before, []map[Key]cells{r.active}), r.applied
	r.before, r.active, r.waiting, r.recent = nil, map[Key]cells{}, 0, 0
	keys := map[Key]bool{}
	for _, gathered := range r.frozen {
		for k := range gathered {
			keys[k] = true
		}
	}
	s.keys = slices.Collect(maps.Keys(keys))
	slices.SortFunc(s.keys, func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Template, b.Template))
	})
	r.pending, r.settled = s.keys, map[Key]bool{}
	return s
}

// Keys are the blocks that are not stored yet, by day and template.
func (s *Save) Keys() []Key { return s.keys }

// A Merged is a block with what had gathered for it.
type Merged struct {
	Block
	Stored  bool // it was stored already, by a try that seemed to fail
	view    *View
	symbols *symbols // of the view
}

// Merge adds what has gathered for one of Keys to the block that the store has of it,
// which is nil if it has none. Its error says that that one is damaged.
func (s *Save) Merge(k Key, stored *Block) (*Merged, error) {
	s.rollups.mu.Lock()
	frozen := s.rollups.frozen // nobody changes it any more
	m := &Merged{symbols: s.rollups.symbols}
	s.rollups.mu.Unlock()
	if stored != nil && stored.UpTo >= s.head.UpTo {
		m.Block, m.Stored = *stored, true
	} else {
		all := cells{}
		if stored != nil {
			var err error
			if all, err = decode(stored, m.symbols); err != nil {
				return nil, err
			}
		}
		for _, gathered := range frozen {
			all.merge(gathered[k])
		}
		m.Block = encode(k, s.head.UpTo, all, m.symbols.all())
	}
	var err error
	m.view, err = seal(&m.Block, m.symbols)
	return m, err
}

// Stored says how it came out to store blocks, the first of Keys. After an error they still
// are Keys, and are to be merged with what is stored by then. A scan that reads a block
// before this is said knows it by its UpTo.
func (s *Save) Stored(blocks []*Merged, err error) {
	r := s.rollups
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range blocks {
		r.cache.moves[m.Day]++
		if err != nil {
			continue
		}
		if m.symbols == r.symbols {
			r.cache.replace(m.view)
		} else {
			r.cache.drop(m.Day)
		}
	}
	if err == nil {
		s.keys = s.keys[len(blocks):]
		r.pending = s.keys
	}
}

// Head is what to store when all blocks are.
func (s *Save) Head() Head { return s.head }

// End says that the head is stored.
func (s *Save) End() {
	r := s.rollups
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen, r.pending = nil, nil
	r.head.UpTo, r.head.Zone = s.head.UpTo, s.head.Zone
	if r.head.UpTo >= r.skipTo {
		r.skip = nil
	}
}

// Pruned says that the blocks before a day are no longer stored, and how many jobs they
// held.
func (r *Rollups) Pruned(before Day, jobs int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.head.Pruned += jobs
	r.prunings++
	r.pruned = max(r.pruned, before)
	for d := range r.cache.days {
		if d < before {
			r.cache.drop(d)
		}
	}
}
