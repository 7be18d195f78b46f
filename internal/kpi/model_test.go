package kpi_test

import (
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/rollup"
	"ci-jobs-metrics/internal/totals"
)

// A model is what a ledger has to hold: every job that was ever recorded, and which of
// them are past the retention of roll-ups.
type model struct {
	jobs     []*counted
	rolled   int64 // number of the last job in all stored roll-ups
	prunings []pruning
}

// A pruning took the days before one of the jobs that were in the roll-ups by then.
type pruning struct {
	*calendar
	before time.Time
	upTo   int64
}

func (m *model) append(rows ...ledger.Row) {
	for _, row := range rows {
		c := &counted{Row: row}
		c.look(m.jobs)
		m.jobs = append(slices.Clip(m.jobs), c)
	}
}

func (m *model) gone(c *counted) bool {
	return slices.ContainsFunc(m.prunings, func(p pruning) bool {
		return c.Seq <= p.upTo && p.dayOf(c.Job.Finished).Before(p.before)
	})
}

// recount is that of the first jobs, up to a number.
func (m *model) recount(zone *time.Location, upTo int64) *recount {
	r := &recount{calendar: newCalendar(zone), row: func(int64) bool { return true }}
	for _, c := range m.jobs {
		if c.Seq > upTo {
			break
		}
		r.last = c.Seq
		if !m.gone(c) {
			c := *c
			c.day = r.dayOf(c.Job.Finished)
			r.jobs = append(r.jobs, &c)
		}
	}
	return r
}

func (m *model) last() int64 {
	if len(m.jobs) == 0 {
		return 0
	}
	return m.jobs[len(m.jobs)-1].Seq
}

// A modelled store tells a model what it made durable, at that very moment, and takes more
// steps than it is asked to: the blocks of one transaction may as well be those of several.
type modelled struct {
	ledger.Store
	zone *time.Location

	mu    sync.Mutex
	model model
	// changes count what made jobs vanish. unsettled is whether something does so now, or
	// has and the ledger's writer has not come back yet.
	changes   int
	unsettled bool

	// step, if not nil, is called between all changes, and more says how many of the
	// blocks to store next.
	step func(what string)
	more func(blocks int) int
}

func newModelled(s ledger.Store, zone *time.Location, m *model) *modelled {
	return &modelled{Store: s, zone: zone, model: *m, step: func(string) {}, more: func(n int) int { return n }}
}

// change calls f, which changes the store and then says so to the model.
func (s *modelled) change(what string, f func() error) error {
	s.mu.Lock()
	s.unsettled = false
	s.mu.Unlock()
	s.step("before " + what)
	err := f()
	s.step("after " + what)
	return err
}

func (s *modelled) tell(f func(*model)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.model)
}

func (s *modelled) Append(ctx context.Context, entries []ledger.Entry) (outcomes []ledger.Outcome, err error) {
	err = s.change("append", func() error {
		outcomes, err = s.Store.Append(ctx, entries)
		s.tell(func(m *model) {
			for i, o := range outcomes {
				if o.Seq > 0 {
					m.append(ledger.Row{Seq: o.Seq, Entry: entries[i]})
				}
			}
		})
		return err
	})
	return outcomes, err
}

func (s *modelled) SaveTotals(ctx context.Context, c *totals.Checkpoint, upTo int64) error {
	return s.change("checkpoint", func() error { return s.Store.SaveTotals(ctx, c, upTo) })
}

func (s *modelled) Tend(ctx context.Context) error {
	return s.change("tending", func() error { return s.Store.Tend(ctx) })
}

func (s *modelled) SaveBlocks(ctx context.Context, blocks []*rollup.Block) error {
	for len(blocks) > 0 {
		n := s.more(len(blocks))
		err := s.change("blocks", func() error { return s.Store.SaveBlocks(ctx, blocks[:n]) })
		if err != nil {
			return err
		}
		blocks = blocks[n:]
	}
	return nil
}

func (s *modelled) SaveRollups(ctx context.Context, h rollup.Head) error {
	return s.change("head", func() error {
		err := s.Store.SaveRollups(ctx, h)
		s.tell(func(m *model) { m.rolled = h.UpTo })
		return err
	})
}

func (s *modelled) Rezone(ctx context.Context, h rollup.Head, convert func(iter.Seq2[*rollup.Block, error], func(*rollup.Block) error) error) error {
	return s.change("moving to another zone", func() error { return s.Store.Rezone(ctx, h, convert) })
}

func (s *modelled) Prune(ctx context.Context, before time.Time, upTo int64, limit int) (n int, err error) {
	err = s.vanish("pruning", func() (bool, error) {
		n, err = s.Store.Prune(ctx, before, upTo, limit)
		return n > 0, err
	})
	return n, err
}

// PruneBlocks goes on until all are pruned: the model does not know which are first.
func (s *modelled) PruneBlocks(ctx context.Context, before rollup.Day, limit int) (blocks int, jobs int64, err error) {
	err = s.vanish("pruning roll-ups", func() (bool, error) {
		for {
			b, j, err := s.Store.PruneBlocks(ctx, before, limit)
			blocks, jobs = blocks+b, jobs+j
			if b == 0 || err != nil {
				break
			}
		}
		s.tell(func(m *model) {
			if blocks > 0 {
				day, _ := time.Parse(time.DateOnly, before.String())
				m.prunings = append(slices.Clip(m.prunings), pruning{newCalendar(s.zone), day, m.rolled})
			}
		})
		return blocks > 0, err
	})
	return blocks, jobs, err
}

// vanish calls f, which says whether jobs vanished.
func (s *modelled) vanish(what string, f func() (bool, error)) error {
	return s.change(what, func() error {
		s.mu.Lock()
		s.unsettled = true
		s.mu.Unlock()
		vanished, err := f()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.unsettled = vanished; vanished {
			s.changes++
		}
		return err
	})
}

// settled is the model as it is, and whether the ledger's answers may be compared with it:
// if they are of a time in which settled said the same.
func (s *modelled) settled() (m model, changes int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.model, s.changes, !s.unsettled
}

// A kill is what a ledger's files were at some moment, and what they must hold.
type kill struct {
	when, path string
	model      model
}

// copyLedger copies a ledger and its write-ahead log, while nobody writes.
func copyLedger(t *testing.T, path string) string {
	to := filepath.Join(t.TempDir(), "copy.db")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		content, err := os.ReadFile(path + suffix)
		if err == nil {
			err = os.WriteFile(to+suffix, content, 0o600)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	}
	return to
}
