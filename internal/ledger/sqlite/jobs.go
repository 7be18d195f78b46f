package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
)

const jobColumns = `seq, received, name, project, status, started, finished, duration, id,
	version, job, url, stage, ref, sha, pipeline, runner, source`

// The conflict is named, so that only a known id is passed over in silence.
const insertJob = `INSERT INTO jobs (` + jobColumns + `)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
	ON CONFLICT (id) WHERE id IS NOT NULL DO NOTHING`

// Append implements ledger.Store.
func (s *Store) Append(ctx context.Context, entries []ledger.Entry) ([]ledger.Outcome, error) {
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return nil, explain(err)
	}
	defer tx.Rollback() // does nothing after Commit
	insert := tx.StmtContext(ctx, s.insert)
	outcomes, last := make([]ledger.Outcome, len(entries)), s.last
	for i := range entries {
		inserted, err := insertEntry(ctx, insert, last+1, &entries[i])
		if err != nil {
			return nil, explain(err)
		}
		if inserted {
			last++
			outcomes[i].Seq = last
			continue
		}
		if outcomes[i].Late, err = isLate(ctx, tx, &entries[i].Job); err != nil {
			return nil, explain(err)
		}
	}
	if err := tx.Commit(); err != nil {
		return nil, explain(err)
	}
	s.last = last
	return outcomes, nil
}

func insertEntry(ctx context.Context, insert *sql.Stmt, seq int64, e *ledger.Entry) (inserted bool, err error) {
	j := &e.Job
	result, err := insert.ExecContext(ctx, seq, micros(e.Received), j.Name, j.Project, string(j.Status),
		nullMicros(j.Started), micros(j.Finished),
		sql.NullInt64{Int64: j.Duration.Microseconds(), Valid: j.Timed},
		sql.NullString{String: j.ID, Valid: j.ID != ""},
		j.Version, j.Job, j.URL, j.Stage, j.Ref, j.SHA, j.Pipeline, j.Runner, j.Source)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

// isLate says whether a duplicate knows the end of a job that was recorded
// without.
func isLate(ctx context.Context, tx *sql.Tx, j *job.Job) (bool, error) {
	if j.Status == job.Unknown {
		return false, nil
	}
	var recorded string
	err := tx.QueryRowContext(ctx, `SELECT status FROM jobs WHERE id = ?`, j.ID).Scan(&recorded)
	return job.Status(recorded) == job.Unknown, err
}

// Rows implements ledger.Store.
func (s *Store) Rows(ctx context.Context, after int64, limit int) ([]ledger.Row, error) {
	found, err := s.reader.QueryContext(ctx,
		`SELECT `+jobColumns+` FROM jobs WHERE seq > ? ORDER BY seq LIMIT ?`, after, limit)
	if err != nil {
		return nil, explain(err)
	}
	defer found.Close()
	var rows []ledger.Row
	for found.Next() {
		row, err := scanRow(found)
		if err != nil {
			return nil, fmt.Errorf("reading a job: %w", err)
		}
		rows = append(rows, row)
	}
	return rows, explain(found.Err())
}

func scanRow(rows *sql.Rows) (ledger.Row, error) {
	var (
		r                  ledger.Row
		received, finished int64
		started, duration  sql.NullInt64
		id                 sql.NullString
	)
	j := &r.Job
	err := rows.Scan(&r.Seq, &received, &j.Name, &j.Project, &j.Status, &started, &finished, &duration, &id,
		&j.Version, &j.Job, &j.URL, &j.Stage, &j.Ref, &j.SHA, &j.Pipeline, &j.Runner, &j.Source)
	r.Received, j.Started, j.Finished = fromMicros(received), fromNullMicros(started), fromMicros(finished)
	j.Timed, j.Duration = duration.Valid, time.Duration(duration.Int64)*time.Microsecond
	j.ID = id.String
	return r, err
}

// pruneWindow is how many of the oldest rows are looked at for each that may go.
const pruneWindow = 20

// Prune implements ledger.Store. It looks at the oldest rows only, so that it
// costs little when there is nothing to do; rows are received nearly in the order
// of their numbers.
func (s *Store) Prune(ctx context.Context, before time.Time, upTo int64, limit int) (int, error) {
	result, err := s.writer.ExecContext(ctx, `DELETE FROM jobs
		WHERE seq IN (SELECT seq FROM (SELECT seq, received FROM jobs WHERE seq <= ? ORDER BY seq LIMIT ?)
			WHERE received < ? ORDER BY seq LIMIT ?)`,
		upTo, pruneWindow*limit, micros(before), limit)
	if err != nil {
		return 0, explain(err)
	}
	n, err := result.RowsAffected()
	return int(n), err
}
