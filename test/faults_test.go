package test

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

// tmpfs mounts a file system of the given options, such as size=4m, until the test
// ends. Make services on it afterwards, so that they end before.
func tmpfs(t *testing.T, options string) (dir string) {
	t.Helper()
	needRoot(t)
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		missing(t, fmt.Sprintf("mounting a tmpfs: %v", err))
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
	return dir
}

// fill takes all the room that a file system has left, with one file.
func fill(t *testing.T, dir string) (filler string) {
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

// An injection lets system calls of a running program fail.
type injection struct {
	end   func() // it ends with the test at the latest
	trace string
}

// inject lets system calls of a running service fail or take long, each as strace's
// -e inject says it: "fsync:error=EIO". With a path only calls on that file do. A
// thread may make one more call in peace after inject returns: wait for the effect.
func inject(t *testing.T, s *service, path string, faults ...string) *injection {
	t.Helper()
	need(t, "strace")
	in := &injection{trace: filepath.Join(t.TempDir(), "trace")}
	args := []string{"-f", "-o", in.trace, "-s", "0", "-e", "signal=none", "-p", strconv.Itoa(s.cmd.Process.Pid)}
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
	in.end = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it lets the service go, unharmed
		_ = cmd.Wait()
	})
	t.Cleanup(in.end)
	if err := eventually(func() error {
		if !strings.Contains(log.String(), "attached with") {
			return fmt.Errorf("strace is not attached: %s", &log)
		}
		return nil
	}); err != nil {
		if strings.Contains(err.Error(), "not permitted") {
			missing(t, err.Error())
		}
		t.Fatal(err)
	}
	return in
}

// await waits until so many calls have failed.
func (in *injection) await(t *testing.T, calls int) {
	t.Helper()
	if err := eventually(func() error {
		trace, err := os.ReadFile(in.trace)
		if n := strings.Count(string(trace), "(INJECTED)"); err == nil && n < calls {
			err = fmt.Errorf("%d calls failed, want %d", n, calls)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
