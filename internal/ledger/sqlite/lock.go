package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// lockFile takes the lock that says that a receiver uses the ledger. The kernel
// drops it when the process ends, however it ends; the file stays, for removing it
// would let two receivers each lock a file of that name.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("making the lock beside it: %w: its directory must be writable, choose another with --ledger=sqlite:PATH", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		pid := holder(f)
		if err := errors.Join(err, f.Close()); errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("another receiver%s uses it: stop that one, or give this one a ledger of its own with --ledger=sqlite:PATH", pid)
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	// Only a help for people: the lock itself is the kernel's.
	if err := f.Truncate(0); err == nil {
		fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return f, nil
}

// holder names the process that wrote itself into a lock file.
func holder(f *os.File) string {
	b, err := io.ReadAll(io.LimitReader(f, 20))
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return " (pid " + pid + ")"
	}
	return ""
}
