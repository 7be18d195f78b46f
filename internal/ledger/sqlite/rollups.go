package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"iter"
	"strings"

	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/rollup"
)

// A roller stores roll-ups.
type roller struct {
	*writer
	putBlock, dropBlocks, putHead driver.Stmt
}

const blockColumns = "day, template, up_to, jobs, cells, slots"

func newRoller(w *writer) (*roller, error) {
	r := &roller{writer: w}
	var err error
	r.putBlock, err = w.prepare(`INSERT OR REPLACE INTO rollup_blocks (`+blockColumns+`) VALUES (?, ?, ?, ?, ?, ?)`, err)
	r.dropBlocks, err = w.prepare(`DELETE FROM rollup_blocks`, err)
	r.putHead, err = w.prepare(`INSERT OR REPLACE INTO rollup (rowid, up_to, since, before, pruned, zone, last, failures)
		SELECT 1, ?, ?, ?, coalesce((SELECT pruned FROM rollup), 0), ?, ?, coalesce(?, x'') WHERE NOT EXISTS (SELECT 1 FROM rollup WHERE up_to > ?)`, err)
	return r, err
}

// LoadRollups implements ledger.Store.
func (s *Store) LoadRollups(ctx context.Context) (head rollup.Head, ahead map[rollup.Key]int64, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		tx, err := s.reader.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		if err != nil {
			return explain(err)
		}
		defer tx.Rollback()
		if head, err = loadHead(ctx, tx); err != nil {
			return explain(err)
		}
		ahead, err = loadAhead(ctx, tx, head.UpTo)
		return explain(err)
	})
	return head, ahead, err
}

func loadHead(ctx context.Context, tx querier) (h rollup.Head, err error) {
	err = tx.QueryRowContext(ctx, `SELECT up_to, since, before, pruned, zone, last, failures FROM rollup`).
		Scan(&h.UpTo, &h.Since, &h.Before, &h.Pruned, &h.Zone, &h.Last, &h.Failures)
	if errors.Is(err, sql.ErrNoRows) {
		return h, nil
	}
	return h, err
}

// loadAhead finds blocks that have seen rows behind a number.
func loadAhead(ctx context.Context, tx querier, upTo int64) (map[rollup.Key]int64, error) {
	rows, err := tx.QueryContext(ctx, `SELECT day, template, up_to FROM rollup_blocks WHERE up_to > ?`, upTo)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	ahead := map[rollup.Key]int64{}
	for rows.Next() {
		var k rollup.Key
		var seen int64
		if err := rows.Scan(&k.Day, &k.Template, &seen); err != nil {
			return nil, err
		}
		ahead[k] = seen
	}
	return ahead, rows.Err()
}

// Blocks implements ledger.Store. Questions read many of them, and must not take all
// connections for reading: who asks for rows waits for nobody.
func (s *Store) Blocks(ctx context.Context, day rollup.Day, template string, slots bool, take func(*rollup.Block) error) error {
	which, args := "WHERE day = ?", []any{day}
	if template != "" {
		which, args = which+" AND template = ?", append(args, template)
	}
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.read(ctx, func(ctx context.Context) error {
		return selectBlocks(ctx, s.reader, which+" ORDER BY template", slots, take, args...)
	})
}

// selectBlocks hands over the blocks for which the end of a question asks.
func selectBlocks(ctx context.Context, from querier, which string, slots bool, take func(*rollup.Block) error, args ...any) error {
	columns := blockColumns
	if !slots {
		columns = strings.Replace(columns, "slots", "x''", 1)
	}
	rows, err := from.QueryContext(ctx, `SELECT `+columns+` FROM rollup_blocks `+which, args...)
	if err != nil {
		return explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		b := &rollup.Block{}
		if err := rows.Scan(&b.Day, &b.Template, &b.UpTo, &b.Jobs, &b.Cells, &b.Slots); err != nil {
			return fmt.Errorf("reading a roll-up: %w", explain(err))
		}
		if err := take(b); err != nil {
			return err
		}
	}
	return explain(rows.Err())
}

// SaveBlocks implements ledger.Store.
func (s *Store) SaveBlocks(ctx context.Context, blocks []*rollup.Block) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := s.roller.transaction(func() error {
		for _, b := range blocks {
			if err := s.roller.put(b); err != nil {
				return err
			}
		}
		return nil
	})
	return explain(err)
}

func (r *roller) put(b *rollup.Block) error {
	r.bind(int64(b.Day), b.Template, b.UpTo, b.Jobs, blob(b.Cells), blob(b.Slots))
	_, err := r.execute(r.putBlock)
	return err
}

// blob is b as SQLite has it when it is empty, which is not NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// SaveRollups implements ledger.Store.
func (s *Store) SaveRollups(ctx context.Context, h rollup.Head) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return explain(s.roller.transaction(func() error { return s.roller.head(h) }))
}

func (r *roller) head(h rollup.Head) error {
	r.bind(h.UpTo, h.Since, h.Before, h.Zone, int64(h.Last), blob(h.Failures), h.UpTo)
	n, err := r.execute(r.putHead)
	if err == nil && n == 0 {
		err = errLater
	}
	return err
}

// PruneBlocks implements ledger.Store.
func (s *Store) PruneBlocks(ctx context.Context, before rollup.Day, limit int) (blocks int, jobs int64, err error) {
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return 0, 0, explain(err)
	}
	defer tx.Rollback() // does nothing after Commit
	const which = `(SELECT rowid FROM rollup_blocks WHERE day < ? ORDER BY day LIMIT ?)`
	err = tx.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(jobs), 0) FROM rollup_blocks WHERE rowid IN `+which, before, limit).
		Scan(&blocks, &jobs)
	if err != nil || blocks == 0 {
		return 0, 0, explain(err)
	}
	_, err = tx.ExecContext(ctx, `UPDATE rollup SET pruned = pruned + ?`, jobs)
	if err == nil {
		_, err = tx.ExecContext(ctx, `DELETE FROM rollup_blocks WHERE rowid IN `+which, before, limit)
	}
	if err == nil {
		err = tx.Commit()
	}
	return blocks, jobs, explain(err)
}

// Rezone implements ledger.Store. The old blocks are read over another connection, which
// goes on to see them while the new ones are written.
func (s *Store) Rezone(ctx context.Context, h rollup.Head, convert func(old iter.Seq2[*rollup.Block, error], put func(*rollup.Block) error) error) error {
	return s.read(ctx, func(uninterrupted context.Context) error {
		old, err := s.reader.BeginTx(uninterrupted, &sql.TxOptions{ReadOnly: true})
		if err != nil {
			return explain(err)
		}
		defer old.Rollback()
		if _, err := loadHead(uninterrupted, old); err != nil { // the first question is what fixes the moment
			return explain(err)
		}
		return explain(s.roller.transaction(func() error {
			if _, err := s.roller.execute(s.roller.dropBlocks); err != nil {
				return err
			}
			if err := convert(allBlocks(ctx, old), s.roller.put); err != nil {
				return err
			}
			return s.roller.head(h)
		}))
	})
}

var errEnough = errors.New("no more is wanted")

func allBlocks(ctx context.Context, from querier) iter.Seq2[*rollup.Block, error] {
	return func(yield func(*rollup.Block, error) bool) {
		err := selectBlocks(context.WithoutCancel(ctx), from, "ORDER BY day, template", true, func(b *rollup.Block) error {
			if !yield(b, ctx.Err()) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(nil, err)
		}
	}
}

// Jobs implements ledger.Store.
func (s *Store) Jobs(ctx context.Context, numbers []int64) (rows []ledger.Row, err error) {
	const most = 500 // of a statement
	err = s.read(ctx, func(ctx context.Context) error {
		for len(numbers) > 0 {
			part := numbers[:min(most, len(numbers))]
			numbers = numbers[len(part):]
			args := make([]any, len(part))
			for i, n := range part {
				args[i] = n
			}
			found, err := selectRows(ctx, s.reader, `WHERE seq IN `+placeholders(strings.Repeat(",", len(part)-1), 1), args...)
			if err != nil {
				return err
			}
			rows = append(rows, found...)
		}
		return nil
	})
	return rows, err
}
