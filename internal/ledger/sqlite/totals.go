package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"ci-jobs-metrics/internal/totals"
)

// LoadTotals implements ledger.Store.
func (s *Store) LoadTotals(ctx context.Context) (*totals.Checkpoint, int64, error) {
	// One transaction: all of the same checkpoint.
	tx, err := s.reader.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, 0, explain(err)
	}
	defer tx.Rollback()
	var (
		c       totals.Checkpoint
		upTo    int64
		bounds  string
		lastJob sql.NullInt64
	)
	err = tx.QueryRowContext(ctx, `SELECT up_to, bounds, last_job FROM totals`).Scan(&upTo, &bounds, &lastJob)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, explain(err)
	}
	if err := json.Unmarshal([]byte(bounds), &c.Bounds); err != nil {
		return nil, 0, fmt.Errorf("reading the buckets: %w", err)
	}
	c.LastJob = fromNullMicros(lastJob)
	if c.Runs, err = loadRuns(ctx, tx); err != nil {
		return nil, 0, fmt.Errorf("reading the counters: %w", explain(err))
	}
	if c.Durations, err = loadDurations(ctx, tx, len(c.Bounds)); err != nil {
		return nil, 0, fmt.Errorf("reading the histograms: %w", explain(err))
	}
	return &c, upTo, nil
}

func loadRuns(ctx context.Context, tx *sql.Tx) ([]totals.Run, error) {
	rows, err := tx.QueryContext(ctx, `SELECT template, project, status, labels, created, count FROM totals_runs`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var runs []totals.Run
	for rows.Next() {
		var r totals.Run
		var created int64
		if err := rows.Scan(&r.Template, &r.Project, &r.Status, &r.Labels, &created, &r.Count); err != nil {
			return nil, err
		}
		r.Created = fromMicros(created)
		runs = append(runs, r)
	}
	return runs, rows.Err()
}

func loadDurations(ctx context.Context, tx *sql.Tx, bounds int) ([]totals.Duration, error) {
	rows, err := tx.QueryContext(ctx,
		`SELECT template, status, labels, created, count, sum, buckets, zero, exp FROM totals_durations`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var durations []totals.Duration
	for rows.Next() {
		var d totals.Duration
		var created int64
		var buckets, exp []byte
		if err := rows.Scan(&d.Template, &d.Status, &d.Labels, &created, &d.Count, &d.Sum,
			&buckets, &d.Exp.Zero, &exp); err != nil {
			return nil, err
		}
		d.Created = fromMicros(created)
		err := errors.Join(json.Unmarshal(buckets, &d.Buckets), json.Unmarshal(exp, &d.Exp.Counts))
		if err == nil && len(d.Buckets) != bounds+1 {
			err = fmt.Errorf("%d buckets for %d bounds", len(d.Buckets), bounds)
		}
		if err != nil {
			return nil, fmt.Errorf("of %s, %s: %w", d.Template, d.Status, err)
		}
		durations = append(durations, d)
	}
	return durations, rows.Err()
}

// SaveTotals implements ledger.Store.
func (s *Store) SaveTotals(ctx context.Context, c *totals.Checkpoint, upTo int64) error {
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return explain(err)
	}
	defer tx.Rollback() // does nothing after Commit
	if err := errors.Join(
		saveHeader(ctx, tx, c, upTo),
		saveRuns(ctx, tx, c.Runs),
		saveDurations(ctx, tx, c.Durations),
	); err != nil {
		return explain(err)
	}
	return explain(tx.Commit())
}

func saveHeader(ctx context.Context, tx *sql.Tx, c *totals.Checkpoint, upTo int64) error {
	bounds, err := json.Marshal(append([]float64{}, c.Bounds...)) // never null
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM totals WHERE up_to <= ?`, upTo); err != nil {
		return err
	}
	var later sql.NullInt64
	if err := tx.QueryRowContext(ctx, `SELECT max(up_to) FROM totals`).Scan(&later); err != nil {
		return err
	}
	if later.Valid {
		return fmt.Errorf("totals up to job %d are stored already, these end at %d: does another receiver write here?", later.Int64, upTo)
	}
	if c.DropDurations {
		if _, err := tx.ExecContext(ctx, `DELETE FROM totals_durations`); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO totals (up_to, bounds, last_job) VALUES (?, ?, ?)`,
		upTo, string(bounds), nullMicros(c.LastJob))
	return err
}

func saveRuns(ctx context.Context, tx *sql.Tx, runs []totals.Run) error {
	put, err := tx.PrepareContext(ctx, `INSERT INTO totals_runs (template, project, status, labels, created, count)
		VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET created = excluded.created, count = excluded.count`)
	if err != nil {
		return err
	}
	defer put.Close()
	for i := range runs {
		r := &runs[i]
		if _, err := put.ExecContext(ctx, r.Template, r.Project, string(r.Status), r.Labels,
			micros(r.Created), r.Count); err != nil {
			return err
		}
	}
	return nil
}

func saveDurations(ctx context.Context, tx *sql.Tx, durations []totals.Duration) error {
	put, err := tx.PrepareContext(ctx, `INSERT OR REPLACE INTO totals_durations
		(template, status, labels, created, count, sum, buckets, zero, exp)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	defer put.Close()
	for i := range durations {
		d := &durations[i]
		buckets, err := json.Marshal(d.Buckets)
		if err != nil {
			return err
		}
		exp, err := marshalCounts(d.Exp.Counts)
		if err != nil {
			return err
		}
		if _, err := put.ExecContext(ctx, d.Template, string(d.Status), d.Labels, micros(d.Created),
			d.Count, d.Sum, string(buckets), d.Exp.Zero, string(exp)); err != nil {
			return err
		}
	}
	return nil
}

func marshalCounts(counts map[int]uint64) ([]byte, error) {
	if counts == nil {
		return []byte("{}"), nil
	}
	return json.Marshal(counts)
}
