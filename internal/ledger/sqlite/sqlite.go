// Package sqlite keeps a ledger in one SQLite file: the store for one machine,
// without any set-up.
//
// The file is in WAL mode with synchronous=FULL, so a commit is one fsync of
// the write-ahead log and survives a power cut. One connection writes; scrapes and
// questions read over others meanwhile, and so may the sqlite3 shell. A lock beside
// the file keeps a second receiver away, and numbered migrations bring an older
// file to the schema of this program. A file that is newer, not a ledger, or not
// readable is refused with an error that says what to do.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"ci-jobs-metrics/internal/ledger"
)

// readers is how many questions may read at the same time.
const readers = 4

// walLimit is to what the write-ahead log shrinks that grew while somebody read for long.
const walLimit = "_pragma=journal_size_limit(67108864)"

// errNotOpen is what readers get after Close, and while the file can't be opened again.
var errNotOpen = errors.New("the ledger is not open")

// checkTime is how long a start looks for damage in the file. That does for some hundred
// megabytes; in a larger one it is found when it is read, or by Verify.
const checkTime = time.Second

// A Store is a ledger.Store over one SQLite file.
type Store struct {
	path      string // the one path of the file
	logger    *slog.Logger
	lock      *lock
	created   time.Time
	last      int64    // number of the last row that ever was
	unsure    bool     // whether last may be too low: a commit failed, nobody knows how far it came
	file, wal identity // of what is open

	// mu is held for writing while the connections are closed and opened anew, and for
	// reading while somebody other than the writer uses one.
	mu       sync.RWMutex
	pool     *sql.DB // of the writer only
	writer   *writer
	inserter *inserter // over writer, as are saver, roller and keeper
	saver    *saver
	roller   *roller
	keeper   *keeper
	reader   *sql.DB // connections that can't write

	turns chan struct{} // of those who read roll-ups
}

var _ ledger.Store = (*Store)(nil)

// Open opens the ledger at path, or makes one if there is no file. Its directory
// must exist. now is when a new ledger is made.
func Open(ctx context.Context, path string, now time.Time, logger *slog.Logger) (_ *Store, err error) {
	s := &Store{logger: logger, turns: make(chan struct{}, readers-2)}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("ledger %s: %w", path, err), s.Close())
		}
	}()
	if s.path, err = place(path); err != nil {
		return nil, err
	}
	if s.lock, err = takeLock(s.path); err != nil {
		return nil, err
	}
	if err := s.checkGone(); err != nil {
		return nil, err
	}
	if err := s.connect(ctx, now, "rwc", s.checkEnd); err != nil {
		return nil, err
	}
	if err := errors.Join(s.checkEnd(), s.checkTotals(ctx)); err != nil {
		return nil, err
	}
	_ = s.lock.note(s.last) // as in Append
	return s, s.checkDamage(ctx)
}

// connect opens the connections in a mode of SQLite, brings the file to this program's
// schema, and reads what the store keeps in memory. It asks before it makes a ledger of
// an empty file.
func (s *Store) connect(ctx context.Context, now time.Time, mode string, mayBeNew func() error) (err error) {
	if s.pool, err = open(s.path, "mode="+mode, "_txlock=immediate", "_pragma=synchronous(FULL)", walLimit); err != nil {
		return err
	}
	conn, err := s.pool.Conn(ctx)
	if err != nil {
		return explain(err)
	}
	s.writer = &writer{Conn: conn}
	if err := migrate(ctx, s.writer.Conn, now, mayBeNew); err != nil {
		return explain(err)
	}
	// The file's name must survive a power cut as well as what is in it.
	if err := syncDir(filepath.Dir(s.path)); err != nil {
		return err
	}
	if err := s.openReaders(ctx); err != nil {
		return explain(err)
	}
	if err := s.prepare(ctx); err != nil {
		return explain(err)
	}
	return s.remember() // all files are there, now that the ledger was read
}

// openReaders opens all connections for reading at once, and they stay open: one that
// is opened when the file was moved away would make another, or take another for it.
func (s *Store) openReaders(ctx context.Context) (err error) {
	if s.reader, err = open(s.path, "mode=rw", "_pragma=query_only(true)"); err != nil {
		return err
	}
	s.reader.SetMaxOpenConns(readers)
	s.reader.SetMaxIdleConns(readers)
	var all []*sql.Conn
	for range readers {
		c, connErr := s.reader.Conn(ctx)
		if connErr != nil {
			err = connErr
			break
		}
		all = append(all, c)
		var made int64 // it is the first question that opens the log
		if err = c.QueryRowContext(ctx, `SELECT created FROM ledger`).Scan(&made); err != nil {
			break
		}
	}
	for _, c := range all {
		err = errors.Join(err, c.Close()) // which gives it back
	}
	return err
}

// disconnect closes the connections. Closing the last one moves the write-ahead log
// into the file.
func (s *Store) disconnect() error {
	var errs []error
	if s.reader != nil {
		errs = append(errs, s.reader.Close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	if s.pool != nil {
		errs = append(errs, s.pool.Close())
	}
	s.reader, s.writer, s.pool = nil, nil, nil
	return errors.Join(errs...)
}

// checkDamage looks for damage, for as long as a start may take.
func (s *Store) checkDamage(ctx context.Context) (err error) {
	// A connection of its own: one that is interrupted is not used again.
	checker, err := open(s.path, "mode=rw", "_pragma=query_only(true)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, checker.Close()) }()
	conn, err := checker.Conn(ctx)
	if err != nil {
		return explain(err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	limited, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	found, err := (&snapshot{conn: conn}).integrity(limited, "quick_check", 1)
	switch {
	case limited.Err() != nil:
		return ctx.Err()
	case err != nil:
		return explain(err)
	case len(found) > 0:
		return fmt.Errorf("the file is damaged: restore a backup (%s)", found[0])
	}
	return nil
}

// open opens a pool of connections with the given parameters of the driver.
func open(path string, params ...string) (*sql.DB, error) {
	return sql.Open("sqlite", dsn(path, params...))
}

func dsn(path string, params ...string) string {
	// Temporary tables in memory: SQLite keeps one for each INSERT of many rows, and
	// an image from scratch has no directory for its file.
	s := "file:" + (&url.URL{Path: path}).EscapedPath() + "?_pragma=busy_timeout(10000)&_pragma=temp_store(MEMORY)"
	for _, p := range params {
		s += "&" + p
	}
	return s
}

// prepare reads what the store keeps in memory.
func (s *Store) prepare(ctx context.Context) error {
	var created int64
	if err := s.writer.QueryRowContext(ctx, `SELECT created FROM ledger`).Scan(&created); err != nil {
		return fmt.Errorf("reading when it was made: %w", err)
	}
	if s.created.IsZero() { // it does not change, and others read it
		s.created = fromMicros(created)
	}
	var err error
	if s.last, err = lastJob(ctx, s.writer); err != nil {
		return err
	}
	if err = s.writer.prepareAll(); err != nil {
		return err
	}
	if s.inserter, err = newInserter(s.writer); err != nil {
		return err
	}
	if s.saver, err = newSaver(s.writer); err != nil {
		return err
	}
	if s.roller, err = newRoller(s.writer); err != nil {
		return err
	}
	s.keeper, err = newKeeper(s.writer)
	return err
}

// A querier is something that answers questions: a pool, a connection or a
// transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// lastJob is the number of the last job that ever was. Rows may all be pruned: the
// checkpoint then knows it.
func lastJob(ctx context.Context, from querier) (last int64, err error) {
	err = from.QueryRowContext(ctx, `SELECT max(
		coalesce((SELECT max(seq) FROM jobs), 0),
		coalesce((SELECT max(up_to) FROM totals), 0))`).Scan(&last)
	if err != nil {
		return 0, fmt.Errorf("reading the number of the last job: %w", err)
	}
	return last, nil
}

// Created implements ledger.Store.
func (s *Store) Created() time.Time { return s.created }

// Close implements ledger.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.disconnect()
	if s.lock != nil {
		err = errors.Join(err, s.lock.file.Close())
	}
	return err
}

// place is where a ledger is or will be. It gives the commonest mistakes a clearer
// answer than SQLite does, before anything is written.
func place(path string) (string, error) {
	file, err := resolve(path)
	if err != nil {
		return "", err
	}
	if err := checkFile(file); !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	return file, nil // to be made
}

// resolve is the one path of the ledger's file, however it was named: the lock has to
// be the same for everybody who means this file.
func resolve(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("the directory %s does not exist: create it, or choose another place", filepath.Dir(abs))
	}
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, filepath.Base(abs))
	resolved, err := filepath.EvalSymlinks(file)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(file); err == nil {
			return "", errors.New("it is a symbolic link to a file that does not exist: name that file itself")
		}
		return file, nil
	}
	return resolved, err
}

// checkFile refuses what can't be a ledger.
func checkFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	if links := info.Sys().(*syscall.Stat_t).Nlink; links > 1 {
		return fmt.Errorf("the file has %d names (hard links), and under each SQLite would keep another log: remove all but one", links)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	const magic = "SQLite format 3\x00"
	start := make([]byte, len(magic))
	n, _ := io.ReadFull(f, start) // what is shorter is no ledger either
	if err := f.Close(); err != nil {
		return err
	}
	if n > 0 && string(start[:n]) != magic {
		return errors.New("the file is not a SQLite database: choose another file, or restore a backup")
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func micros(t time.Time) int64      { return t.UnixMicro() }
func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }

func fromNullMicros(us sql.NullInt64) time.Time {
	if !us.Valid {
		return time.Time{}
	}
	return fromMicros(us.Int64)
}
