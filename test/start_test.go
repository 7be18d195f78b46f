package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Mistakes with the place of the ledger: each ends the receiver at once with what to
// do, and leaves everything as it is.
func TestStartIsRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		prepare func(t *testing.T, s *service)
		want    []string
	}{
		{"directory missing", func(_ *testing.T, s *service) {
			s.ledger = filepath.Join(filepath.Dir(s.ledger), "missing", "ledger.db")
		}, []string{"does not exist: create it", "choose another"}},
		{"a directory", func(t *testing.T, s *service) {
			if err := os.Mkdir(s.ledger, 0o755); err != nil {
				t.Fatal(err)
			}
		}, []string{"not a regular file"}},
		{"a text file", func(t *testing.T, s *service) {
			if err := os.WriteFile(s.ledger, []byte(strings.Repeat("not a database. ", 1000)), 0o644); err != nil {
				t.Fatal(err)
			}
		}, []string{"not a SQLite database: choose another file"}},
		{"another program's database", func(t *testing.T, s *service) {
			db := openDatabase(t, s.ledger)
			if _, err := db.Exec(`CREATE TABLE customers (name TEXT)`); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}, []string{"not a ledger: choose another file"}},
		{"read-only file system", func(t *testing.T, s *service) {
			readOnly(t, s, func() {})
		}, []string{"writable"}},
		{"ledger on a read-only file system", func(t *testing.T, s *service) {
			readOnly(t, s, func() {
				s.start(t)
				s.stop(t)
			})
		}, []string{"writable"}},
		{"disk full", func(t *testing.T, s *service) {
			dir := tmpfs(t, "size=2m")
			t.Cleanup(s.kill) // before it is unmounted
			s.ledger = filepath.Join(dir, "ledger.db")
			s.start(t)
			s.stop(t)
			fill(t, dir)
		}, []string{"the disk is full"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			test.prepare(t, s)
			refused(t, s, test.want...)
		})
	}
}

// readOnly moves the service to a file system that can't be written after fill.
func readOnly(t *testing.T, s *service, fill func()) {
	t.Helper()
	dir := tmpfs(t, "size=4m")
	t.Cleanup(s.kill) // before it is unmounted
	s.ledger = filepath.Join(dir, "ledger.db")
	fill()
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
}

// Somebody who may not write there.
func TestStartWithoutPermission(t *testing.T) {
	t.Parallel()
	const nobody = 65534
	for _, test := range []struct {
		name      string
		directory os.FileMode
		file      os.FileMode // of an existing ledger; 0: there is none
		want      string
	}{
		{"directory not writable", 0o755, 0, "writable"},
		{"directory not writable, ledger is", 0o755, 0o666, "writable"},
		{"ledger not writable, directory is", 0o777, 0o644, "writable"},
		{"ledger not readable", 0o777, 0o600, "permission denied"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			needRoot(t)
			dir, err := os.MkdirTemp("", "ledger") // others can't get to a TempDir
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			s := newServiceIn(t, dir)
			if test.file != 0 {
				s.start(t)
				s.stop(t)
				chmod(t, s.ledger, test.file)
				chmod(t, s.ledger+".lock", 0o666)
			}
			chmod(t, dir, test.directory)
			refusedAs(t, s, &syscall.Credential{Uid: nobody, Gid: nobody}, test.want)
		})
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// A ledger is one receiver's, whatever it is called; the first is not disturbed.
func TestSecondReceiverIsRefused(t *testing.T) {
	t.Parallel()
	first := newService(t)
	first.start(t)
	pid := fmt.Sprintf("(pid %d)", first.cmd.Process.Pid)
	second := newServiceIn(t, filepath.Dir(first.ledger))
	refused(t, second, "another receiver", pid)

	elsewhere := t.TempDir()
	if err := os.Symlink(first.ledger, filepath.Join(elsewhere, "ledger.db")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Dir(first.ledger), filepath.Join(elsewhere, "directory")); err != nil {
		t.Fatal(err)
	}
	refused(t, newServiceIn(t, elsewhere), "another receiver", pid)
	refused(t, newServiceIn(t, filepath.Join(elsewhere, "directory")), "another receiver", pid)

	c := newCrowd(t, first, modest)
	r, err := c.try(t.Context(), []item{{"id": "1", "name": "template", "project": "p", "status": "success", "duration": "1"}})
	if err != nil || r.Recorded != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	settle(t, first, c, &scrapes{})
}

// A start on a disk where nothing can be written does not take away what tells the next
// one that jobs were recorded.
func TestStartKeepsTheLock(t *testing.T) {
	t.Parallel()
	need(t, "strace")
	s, _ := leave(t, stopped)
	before := files(t, filepath.Dir(s.ledger))
	args := append([]string{"strace", "-f", "-qq", "-o", "/dev/null", "-e", "signal=none", "-e", "trace=pwrite64,write",
		"-P", s.ledger + ".lock", "-e", "inject=pwrite64,write:error=ENOSPC", "--"}, s.arguments()...)
	s.launch(t, exec.Command(args[0], args[1:]...))
	if err := s.ready(); err == nil {
		signalTraced(t, s, syscall.SIGKILL)
	}
	s.exit(t)
	after := files(t, filepath.Dir(s.ledger))
	if lock := filepath.Base(s.ledger) + ".lock"; !bytes.Equal(before[lock], after[lock]) {
		t.Errorf("the lock said %q, and now %q", before[lock], after[lock])
	}
	remove("")(t, s.ledger)
	refused(t, s, lacksJobs...)
}
