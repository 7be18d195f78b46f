package ledger

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"ci-jobs-metrics/internal/rollup"
)

const (
	// rollLook is how often it is looked whether they are to be stored, at least.
	rollLook = time.Second
	// rollAgain is when it is tried again after an error.
	rollAgain = 10 * time.Second
	// rollStep is how many bytes of blocks are stored at a time: some milliseconds that
	// jobs wait for.
	rollStep = 256 << 10
	// rollBlocks is how many blocks are.
	rollBlocks = 200
	// rollPause lets jobs through between two steps.
	rollPause = 10 * time.Millisecond
	// rollShare is how many times as long as storing took there is a pause after it.
	rollShare = 20
	// pruneBlocks is how many blocks are pruned at a time.
	pruneBlocks = 100
)

// A rolling is where the storing of the roll-ups has come to.
type rolling struct {
	save  *rollup.Save
	saved int64     // number of the last row in all stored blocks
	begun time.Time // the last save
	took  time.Duration
	// merging, if not nil, has the next step when it is ready.
	merging chan step
}

// Scan goes over the roll-ups: every job that Record acknowledged before the call is in
// them. See rollup.Rollups.Scan. It fails if the ledger can't be read.
func (l *Ledger) Scan(ctx context.Context, q rollup.Scan, begin func(*rollup.Texts) func(rollup.Part)) (asOf int64, err error) {
	if err := l.CatchUp(ctx); err != nil {
		return 0, err
	}
	asOf, err = l.rollups.Scan(ctx, l.store, q, begin)
	if err != nil {
		err = fmt.Errorf("reading the roll-ups: %w", err)
	}
	return asOf, err
}

// Applied is the number of the last job in the totals and roll-ups, all acknowledged ones
// before the call among them.
func (l *Ledger) Applied(ctx context.Context) (int64, error) {
	if err := l.CatchUp(ctx); err != nil {
		return 0, err
	}
	return l.rollups.Stats().Applied, nil
}

// Jobs returns the recorded jobs with the given numbers, in any order; not those that are
// past their retention.
func (l *Ledger) Jobs(ctx context.Context, numbers []int64) ([]Row, error) {
	rows, err := l.store.Jobs(ctx, numbers)
	if err != nil {
		err = fmt.Errorf("reading the ledger: %w", err)
	}
	return rows, err
}

// Calendar says which days KPI have.
func (l *Ledger) Calendar() rollup.Calendar { return l.rollups.Calendar() }

// loadRollups takes the stored roll-ups, which may be behind the totals or ahead of them:
// upTo becomes where to fold from.
func (l *Ledger) loadRollups(ctx context.Context, upTo int64) (int64, error) {
	head, ahead, err := l.store.LoadRollups(ctx)
	if err != nil {
		return 0, fmt.Errorf("loading the roll-ups: %w (if this comes again, %s)", err, Remedy)
	}
	if head.Zone != "" { // the tail belongs to the days of before; rezone changes them then
		o := l.opts.Rollups
		if o.Zone, err = rollup.LoadZone(head.Zone); err != nil {
			return 0, fmt.Errorf("the roll-ups have days of a time zone that is not known here: %w", err)
		}
		l.rollups = rollup.New(o)
	}
	if head.Zone == "" { // before the first block: whatever crashes, it is known whose days blocks are
		head.Zone = l.Calendar().Zone().String()
		if err := l.store.SaveRollups(ctx, head); err != nil {
			return 0, err
		}
	}
	if err := l.rollups.Load(head, ahead); err != nil {
		return 0, fmt.Errorf("%w: %s", err, Remedy)
	}
	l.rolling.saved = head.UpTo
	if head.UpTo < upTo {
		l.applied = head.UpTo
	}
	return l.applied, nil
}

// rezone moves the roll-ups to the days of another time zone, if the operator chose one.
func (l *Ledger) rezone(ctx context.Context) error {
	zone := l.opts.Rollups.Zone
	if zone == nil {
		zone = time.UTC
	}
	before := l.rollups.Calendar().Zone()
	if zone.String() == before.String() {
		return nil
	}
	if err := l.rollAll(ctx); err != nil {
		return fmt.Errorf("storing the roll-ups: %w", err)
	}
	head, _, err := l.store.LoadRollups(ctx)
	if err != nil {
		return err
	}
	l.opts.Logger.Warn("The time zone was changed: moving the roll-ups to its days. Every day that KPI have is another from now on", "from", before, "to", zone)
	head.Zone = zone.String()
	progress := reporter{logger: l.opts.Logger, what: "Moving the roll-ups to the days of another time zone", unit: "blocks"}
	err = l.store.Rezone(ctx, head, func(old iter.Seq2[*rollup.Block, error], put func(*rollup.Block) error) error {
		return rollup.Rezone(old, rollup.NewCalendar(zone), func(b *rollup.Block) error {
			progress.add(1)
			return put(b)
		})
	})
	if err != nil {
		return fmt.Errorf("moving the roll-ups to the days of another time zone: %w", err)
	}
	l.rollups = rollup.New(l.opts.Rollups)
	return l.rollups.Load(head, nil)
}

// roll stores a step of the roll-ups if that is due, and returns when to come again. Steps
// are made ready beside the writer; to store one takes milliseconds that jobs wait for.
func (l *Ledger) roll(ctx context.Context) time.Duration {
	r, look := &l.rolling, l.rollLook()
	if r.save == nil && (!l.rollDue() || !l.beginRoll()) {
		return look
	}
	if l.trouble.now() != nil {
		return look
	}
	start := time.Now()
	if r.merging == nil {
		l.merge(ctx)
	}
	select {
	case step := <-r.merging:
		r.merging = nil
		if err := l.storeStep(ctx, &step); err != nil {
			l.opts.Logger.Error("Storing the roll-ups failed; it will be tried again", "err", err)
			return rollAgain
		}
	default:
	}
	r.took += time.Since(start)
	if r.save == nil {
		return look
	}
	return rollPause
}

func (l *Ledger) rollLook() time.Duration { return min(rollLook, l.opts.RollupEvery) }

func (l *Ledger) rollDue() bool {
	r, stats := &l.rolling, l.rollups.Stats()
	waiting, since := stats.Waiting, time.Since(r.begun)
	switch {
	case waiting == 0 && !stats.Ahead:
		return false
	case waiting >= 10*l.opts.RollupRows:
		return true
	case since < rollShare*r.took:
		return false
	}
	return waiting >= l.opts.RollupRows || since >= l.opts.RollupEvery
}

// beginRoll is false if there is nothing to store.
func (l *Ledger) beginRoll() bool {
	r := &l.rolling
	if r.save != nil {
		return true
	}
	l.fold.Lock() // no row is half applied
	r.save = l.rollups.Begin()
	l.fold.Unlock()
	r.begun, r.took = time.Now(), 0
	return r.save != nil
}

// A step is some blocks that are ready to be stored; none if only the head is left.
type step struct {
	merged []*rollup.Merged
	took   time.Duration
	err    error
}

// merge begins to make the next step ready.
func (l *Ledger) merge(ctx context.Context) {
	save, ready := l.rolling.save, make(chan step, 1)
	l.rolling.merging = ready
	go func() {
		begun := time.Now()
		merged, err := l.mergeSome(ctx, save)
		ready <- step{merged, time.Since(begun), err}
	}()
}

func (l *Ledger) mergeSome(ctx context.Context, save *rollup.Save) (merged []*rollup.Merged, err error) {
	size := 0
	for _, k := range save.Keys() {
		if size >= rollStep || len(merged) >= rollBlocks {
			break
		}
		stored, err := l.block(ctx, k)
		if err != nil {
			return nil, err
		}
		m, err := save.Merge(k, stored)
		if err != nil {
			return nil, fmt.Errorf("%w: %s", err, Remedy)
		}
		merged = append(merged, m)
		size += len(m.Cells) + len(m.Slots)
	}
	return merged, nil
}

// storeStep stores a step, or the head if that is all that is left.
func (l *Ledger) storeStep(ctx context.Context, s *step) error {
	r := &l.rolling
	r.took += s.took
	if s.err != nil {
		return s.err
	}
	if len(s.merged) > 0 {
		var blocks []*rollup.Block
		for _, m := range s.merged {
			if !m.Stored {
				blocks = append(blocks, &m.Block)
			}
		}
		err := l.store.SaveBlocks(ctx, blocks)
		r.save.Stored(s.merged, err)
		return err
	}
	if err := l.store.SaveRollups(ctx, r.save.Head()); err != nil {
		return err
	}
	r.saved = r.save.Head().UpTo
	r.save.End()
	r.save = nil
	return nil
}

// block is the stored block with a key; nil if there is none.
func (l *Ledger) block(ctx context.Context, k rollup.Key) (stored *rollup.Block, err error) {
	err = l.store.Blocks(ctx, k.Day, k.Template, true, func(b *rollup.Block) error {
		stored = b
		return nil
	})
	return stored, err
}

// rollAll stores all that has gathered, at the start and at the end.
func (l *Ledger) rollAll(ctx context.Context) error {
	for range 2 { // one may be under way, of what had gathered before
		if !l.beginRoll() {
			return nil
		}
		for l.rolling.save != nil {
			if l.rolling.merging == nil {
				l.merge(ctx)
			}
			step := <-l.rolling.merging
			l.rolling.merging = nil
			if err := errors.Join(ctx.Err(), l.storeStep(ctx, &step)); err != nil {
				return err
			}
		}
	}
	return nil
}

// pruneRollups deletes a step of old roll-ups, and says whether there were any.
func (l *Ledger) pruneRollups(ctx context.Context) bool {
	// A save may be about one of them. And of what blocks have seen that are ahead, the
	// next start would make new ones, of jobs that were counted as pruned.
	if l.rolling.save != nil || l.rollups.Stats().Ahead {
		return false
	}
	before := l.Calendar().DayOf(rollup.SlotOf(l.opts.Now().Add(-l.opts.RollupRetention)))
	blocks, jobs, err := l.store.PruneBlocks(ctx, before, pruneBlocks)
	if err != nil {
		l.opts.Logger.Error("Deleting roll-ups past their retention failed; it will be tried again", "err", err)
		return false
	}
	if blocks > 0 {
		l.rollups.Pruned(before, jobs)
	}
	return blocks > 0
}
