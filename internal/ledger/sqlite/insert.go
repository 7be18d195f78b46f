package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"ci-jobs-metrics/internal/ledger"
)

// chunks are how many rows one INSERT takes, the largest first. More are not faster:
// the driver looks for each argument among all of the statement's.
var chunks = [...]int{8, 2, 1}

// errDuplicates says that not all rows were inserted, for their ids are known.
var errDuplicates = errors.New("an id was recorded before")

// An inserter inserts jobs over the writing connection, with the driver's own
// statements: database/sql locks and converts for each argument, which takes as long
// as SQLite itself. Rows without any optional field, as curl and the classic
// after_script send them, have statements of their own with half as many arguments.
type inserter struct {
	conn                    *sql.Conn
	begin, commit, rollback driver.Stmt
	narrow, wide            [len(chunks)]driver.Stmt
	args                    []driver.NamedValue // used again for every statement
}

func newInserter(conn *sql.Conn) (*inserter, error) {
	in := &inserter{conn: conn}
	err := conn.Raw(func(driverConn any) (err error) {
		prepare := func(query string) driver.Stmt {
			if err != nil {
				return nil
			}
			s, prepareErr := driverConn.(driver.Conn).Prepare(query)
			if err = prepareErr; err != nil {
				return nil // what the driver returns then is not nil, and not usable
			}
			return s
		}
		in.begin, in.commit, in.rollback = prepare("BEGIN IMMEDIATE"), prepare("COMMIT"), prepare("ROLLBACK")
		for i, rows := range chunks {
			in.narrow[i], in.wide[i] = prepare(insertRows(neededColumns, rows)), prepare(insertRows(jobColumns, rows))
		}
		return err
	})
	return in, err
}

// insertRows is the INSERT of some rows. The conflict is named, so that only a known
// id is passed over in silence.
func insertRows(columns string, rows int) string {
	row := "(?" + strings.Repeat(", ?", strings.Count(columns, ",")) + ")"
	return fmt.Sprintf("INSERT INTO jobs (%s) VALUES %s%s ON CONFLICT (id) WHERE id IS NOT NULL DO NOTHING",
		columns, row, strings.Repeat(", "+row, rows-1))
}

// transaction calls f and commits, or undoes all of it if f fails.
func (in *inserter) transaction(f func() error) error {
	return in.conn.Raw(func(any) error {
		if _, err := execute(in.begin, nil); err != nil {
			return err
		}
		err := f()
		if err == nil {
			if _, err = execute(in.commit, nil); err == nil {
				return nil
			}
		}
		// After some errors, a full disk's among them, SQLite has rolled back itself;
		// that a second time is an error matters to nobody.
		_, _ = execute(in.rollback, nil)
		return err
	})
}

// insert inserts entries as rows numbered from first, within a transaction. It is
// errDuplicates if the id of one was recorded before; then some may be inserted.
func (in *inserter) insert(first int64, entries []ledger.Entry) error {
	for len(entries) > 0 {
		wide := isWide(&entries[0])
		run := 1
		for run < min(len(entries), chunks[0]) && isWide(&entries[run]) == wide {
			run++
		}
		statements := &in.narrow
		if wide {
			statements = &in.wide
		}
		for i, rows := range chunks {
			for ; run >= rows; run -= rows {
				if err := in.insertChunk(statements[i], first, entries[:rows], wide); err != nil {
					return err
				}
				first, entries = first+int64(rows), entries[rows:]
			}
		}
	}
	return nil
}

func (in *inserter) insertChunk(statement driver.Stmt, first int64, entries []ledger.Entry, wide bool) error {
	in.args = in.args[:0]
	for i := range entries {
		in.bind(first+int64(i), &entries[i], wide)
	}
	result, err := execute(statement, in.args)
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err == nil && n < int64(len(entries)) {
		err = errDuplicates
	}
	return err
}

// bind appends a row's arguments, in the order of its columns.
func (in *inserter) bind(seq int64, e *ledger.Entry, wide bool) {
	j := &e.Job
	var started, duration, id driver.Value // nil is NULL
	if !j.Started.IsZero() {
		started = micros(j.Started)
	}
	if j.Timed {
		duration = j.Duration.Microseconds()
	}
	if j.ID != "" {
		id = j.ID
	}
	in.add(seq, micros(e.Received), j.Name, j.Project, string(j.Status), started, micros(j.Finished), duration, id)
	if wide {
		in.add(j.Version, j.Job, j.URL, j.Stage, j.Ref, j.SHA, j.Pipeline, j.Runner, j.Source)
	}
}

func (in *inserter) add(values ...driver.Value) {
	for _, v := range values {
		in.args = append(in.args, driver.NamedValue{Ordinal: len(in.args) + 1, Value: v})
	}
}

// isWide says whether a job has an optional field.
func isWide(e *ledger.Entry) bool {
	j := &e.Job
	return j.Version != "" || j.Job != "" || j.URL != "" || j.Stage != "" || j.Ref != "" || j.SHA != "" ||
		j.Pipeline != "" || j.Runner != "" || j.Source != ""
}

// execute runs a statement of the driver. A context that can end would cost a
// goroutine for each.
func execute(s driver.Stmt, args []driver.NamedValue) (driver.Result, error) {
	return s.(driver.StmtExecContext).ExecContext(context.Background(), args)
}

// close frees the statements; the connection is the store's.
func (in *inserter) close() error {
	return in.conn.Raw(func(any) error {
		var errs []error
		for _, s := range append([]driver.Stmt{in.begin, in.commit, in.rollback}, append(in.narrow[:], in.wide[:]...)...) {
			if s != nil {
				errs = append(errs, s.Close())
			}
		}
		return errors.Join(errs...)
	})
}
