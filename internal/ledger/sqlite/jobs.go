package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"ci-jobs-metrics/internal/ledger"
)

const (
	neededColumns   = `seq, received, name, project, status, started, finished, duration, id`
	optionalColumns = `version, job, url, stage, ref, sha, pipeline, runner, source`
	jobColumns      = neededColumns + `, ` + optionalColumns
)

// Append implements ledger.Store. Nearly always no job was recorded before, so it is
// inserted many rows at a time; only if one was are they inserted one by one, to
// learn which.
func (s *Store) Append(ctx context.Context, entries []ledger.Entry) ([]ledger.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return nil, err // from here on it goes through: a commit takes milliseconds
	}
	if err := s.Tend(ctx); err != nil {
		return nil, err
	}
	if s.unsure {
		last, err := lastJob(ctx, s.writer)
		if err != nil {
			return nil, explain(err)
		}
		s.last, s.unsure = max(s.last, last), false
	}
	outcomes, last := make([]ledger.Outcome, len(entries)), s.last
	for i := range outcomes {
		last++
		outcomes[i].Seq = last
	}
	err := s.inserter.transaction(func() error { return s.inserter.insert(s.last+1, entries) })
	if errors.Is(err, errDuplicates) {
		last, err = s.appendEach(entries, outcomes)
	}
	if err != nil {
		s.unsure = true
		return nil, explain(err)
	}
	s.last = last // also if the file is gone by now: the numbers are used
	if err := s.Tend(ctx); err != nil {
		return nil, err
	}
	_ = s.lock.note(last) // without it less is noticed at the next start, but all is recorded
	return outcomes, nil
}

// appendEach inserts one by one, and returns the number of the last row.
func (s *Store) appendEach(entries []ledger.Entry, outcomes []ledger.Outcome) (last int64, err error) {
	last = s.last
	var known []int // entries whose ids were recorded before
	err = s.inserter.transaction(func() error {
		for i := range entries {
			outcomes[i] = ledger.Outcome{}
			err := s.inserter.insert(last+1, entries[i:i+1])
			switch {
			case err == nil:
				last++
				outcomes[i].Seq = last
			case errors.Is(err, errDuplicates):
				known = append(known, i)
			default:
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for _, i := range known {
		outcomes[i].Late = s.inserter.isLate(&entries[i].Job)
	}
	return last, nil
}

// Rows implements ledger.Store.
func (s *Store) Rows(ctx context.Context, after int64, limit int) (rows []ledger.Row, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		rows, err = queryRows(ctx, s.reader, after, limit)
		return err
	})
	return rows, err
}

// Job implements ledger.Store.
func (s *Store) Job(ctx context.Context, id string) (row ledger.Row, found bool, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		rows, err := selectRows(ctx, s.reader, jobByID, id) // at most one, for ids are unique
		if err == nil && len(rows) > 0 {
			row, found = rows[0], true
		}
		return err
	})
	return row, found, err
}

// jobByID finds a job over the index of ids.
const jobByID = `WHERE id = ?`

// read calls f while the connections for reading are open.
func (s *Store) read(ctx context.Context, f func(context.Context) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.reader == nil {
		return errNotOpen
	}
	if err := errors.Join(ctx.Err(), s.present()); err != nil {
		return err
	}
	// Not interrupted, for that would cost the connection: it takes milliseconds.
	return f(context.WithoutCancel(ctx))
}

func queryRows(ctx context.Context, from querier, after int64, limit int) ([]ledger.Row, error) {
	return selectRows(ctx, from, `WHERE seq > ? ORDER BY seq LIMIT ?`, after, limit)
}

// selectRows returns the rows for which the end of a question asks.
func selectRows(ctx context.Context, from querier, which string, args ...any) ([]ledger.Row, error) {
	found, err := from.QueryContext(ctx, `SELECT `+jobColumns+` FROM jobs `+which, args...)
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
	j.Timed, j.Duration = duration.Valid, fromMicroseconds(duration.Int64)
	j.ID = id.String
	return r, err
}

// fromMicroseconds does not let what only a damaged file holds wrap into something
// that looks right.
func fromMicroseconds(us int64) time.Duration {
	const most = math.MaxInt64 / int64(time.Microsecond)
	return time.Duration(max(-most, min(us, most))) * time.Microsecond
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
