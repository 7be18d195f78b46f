package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"ci-jobs-metrics/internal/logtest"
)

// MountTmpfs mounts a file system with the given options, such as size=4m, until the test
// ends. Create receivers on it afterwards, so that they end before it is unmounted.
func MountTmpfs(t *testing.T, options string) (dir string) {
	t.Helper()
	NeedRoot(t)
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		Missing(t, fmt.Sprintf("mounting a tmpfs: %v", err))
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
	return dir
}

// FillDisk takes all the free space of a file system with one file, and returns its path.
func FillDisk(t *testing.T, dir string) (filler string) {
	t.Helper()
	filler = filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// In steps down to less than a page: half a write would fail as a whole.
	for size := 1 << 20; size > 0; size /= 2 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("filling %s: %v", dir, err)
		}
	}
	return filler
}

// An Injection makes system calls of a running program fail.
type Injection struct {
	End   func() // ends the faults; the end of the test does so too
	trace string
}

// InjectFaults makes system calls of a running receiver fail or take long. A fault is an
// argument of strace's -e inject, such as "fsync:error=EIO". With a path only calls on that
// file fail. Each thread may make one more successful call after InjectFaults returns, so wait
// for the effect.
func InjectFaults(t *testing.T, receiver *Receiver, path string, faults ...string) *Injection {
	t.Helper()
	NeedProgram(t, "strace")
	in := &Injection{trace: filepath.Join(t.TempDir(), "trace")}
	args := []string{"-f", "-o", in.trace, "-s", "0", "-e", "signal=none", "-p", strconv.Itoa(receiver.Cmd.Process.Pid)}
	var calls []string
	for _, fault := range faults {
		call, _, _ := strings.Cut(fault, ":")
		calls = append(calls, call)
		args = append(args, "-e", "inject="+fault)
	}
	args = append(args, "-e", "trace="+strings.Join(calls, ","))
	if path != "" {
		args = append(args, "-P", path)
	}
	var log logtest.Buffer
	cmd := exec.Command("strace", args...)
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.End = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // strace detaches and leaves the receiver unharmed
		_ = cmd.Wait()
	})
	t.Cleanup(in.End)
	if err := Eventually(func() error {
		if !strings.Contains(log.String(), "attached with") {
			return fmt.Errorf("strace is not attached: %s", &log)
		}
		return nil
	}); err != nil {
		if strings.Contains(err.Error(), "not permitted") {
			Missing(t, err.Error())
		}
		t.Fatal(err)
	}
	return in
}

// Await waits until so many calls have failed.
func (in *Injection) Await(t *testing.T, calls int) {
	t.Helper()
	if err := Eventually(func() error {
		trace, err := os.ReadFile(in.trace)
		if n := strings.Count(string(trace), "(INJECTED)"); err == nil && n < calls {
			err = fmt.Errorf("%d calls failed, want %d", n, calls)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
