package sqlite

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// A lock says that a receiver uses the ledger. The kernel drops it when the process
// ends, however it ends; the file stays, for removing it would let two receivers each
// lock a file of that name.
//
// The file holds the process in its first line, a help for people, and in its second the
// number of the last job that was recorded. That is written after each commit, but not
// synced: it outlives a killed process, and after a power cut it may be some seconds old.
// So the ledger never ends before it, unless files were taken away.
type lock struct {
	file *os.File
	id   identity
	last int64  // number of the last job, as the file has it
	text []byte // used again for each note
}

// takeLock takes the lock of the ledger at path.
func takeLock(path string) (*lock, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("making the lock beside it: %w: its directory must be writable, choose another with --ledger=sqlite:PATH", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	pid, last := readLock(f)
	if err != nil {
		if err := errors.Join(err, f.Close()); errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &inUseError{pid}
		}
		return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
	}
	l := &lock{file: f}
	var locked unix.Stat_t // of this file, which may have lost its name meanwhile: keepLock sees it then
	if err := unix.Fstat(int(f.Fd()), &locked); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	l.id = identityOf(&locked)
	_ = l.reset(last) // for now it only says who has it
	return l, nil
}

// inUseError says that a receiver uses the ledger.
type inUseError struct{ pid string } // as an error shows it

func (e *inUseError) Error() string {
	return "another receiver" + e.pid + " uses it: stop that one, or give this one a ledger of its own with --ledger=sqlite:PATH"
}

// UsedBy says whether Open failed because a receiver uses the ledger, and which, as a word
// to be put behind "a receiver".
func UsedBy(err error) (who string, used bool) {
	var e *inUseError
	if !errors.As(err, &e) {
		return "", false
	}
	return e.pid, true
}

// rememberedLast is the number of the last job of the ledger at path, as its lock has it;
// 0 if there is none.
func rememberedLast(path string) int64 {
	f, err := os.Open(path + ".lock")
	if err != nil {
		return 0
	}
	defer f.Close() //nolint:errcheck // it was only read
	_, last := readLock(f)
	return last
}

// reset notes a job that may have a lower number than the one before.
func (l *lock) reset(last int64) error {
	err := l.note(last)
	if err == nil { // what was there goes only when something else is
		err = l.file.Truncate(int64(len(l.text)))
	}
	return errors.Join(err, l.file.Sync())
}

// readLock returns what a lock file holds: the process, as an error shows it, and the
// number of the last job, 0 if it says none.
func readLock(f *os.File) (pid string, last int64) {
	b, err := io.ReadAll(io.LimitReader(f, 100))
	if err != nil {
		return "", 0
	}
	first, rest, _ := bytes.Cut(b, []byte("\n"))
	second, _, _ := bytes.Cut(rest, []byte("\n")) // what is behind it, a longer text has left
	if len(first) > 0 {
		pid = " (pid " + string(first) + ")"
	}
	if number, ok := bytes.CutPrefix(bytes.TrimSpace(second), []byte("last ")); ok {
		last, _ = strconv.ParseInt(string(number), 10, 64)
	}
	return pid, last
}

// note writes down that the job of the given number is recorded. Where it can't be
// written, less is noticed at the next start.
func (l *lock) note(last int64) error {
	l.last = last
	l.text = strconv.AppendInt(l.text[:0], int64(os.Getpid()), 10)
	l.text = strconv.AppendInt(append(l.text, "\nlast "...), last, 10)
	l.text = append(l.text, '\n')
	_, err := l.file.WriteAt(l.text, 0) // numbers grow, so nothing old is left behind it
	return err
}
