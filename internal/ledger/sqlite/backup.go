package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"

	"ci-jobs-metrics/internal/ledger"
)

// copyPages is how many pages are copied at a time: a few milliseconds.
const copyPages = 1024

// Backup copies the ledger at path to a new file, as it is at one moment: with every
// job that was acknowledged before. A receiver may go on to write meanwhile. The copy
// is on the disk and has its name when Backup returns; after an error there is none.
func Backup(ctx context.Context, path, to string, progress ledger.Progress) error {
	file, err := place(path)
	if err != nil {
		return fmt.Errorf("ledger %s: %w", path, err)
	}
	if err := isFree(to); err != nil {
		return fmt.Errorf("backup %s: %w", to, err)
	}
	made, err := copyLedger(ctx, file, to, progress)
	if err != nil {
		return fmt.Errorf("backup of ledger %s: %w", path, err)
	}
	// Again: somebody may have made it meanwhile.
	if err := isFree(to); err != nil {
		return errors.Join(fmt.Errorf("backup %s: %w", to, err), discard(made))
	}
	if err := renameToFree(made, to); err != nil {
		return errors.Join(fmt.Errorf("backup %s: %w", to, err), discard(made))
	}
	return syncDir(filepath.Dir(to))
}

// renameToFree renames to a name that nobody has taken meanwhile, where the file system
// can tell.
func renameToFree(made, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, made, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return os.Rename(made, to)
	}
	return err
}

func isFree(name string) error {
	info, err := os.Lstat(name)
	if err == nil && info.IsDir() {
		return errors.New("it is a directory: name a file in it")
	}
	if err == nil {
		return errors.New("it exists already, and is not overwritten: choose another name, or remove it")
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(filepath.Dir(name)); err != nil {
		return fmt.Errorf("its directory can't be used, create it or choose another: %w", err)
	}
	return nil
}

// BackupTo writes such a copy to a pipe. SQLite can't write it in order, so it is made
// as a file first, beside the ledger: there is a directory that can be written, and a
// disk of a fitting size; an image from scratch has no other.
func BackupTo(ctx context.Context, path string, to io.Writer, progress ledger.Progress) error {
	file, err := place(path)
	if err != nil {
		return fmt.Errorf("ledger %s: %w", path, err)
	}
	made, err := copyLedger(ctx, file, file, progress)
	if err != nil {
		return fmt.Errorf("backup of ledger %s: %w", path, err)
	}
	f, err := os.Open(made)
	if err != nil {
		return errors.Join(err, discard(made))
	}
	// At once, so that nothing is left even if writing is killed.
	if err = discard(made); err == nil {
		_, err = io.Copy(to, interruptible{ctx, f})
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing the backup: %w", err)
	}
	return nil
}

// interruptible ends with its context.
type interruptible struct {
	ctx context.Context
	io.Reader
}

func (r interruptible) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(b)
}

// copyLedger copies the ledger in a file to a new one beside the given name, and
// returns what that is called. It is whole and on the disk, and the caller's to
// rename; after an error it is gone.
func copyLedger(ctx context.Context, file, beside string, progress ledger.Progress) (made string, err error) {
	err = inspect(ctx, file, func(s *snapshot) error {
		if made != "" { // inspect begins anew
			if err := discard(made); err != nil {
				return err
			}
		}
		var err error
		if made, err = newPartial(beside); err != nil {
			return err
		}
		return s.copy(ctx, made, progress)
	})
	if err == nil {
		err = syncFile(made)
	}
	if err != nil && made != "" {
		err = errors.Join(err, discard(made))
	}
	return made, err
}

// newPartial makes an empty file beside a name, on the same disk so that it can be
// renamed to it.
func newPartial(beside string) (string, error) {
	name := beside + ".partial-" + rand.Text()[:8]
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return "", err
	}
	return name, f.Close()
}

// discard removes a copy, with what SQLite may have put beside it.
func discard(name string) error {
	var errs []error
	for _, end := range append(logs[:], "-shm", "") {
		if err := os.Remove(name + end); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// copy copies all pages to an empty file. SQLite's backup takes them as they are, as
// fast as the disk reads and writes, a step at a time; VACUUM INTO would insert every
// row anew, and not say how far it is. As the snapshot is one read transaction, what is
// written meanwhile does not make the backup begin anew.
func (s *snapshot) copy(ctx context.Context, to string, progress ledger.Progress) error {
	return s.conn.Raw(func(driverConn any) error {
		// No journal, no sync: it is synced as a whole, or discarded.
		b, err := driverConn.(interface {
			NewBackup(to string) (*sqlite.Backup, error)
		}).NewBackup(dsn(to, "_pragma=journal_mode(OFF)", "_pragma=synchronous(OFF)"))
		if err != nil {
			return err
		}
		for more := true; more; {
			if err := ctx.Err(); err != nil {
				return errors.Join(err, b.Finish())
			}
			if more, err = b.Step(copyPages); err != nil {
				return errors.Join(err, b.Finish())
			}
			progress("copying pages", int64(b.PageCount()-b.Remaining()), int64(b.PageCount()))
		}
		copied, err := b.Commit()
		if err != nil {
			return err
		}
		// The pages say that there is a write-ahead log. Without one, the copy is a
		// single file, also when it is read.
		_, err = copied.(driver.ExecerContext).ExecContext(ctx, `PRAGMA journal_mode = DELETE`, nil)
		return errors.Join(err, copied.Close())
	})
}
