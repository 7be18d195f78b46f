package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"ci-jobs-metrics/internal/ledger"
)

// A Report is what Verify found in a file.
type Report struct {
	ledger.Verdict
	Schema  int
	Created time.Time
}

// maxMessages is how many faults of the file itself are told.
const maxMessages = 10

// Verify checks the ledger at path, also one that a receiver writes to: the file, its
// schema, and what ledger.Verify checks. It changes nothing. Its error says that
// there is no ledger to be checked; a damaged one is a Report.
func Verify(ctx context.Context, path string, progress ledger.Progress) (*Report, error) {
	file, err := place(path)
	if err != nil {
		return nil, fmt.Errorf("ledger %s: %w", path, err)
	}
	var report *Report
	recorded := rememberedLast(file) // before the jobs are read, for more may come meanwhile
	err = inspect(ctx, file, func(s *snapshot) error {
		report = &Report{Schema: s.schema}
		if err := s.verify(ctx, report, progress); err != nil || len(report.Problems) > 0 {
			return err
		}
		last, err := lastJob(ctx, s.conn)
		if err == nil && last < recorded {
			report.Problems = append(report.Problems, endsBefore(file, last, recorded).Error())
		}
		return err
	})
	if isDamage(err) {
		report = &Report{}
		report.Problems = []string{oneLine(err.Error())}
		return report, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ledger %s: %w", path, err)
	}
	return report, nil
}

// isDamage says that an error is about what the file holds, not about reading it.
func isDamage(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code()&0xff == sqlite3.SQLITE_CORRUPT || e.Code()&0xff == sqlite3.SQLITE_NOTADB)
}

// verify goes from the file to its meaning, and no further than it is sound: what a
// damaged file seems to hold proves nothing, and reading it need not come to an end.
func (s *snapshot) verify(ctx context.Context, r *Report, progress ledger.Progress) error {
	checks := []func(context.Context, *Report) error{s.verifyFile, s.verifySchema, s.verifyHeader}
	progress("checking the file", 0, 0)
	for _, check := range checks {
		if err := check(ctx, r); err != nil || len(r.Problems) > 0 {
			return err
		}
	}
	verdict, err := ledger.Verify(ctx, s, progress)
	if err != nil {
		if ctx.Err() != nil || isFailure(err) {
			return err
		}
		verdict = &ledger.Verdict{Problems: []string{oneLine(fmt.Sprintf("%v: %s", err, ledger.Remedy))}}
	}
	r.Verdict = *verdict
	return nil
}

// isFailure says that SQLite, or the system, failed, rather than that what it read
// makes no sense.
func isFailure(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func (s *snapshot) verifyFile(ctx context.Context, r *Report) error {
	messages, err := s.integrity(ctx, "integrity_check", maxMessages)
	for _, m := range messages {
		r.Problems = append(r.Problems, fmt.Sprintf("the file is damaged: %s: %s", m, ledger.Remedy))
	}
	return err
}

// integrity asks SQLite what is wrong with the file.
func (s *snapshot) integrity(ctx context.Context, pragma string, limit int) (messages []string, err error) {
	found, err := s.conn.QueryContext(ctx, fmt.Sprintf(`PRAGMA %s(%d)`, pragma, limit))
	if err != nil {
		return nil, err
	}
	defer found.Close()
	for found.Next() {
		var m string
		if err := found.Scan(&m); err != nil {
			return nil, err
		}
		for line := range strings.Lines(m) { // a row can have many, below a title
			if line = oneLine(line); line != "ok" && !strings.HasPrefix(line, "***") && len(messages) < limit {
				messages = append(messages, line)
			}
		}
	}
	return messages, found.Err()
}

// verifySchema compares the tables and indexes with those that the migrations make.
// There may be more, such as an index for somebody's own questions.
func (s *snapshot) verifySchema(ctx context.Context, r *Report) error {
	version, want, err := madeSchema(ctx)
	if err != nil {
		return err
	}
	if version != s.schema {
		return fmt.Errorf("its schema %d is older than this program, which has %d: start the receiver once, which changes it, and check it then", s.schema, version)
	}
	got, err := schemaObjects(ctx, s.conn)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		switch definition, ok := got[name]; {
		case !ok:
			r.Problems = append(r.Problems, fmt.Sprintf("%s is missing: %s", name, ledger.Remedy))
		case definition != want[name]:
			r.Problems = append(r.Problems, fmt.Sprintf("%s is not as the receiver made it: %s", name, ledger.Remedy))
		}
	}
	return nil
}

// madeSchema is what the migrations make, and how many they are.
func madeSchema(ctx context.Context) (version int, objects map[string]string, err error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1) // each would have a database of its own
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return 0, nil, err
	}
	for _, name := range names {
		script, err := fs.ReadFile(migrations, name)
		if err != nil {
			return 0, nil, err
		}
		if _, err := db.ExecContext(ctx, string(script)); err != nil {
			return 0, nil, err
		}
	}
	objects, err = schemaObjects(ctx, db)
	return len(names), objects, err
}

// schemaObjects are the definitions of tables, indexes, views and triggers by their
// kinds and names.
func schemaObjects(ctx context.Context, from querier) (map[string]string, error) {
	rows, err := from.QueryContext(ctx, `SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_schema`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	objects := map[string]string{}
	for rows.Next() {
		var name, definition string
		if err := rows.Scan(&name, &definition); err != nil {
			return nil, err
		}
		objects[name] = definition
	}
	return objects, rows.Err()
}

// verifyHeader checks the tables that have one row.
func (s *snapshot) verifyHeader(ctx context.Context, r *Report) error {
	var ledgers, checkpoints, folded int
	var created int64
	err := s.conn.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM ledger), (SELECT coalesce(max(created), 0) FROM ledger),
		(SELECT count(*) FROM totals),
		(SELECT count(*) FROM totals_runs) + (SELECT count(*) FROM totals_durations)`).
		Scan(&ledgers, &created, &checkpoints, &folded)
	if err != nil {
		return err
	}
	r.Created = fromMicros(created)
	if ledgers != 1 {
		r.Problems = append(r.Problems, fmt.Sprintf("it says %d times when it was made: %s", ledgers, ledger.Remedy))
	}
	if checkpoints > 1 || checkpoints == 0 && folded > 0 {
		r.Problems = append(r.Problems, fmt.Sprintf("it says %d times which job its totals end at: %s", checkpoints, ledger.Remedy))
	}
	return nil
}
