package sqlite

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"ci-jobs-metrics/internal/totals"
)

// A saver stores checkpoints.
type saver struct {
	*writer
	dropHeader, dropDurations, dropRuns driver.Stmt
	putHeader, putDuration              driver.Stmt
	putRuns                             [len(chunks)]driver.Stmt
}

const runColumns = "template, project, status, labels, created, count, since"

func newSaver(w *writer) (*saver, error) {
	sv := &saver{writer: w}
	var err error
	sv.dropHeader, err = w.prepare(`DELETE FROM totals WHERE up_to <= ?`, err)
	sv.dropDurations, err = w.prepare(`DELETE FROM totals_durations`, err)
	sv.dropRuns, err = w.prepare(`DELETE FROM totals_runs`, err)
	sv.putHeader, err = w.prepare(`INSERT INTO totals (up_to, bounds, last_job, labels, max_sets, exact_from, forgotten)
		SELECT ?, ?, ?, ?, ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM totals)`, err)
	sv.putDuration, err = w.prepare(`INSERT OR REPLACE INTO totals_durations
		(template, status, labels, created, count, sum, buckets, zero, exp) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, err)
	for i, rows := range chunks {
		// Not REPLACE, which deletes first: here the key nearly always exists.
		sv.putRuns[i], err = w.prepare(fmt.Sprintf(`INSERT INTO totals_runs (%s) VALUES %s
			ON CONFLICT DO UPDATE SET created = excluded.created, count = excluded.count, since = excluded.since`,
			runColumns, placeholders(runColumns, rows)), err)
	}
	return sv, err
}

// SaveTotals implements ledger.Store.
func (s *Store) SaveTotals(ctx context.Context, c *totals.Checkpoint, upTo int64) error {
	err := s.saver.transaction(func() error {
		if err := s.saver.header(c, upTo); err != nil {
			return err
		}
		if err := s.saver.runs(c.Runs); err != nil {
			return err
		}
		return s.saver.durations(c.Durations)
	})
	if err == nil {
		s.tidy(ctx)
	}
	return explain(err)
}

// largeLog is how large the write-ahead log gets only if SQLite can't move it into the
// file, which it does by itself every few megabytes and does not complain about. While
// somebody reads for long that is so too, without an error.
const largeLog = 32 << 20

// tidy moves a large log into the file, or says why it can't be done.
func (s *Store) tidy(ctx context.Context) {
	info, err := os.Stat(s.path + "-wal")
	if err != nil || info.Size() < largeLog {
		return
	}
	if _, err := s.writer.ExecContext(ctx, `PRAGMA wal_checkpoint(PASSIVE)`); err != nil {
		s.logger.Warn("The write-ahead log can't be moved into the ledger's file, and grows until that works again; nothing is lost",
			"bytes", info.Size(), "err", explain(err))
	}
}

// errLater says that somebody else has stored a later checkpoint.
var errLater = errors.New("totals up to a later job are stored already: does another receiver write here?")

func (sv *saver) header(c *totals.Checkpoint, upTo int64) error {
	bounds, err := json.Marshal(append([]float64{}, c.Bounds...)) // never null
	if err != nil {
		return err
	}
	labels, err := json.Marshal(append([]string{}, c.Labels...))
	if err != nil {
		return err
	}
	sv.bind(upTo)
	if _, err := sv.execute(sv.dropHeader); err != nil {
		return err
	}
	if c.DropDurations {
		if _, err := sv.execute(sv.dropDurations); err != nil {
			return err
		}
	}
	if c.Replace {
		if _, err := sv.execute(sv.dropRuns); err != nil {
			return err
		}
	}
	var lastJob driver.Value // nil is NULL
	if !c.LastJob.IsZero() {
		lastJob = micros(c.LastJob)
	}
	sv.bind(upTo, string(bounds), lastJob, string(labels), int64(c.MaxSets), max(c.ExactFrom, 1), int64(c.Forgotten))
	n, err := sv.execute(sv.putHeader)
	if err == nil && n == 0 {
		err = errLater
	}
	return err
}

func (sv *saver) runs(runs []totals.Run) error {
	for i, rows := range chunks {
		for ; len(runs) >= rows; runs = runs[rows:] {
			for j := range runs[:rows] {
				r := &runs[j]
				sv.bind(r.Template, r.Project, string(r.Status), r.Labels, micros(r.Created), int64(r.Count), r.Since)
			}
			if _, err := sv.execute(sv.putRuns[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (sv *saver) durations(durations []totals.Duration) error {
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
		sv.bind(d.Template, string(d.Status), d.Labels, micros(d.Created),
			int64(d.Count), d.Sum, string(buckets), int64(d.Exp.Zero), string(exp))
		if _, err := sv.execute(sv.putDuration); err != nil {
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
