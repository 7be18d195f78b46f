package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"

	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/rollup"
	"ci-jobs-metrics/internal/totals"
)

// A snapshot is a ledger as it was at one moment, over a connection that can't change
// it. A receiver may go on to write meanwhile: it waits for nothing here, only its
// write-ahead log grows until the snapshot is given up.
type snapshot struct {
	conn   *sql.Conn
	schema int
}

var _ ledger.Source = (*snapshot)(nil)

// Rows implements ledger.Source.
func (s *snapshot) Rows(ctx context.Context, after int64, limit int) ([]ledger.Row, error) {
	return queryRows(ctx, s.conn, after, limit)
}

// LoadTotals implements ledger.Source.
func (s *snapshot) LoadTotals(ctx context.Context, take func(*totals.Checkpoint) error) (int64, error) {
	return loadTotals(ctx, s.conn, s.schema, take)
}

// withRollups is the first schema that has roll-ups.
const withRollups = 3

// LoadRollups implements ledger.Source.
func (s *snapshot) LoadRollups(ctx context.Context) (head rollup.Head, ahead map[rollup.Key]int64, err error) {
	if s.schema < withRollups {
		return head, nil, nil
	}
	if head, err = loadHead(ctx, s.conn); err == nil {
		ahead, err = loadAhead(ctx, s.conn, head.UpTo)
	}
	return head, ahead, explain(err)
}

// AllBlocks implements ledger.Source.
func (s *snapshot) AllBlocks(ctx context.Context, take func(*rollup.Block) error) error {
	if s.schema < withRollups {
		return nil
	}
	return selectBlocks(ctx, s.conn, "ORDER BY day, template", true, take)
}

// inspect calls f with a snapshot of the ledger in the file. It takes no lock that a
// receiver knows of, and changes nothing.
//
// What nobody uses is read as a file that does not change: a reader of SQLite's
// write-ahead log would have to make one beside it, and fail where it may not.
// Should a receiver have begun to write by the end, f is called once more.
func inspect(ctx context.Context, file string, f func(*snapshot) error) error {
	before, err := atRest(file)
	if err != nil {
		return err
	}
	if before != nil {
		err := read(ctx, file, f, "mode=ro", "immutable=1")
		after, restErr := atRest(file)
		if restErr != nil {
			return restErr
		}
		if after != nil && os.SameFile(before, after) && before.Size() == after.Size() && before.ModTime().Equal(after.ModTime()) {
			return err
		}
	}
	return read(ctx, file, f, "mode=ro")
}

// atRest describes a ledger that nobody uses, because there is nothing in a log
// beside it. It is nil for one that may be in use, or was until it was killed.
func atRest(file string) (fs.FileInfo, error) {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("there is no such file: name one that a receiver or a backup made")
	}
	if err != nil {
		return nil, err
	}
	for _, log := range logs {
		if log, err := os.Stat(file + log); err == nil && log.Size() > 0 {
			return nil, nil
		}
	}
	return info, nil
}

// logs are the ends of the names of the files that hold what is not in the database
// itself yet: its write-ahead log, and the journal that SQLite keeps without one.
var logs = [...]string{"-wal", "-journal"}

// read calls f with a snapshot, over a connection with the given parameters.
func read(ctx context.Context, file string, f func(*snapshot) error, params ...string) (err error) {
	// The file may be anybody's, and damaged.
	db, err := open(file, append(params, "_pragma=trusted_schema(0)", "_pragma=cell_size_check(1)")...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	s := &snapshot{}
	if s.conn, err = db.Conn(ctx); err != nil {
		return explain(err)
	}
	defer func() { err = errors.Join(err, s.conn.Close()) }()
	// The first question is what fixes the moment.
	if _, err := s.conn.ExecContext(ctx, `BEGIN`); err != nil {
		return explain(err)
	}
	if s.schema, _, err = knownSchema(ctx, s.conn); err != nil {
		return explain(err)
	}
	if s.schema == 0 {
		return errors.New("it is empty, no receiver has used it: choose another file")
	}
	return explain(f(s))
}
