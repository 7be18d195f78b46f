package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
)

// A writer is the one connection that changes the file. What it does often it does
// with the driver's own statements, prepared once: database/sql locks and converts
// for each argument, which takes as long as SQLite itself.
type writer struct {
	*sql.Conn
	begin, commit, rollback driver.Stmt
	prepared                []driver.Stmt       // all of them, to be closed
	args                    []driver.NamedValue // used again for every statement
}

// prepareAll makes the statements of transactions.
func (w *writer) prepareAll() (err error) {
	w.begin, err = w.prepare("BEGIN IMMEDIATE", err)
	w.commit, err = w.prepare("COMMIT", err)
	w.rollback, err = w.prepare("ROLLBACK", err)
	return err
}

// prepare makes a statement, unless one before it failed.
func (w *writer) prepare(query string, before error) (driver.Stmt, error) {
	if before != nil {
		return nil, before
	}
	var s driver.Stmt
	err := w.Raw(func(conn any) (err error) {
		s, err = conn.(driver.Conn).Prepare(query)
		return err
	})
	if err != nil {
		return nil, err // what the driver returns then is not nil, and not usable
	}
	w.prepared = append(w.prepared, s)
	return s, nil
}

// transaction calls f and commits, or undoes all of it if f fails.
func (w *writer) transaction(f func() error) error {
	return w.Raw(func(any) error {
		if _, err := w.execute(w.begin); err != nil {
			return err
		}
		err := f()
		if err == nil {
			if _, err = w.execute(w.commit); err == nil {
				return nil
			}
		}
		// After some errors, a full disk's among them, SQLite has rolled back itself;
		// that a second time is an error matters to nobody.
		_, _ = w.execute(w.rollback)
		return err
	})
}

// bind adds arguments for the next statement.
func (w *writer) bind(values ...driver.Value) {
	for _, v := range values {
		w.args = append(w.args, driver.NamedValue{Ordinal: len(w.args) + 1, Value: v})
	}
}

// execute runs a statement with the arguments that were bound since the last one, and
// returns how many rows it changed. A context that can end would cost a goroutine for
// each.
func (w *writer) execute(s driver.Stmt) (changed int64, err error) {
	args := w.args
	w.args = w.args[:0]
	result, err := s.(driver.StmtExecContext).ExecContext(context.Background(), args)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// one runs a query with the arguments that were bound, and returns the first column of
// its first row.
func (w *writer) one(s driver.Stmt) (driver.Value, error) {
	args := w.args
	w.args = w.args[:0]
	rows, err := s.(driver.StmtQueryContext).QueryContext(context.Background(), args)
	if err != nil {
		return nil, err
	}
	values := make([]driver.Value, len(rows.Columns()))
	err = rows.Next(values) // io.EOF if there is none
	return values[0], errors.Join(err, rows.Close())
}

// close ends the connection, its statements first.
func (w *writer) close() error {
	var errs []error
	for _, s := range w.prepared {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, w.Close())...)
}
