package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"ci-jobs-metrics/internal/ledger"
)

// SQLite writes on into files that were deleted, and what it wrote is gone when the
// process ends. So the store looks at each commit whether the files that it writes are
// still those that the next start opens.

// An identity is one file, whatever its name.
type identity struct{ device, inode uint64 }

// identify is the identity of the file that path leads to now.
func identify(path string) (identity, error) {
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		return identity{}, err
	}
	return identityOf(&s), nil
}

func identityOf(s *unix.Stat_t) identity {
	return identity{uint64(s.Dev), s.Ino} //nolint:unconvert // Dev is an int32 elsewhere
}

// remember notes which files were opened.
func (s *Store) remember() (err error) {
	if s.file, err = identify(s.path); err == nil {
		s.wal, err = identify(s.path + "-wal")
	}
	return err
}

// present fails if the ledger's file is not where the next start looks for it. It is for
// the writer, and for who holds s.mu.
func (s *Store) present() error {
	now, err := identify(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the file %s was deleted or moved away while the receiver uses it: bring it back, or stop the receiver and restore a backup", s.path)
	case err != nil:
		return fmt.Errorf("looking for the file %s, which the receiver uses: %w", s.path, err)
	case now != s.file:
		return s.replaced()
	}
	return nil
}

func (s *Store) replaced() error {
	return fmt.Errorf("another file was put in place of %s while the receiver uses it: bring the old one back, or stop the receiver first", s.path)
}

// Tend implements ledger.Store.
func (s *Store) Tend(ctx context.Context) error {
	if err := s.present(); err != nil {
		return err
	}
	if err := s.keepLock(); err != nil {
		return err
	}
	if s.writer == nil { // to open it anew failed
		return s.reconnect(ctx)
	}
	if wal, err := identify(s.path + "-wal"); err == nil && wal == s.wal {
		return nil
	}
	if err := s.rescue(ctx); err != nil {
		return fmt.Errorf("the write-ahead log %s-wal was deleted while the receiver uses it, and saving what is in it failed: %w", s.path, err)
	}
	s.logger.Warn("The write-ahead log was deleted while the receiver uses it: its contents were saved into the ledger's file, and a new one is in use. Leave the files beside the ledger alone", "ledger", s.path)
	return nil
}

// keepLock takes the lock again if its file was removed, for another receiver could lock
// another file of that name.
func (s *Store) keepLock() error {
	if now, err := identify(s.path + ".lock"); err == nil && now == s.lock.id {
		return nil
	}
	taken, err := takeLock(s.path)
	if err != nil {
		return fmt.Errorf("the lock %s.lock was removed while the receiver uses it: %w", s.path, err)
	}
	old := s.lock
	s.lock = taken
	s.logger.Warn("The lock was removed while the receiver uses it, and is taken again. Remove it only while no receiver runs", "lock", s.path+".lock")
	_ = taken.note(s.last) // as in Append
	_ = old.file.Close()   // nobody can open it any more
	return nil
}

// rescue moves what is in a deleted write-ahead log into the ledger's file, durably, and
// starts a new one, which takes that every connection is closed first.
func (s *Store) rescue(ctx context.Context) error {
	var busy, frames, moved int
	err := s.writer.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &frames, &moved)
	if err == nil && busy != 0 {
		err = errors.New("another program reads it")
	}
	if err != nil {
		return explain(err)
	}
	return s.reconnect(ctx)
}

// reconnect closes and opens every connection, while nobody reads. Nothing but the same
// file will do, whatever happens to its name meanwhile, least of all a new one.
func (s *Store) reconnect(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.disconnect()
	file, last := s.file, s.last
	if err == nil {
		err = s.present()
	}
	if err == nil {
		err = s.connect(ctx, s.created, "rw", s.replaced)
	}
	if err == nil && (s.file != file || s.last < last) {
		err = s.replaced()
	}
	if err != nil {
		s.file, s.last = file, last
		return errors.Join(err, s.disconnect())
	}
	return nil
}

// Probe implements ledger.Store. It writes the number of the schema again, for SQLite
// writes nothing where an UPDATE changes nothing. In the log that takes the place of what
// a commit that failed may have left there, so that after a crash this is not taken for
// recorded.
func (s *Store) Probe(ctx context.Context) error {
	if err := s.Tend(ctx); err != nil {
		return err
	}
	var version int
	if err := s.writer.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil {
		return explain(err)
	}
	_, err := s.writer.ExecContext(ctx, fmt.Sprintf(`PRAGMA user_version = %d`, version))
	return explain(err)
}

// Space implements ledger.Store.
func (s *Store) Space() (ledger.Space, error) {
	space := ledger.Space{Free: -1}
	for _, path := range []string{s.path, s.path + "-wal"} {
		info, err := os.Stat(path)
		if err != nil {
			return space, err
		}
		space.Used += info.Size()
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(s.path), &disk); err != nil {
		return space, err
	}
	space.Free = int64(disk.Bavail) * disk.Bsize //nolint:gosec // bytes of a disk
	return space, nil
}

// checkGone refuses to start from nothing, or from less, where jobs were recorded: the
// lock remembers the last one.
func (s *Store) checkGone() error {
	if s.lock.last == 0 {
		return nil
	}
	info, err := os.Stat(s.path)
	if err == nil && info.Size() > 0 {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fmt.Errorf("%d jobs were recorded here, but the file is gone: bring it back with its -wal, or restore a backup (receiver restore BACKUP --replace). To begin with an empty ledger, remove %s.lock", s.lock.last, s.path)
}

// checkTotals refuses totals that hold jobs which never were. Those of the last jobs may
// outlive their rows, but only where the lock knows of them.
func (s *Store) checkTotals(ctx context.Context) error {
	if s.lock.last == 0 || s.last <= s.lock.last {
		return nil
	}
	var rows int64
	if err := s.writer.QueryRowContext(ctx, `SELECT coalesce(max(seq), 0) FROM jobs`).Scan(&rows); err != nil {
		return explain(err)
	}
	if s.last == rows {
		return nil // the lock is old, as after a power cut
	}
	return fmt.Errorf("its totals are damaged: they end at job %d, but the last that was recorded is %d: restore a backup; receiver verify says more. If verify finds nothing, the lock is not this ledger's: remove %s.lock", s.last, max(rows, s.lock.last), s.path)
}

// checkEnd refuses a ledger that ends before the last job that was recorded.
func (s *Store) checkEnd() error {
	if s.last >= s.lock.last {
		return nil
	}
	return endsBefore(s.path, s.last, s.lock.last)
}

func endsBefore(path string, last, recorded int64) error {
	return fmt.Errorf("it ends at job %d, but job %d was recorded here: its write-ahead log %s-wal was deleted, or an older copy put in its place. Bring back what is missing, or restore a backup (receiver restore BACKUP --replace); to go on without the jobs between, remove %s.lock", last, recorded, path, path)
}
