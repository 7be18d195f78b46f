package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/totals"
)

// loadStep is how many entries of a checkpoint are handed over at a time.
const loadStep = 10_000

// LoadTotals implements ledger.Store.
func (s *Store) LoadTotals(ctx context.Context, take func(*totals.Checkpoint) error) (int64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.reader == nil {
		return 0, errNotOpen
	}
	// One transaction: all of the same checkpoint.
	tx, err := s.reader.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return 0, explain(err)
	}
	defer tx.Rollback()
	return loadTotals(ctx, tx, withBudget, take)
}

// withBudget is the first schema that knows of a budget of label sets.
const withBudget = 2

// loadTotals reads over a transaction, of a file with the given schema.
func loadTotals(ctx context.Context, tx querier, schema int, take func(*totals.Checkpoint) error) (upTo int64, err error) {
	header, since := "labels, max_sets, exact_from, forgotten", "since"
	if schema < withBudget {
		header, since = "'[]', 0, 1, 0", "0" // their defaults
	}
	c, upTo, err := loadHeader(ctx, tx, header)
	if c == nil || err != nil {
		return 0, err
	}
	if err := take(c); err != nil { // even if there are no entries
		return 0, err
	}
	if err := loadRuns(ctx, tx, since, *c, take); err != nil {
		return 0, fmt.Errorf("reading the counters: %w", explain(err))
	}
	if err := loadDurations(ctx, tx, *c, take); err != nil {
		return 0, fmt.Errorf("reading the histograms: %w", explain(err))
	}
	return upTo, nil
}

// loadHeader returns a checkpoint without its entries; nil if there is none.
func loadHeader(ctx context.Context, tx querier, columns string) (c *totals.Checkpoint, upTo int64, err error) {
	c = &totals.Checkpoint{}
	var (
		bounds, labels string
		lastJob        sql.NullInt64
	)
	err = tx.QueryRowContext(ctx, `SELECT up_to, bounds, last_job, `+columns+` FROM totals`).
		Scan(&upTo, &bounds, &lastJob, &labels, &c.MaxSets, &c.ExactFrom, &c.Forgotten)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, explain(err)
	}
	if err := json.Unmarshal([]byte(bounds), &c.Bounds); err != nil {
		return nil, 0, fmt.Errorf("reading the buckets: %w", err)
	}
	if err := errors.Join(json.Unmarshal([]byte(labels), &c.Labels), totals.CheckLabels(c.Labels)); err != nil {
		return nil, 0, fmt.Errorf("reading the labels: %w", err)
	}
	c.LastJob = fromNullMicros(lastJob)
	return c, upTo, nil
}

// loadRuns hands counters over in steps, each in a copy of the header.
func loadRuns(ctx context.Context, tx querier, since string, header totals.Checkpoint, take func(*totals.Checkpoint) error) error {
	rows, err := tx.QueryContext(ctx, `SELECT template, project, status, labels, created, count, `+since+` FROM totals_runs`)
	if err != nil {
		return err
	}
	defer rows.Close()
	part := header
	part.Runs = make([]totals.Run, 0, loadStep)
	var (
		template, project, status, labels sql.RawBytes
		created                           int64
		last                              totals.Run
	)
	for rows.Next() {
		r := last
		if err := rows.Scan(&template, &project, &status, &labels, &created, &r.Count, &r.Since); err != nil {
			return fmt.Errorf("of %s, %s, %s: %w", template, project, status, err)
		}
		r.Template, r.Project = again(last.Template, template), again(last.Project, project)
		r.Status, r.Labels = job.Status(again(string(last.Status), status)), again(last.Labels, labels)
		r.Created = fromMicros(created)
		last = r
		if part.Runs = append(part.Runs, r); len(part.Runs) == loadStep {
			if err := take(&part); err != nil {
				return err
			}
			part.Runs = part.Runs[:0]
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return take(&part)
}

// again is the text in a row, which is often that of the row before: a million rows have a
// few thousand.
func again(before string, text []byte) string {
	if bytes.Equal([]byte(before), text) {
		return before
	}
	return string(text)
}

func loadDurations(ctx context.Context, tx querier, header totals.Checkpoint, take func(*totals.Checkpoint) error) error {
	rows, err := tx.QueryContext(ctx,
		`SELECT template, status, labels, created, count, sum, buckets, zero, exp FROM totals_durations`)
	if err != nil {
		return err
	}
	defer rows.Close()
	part := header
	for rows.Next() {
		d, err := scanDuration(rows, len(header.Bounds))
		if err != nil {
			return fmt.Errorf("of %s, %s: %w", d.Template, d.Status, err)
		}
		if part.Durations = append(part.Durations, d); len(part.Durations) == loadStep {
			if err := take(&part); err != nil {
				return err
			}
			part.Durations = part.Durations[:0]
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return take(&part)
}

func scanDuration(rows *sql.Rows, bounds int) (d totals.Duration, err error) {
	var created int64
	var buckets, exp []byte
	err = rows.Scan(&d.Template, &d.Status, &d.Labels, &created, &d.Count, &d.Sum, &buckets, &d.Exp.Zero, &exp)
	if err != nil {
		return d, err
	}
	d.Created = fromMicros(created)
	err = errors.Join(json.Unmarshal(buckets, &d.Buckets), json.Unmarshal(exp, &d.Exp.Counts))
	if err == nil && len(d.Buckets) != bounds+1 {
		err = fmt.Errorf("%d buckets for %d bounds", len(d.Buckets), bounds)
	}
	return d, err
}
