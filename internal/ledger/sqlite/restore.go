package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/totals"
)

// Restored is what Restore did.
type Restored struct {
	Created time.Time // when the ledger was made
	Last    int64     // number of its last job
	Kept    string    // what the ledger that was there is called now; empty: there was none
}

// Restore puts a copy of the ledger from at path, while no receiver uses that. A ledger
// that is there is an error, or, to be replaced, is kept beside it under another name.
// After an error all is as it was.
func Restore(ctx context.Context, path, from string, replace bool, now time.Time, progress ledger.Progress) (_ *Restored, err error) {
	if from == "-" || from == "/dev/stdin" {
		return nil, errors.New("restore needs a file: save what comes through the pipe to one first")
	}
	backup, err := place(from)
	if err != nil {
		return nil, fmt.Errorf("backup %s: %w", from, err)
	}
	target, err := resolve(path)
	if err != nil {
		return nil, fmt.Errorf("ledger %s: %w", path, err)
	}
	r := &Restored{}
	if err := r.check(ctx, backup, progress); err != nil {
		return nil, fmt.Errorf("backup %s: %w", from, err)
	}
	lock, err := takeLock(target)
	if who, used := UsedBy(err); used {
		return nil, fmt.Errorf("ledger %s: a receiver%s uses it: stop it first, then restore", path, who)
	}
	if err != nil {
		return nil, fmt.Errorf("ledger %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, lock.file.Close()) }()
	if err := r.replace(ctx, target, backup, replace, now, progress); err != nil {
		return nil, fmt.Errorf("ledger %s: %w", path, err)
	}
	// The lock says which job was the last, so that a start notices when jobs are gone.
	// This time that is meant. Not before the end: a start after a kill in the middle
	// of this shall notice.
	if err := lock.reset(r.Last); err != nil {
		return nil, fmt.Errorf("ledger %s is restored, but its lock could not be written, remove %s.lock: %w", path, target, err)
	}
	return r, nil
}

// check sees to it that a receiver will start with the backup: it is a ledger, of a
// schema that is known, undamaged, and its totals can be read.
func (r *Restored) check(ctx context.Context, backup string, progress ledger.Progress) error {
	return inspect(ctx, backup, func(s *snapshot) error {
		progress("checking the backup", 0, 0)
		messages, err := s.integrity(ctx, "quick_check", 1)
		if err != nil {
			return err
		}
		for _, m := range messages {
			return fmt.Errorf("the file is damaged: %s: choose another backup", m)
		}
		report := &Report{}
		if err := s.verifyHeader(ctx, report); err != nil {
			return err
		}
		for _, p := range report.Problems {
			return errors.New(p)
		}
		if _, err := s.LoadTotals(ctx, func(*totals.Checkpoint) error { return ctx.Err() }); err != nil {
			return err
		}
		r.Created = report.Created
		r.Last, err = lastJob(ctx, s.conn)
		return err
	})
}

// replace copies the backup beside the target, and then exchanges them.
func (r *Restored) replace(ctx context.Context, target, backup string, mayReplace bool, now time.Time, progress ledger.Progress) error {
	if target == backup {
		return errors.New("it is the backup itself: choose another place with --ledger=sqlite:PATH")
	}
	old, err := parts(target)
	if err != nil {
		return err
	}
	if len(old) > 0 && !mayReplace {
		return errors.New("there is a ledger already, or its log: give --replace to put the backup in its place (it is kept beside it), or choose another place with --ledger=sqlite:PATH")
	}
	made, err := copyLedger(ctx, backup, target, progress)
	if err != nil {
		return err
	}
	if err := sameOwner(target, made); err != nil {
		return errors.Join(err, discard(made))
	}
	if len(old) > 0 {
		r.Kept = target + ".replaced-" + now.UTC().Format("20060102T150405.000Z")
	}
	if err := exchange(target, made, r.Kept, old); err != nil {
		return errors.Join(err, discard(made))
	}
	if len(old) > 0 {
		r.Kept += old[len(old)-1] // the database, unless only its log was left
	}
	return nil
}

// parts are the ends of the names of what a ledger consists of, its log first: without
// the database that is nothing to SQLite, but the database without it lacks jobs.
func parts(file string) (ends []string, err error) {
	for _, end := range append(logs[:], "") {
		info, err := os.Stat(file + end)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is not a regular file", file+end)
		}
		ends = append(ends, end)
	}
	return ends, nil
}

// exchange moves the old ledger's parts to another name, and the new one to its place.
// The log goes first: SQLite would play it into whatever database has its name, or
// delete it if there is none. -shm is only an index of it.
func exchange(target, made, kept string, old []string) (err error) {
	var moved []string
	defer func() {
		if err != nil {
			for _, end := range moved {
				err = errors.Join(err, os.Rename(kept+end, target+end))
			}
		}
	}()
	for _, end := range old {
		if err := os.Rename(target+end, kept+end); err != nil {
			return err
		}
		moved = append(moved, end)
	}
	if err := os.Remove(target + "-shm"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(made, target); err != nil {
		return err
	}
	return syncDir(filepath.Dir(target))
}

// sameOwner gives the new file to whom the old one belongs, so that the receiver can
// write it whoever restores it.
func sameOwner(old, made string) error {
	info, err := os.Stat(old)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.Chmod(made, info.Mode().Perm()); err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	if int(owner.Uid) == os.Geteuid() && int(owner.Gid) == os.Getegid() {
		return nil
	}
	if err := os.Chown(made, int(owner.Uid), int(owner.Gid)); err != nil {
		return fmt.Errorf("giving the restored file to the owner of the old one: %w: run this as that user", err)
	}
	return nil
}
