package ledger_test

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

	"ci-jobs-metrics/test/internal/harness"
)

// Mistakes with the place of the ledger: each ends the receiver at once with what to
// do, and leaves everything as it is.
func TestStartIsRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		prepare func(t *testing.T, receiver *harness.Receiver)
		want    []string
	}{
		{"directory missing", func(_ *testing.T, receiver *harness.Receiver) {
			receiver.Ledger = filepath.Join(filepath.Dir(receiver.Ledger), "missing", "ledger.db")
		}, []string{"does not exist: create it", "choose another"}},
		{"a directory", func(t *testing.T, receiver *harness.Receiver) {
			if err := os.Mkdir(receiver.Ledger, 0o755); err != nil {
				t.Fatal(err)
			}
		}, []string{"not a regular file"}},
		{"a text file", func(t *testing.T, receiver *harness.Receiver) {
			if err := os.WriteFile(receiver.Ledger, []byte(strings.Repeat("not a database. ", 1000)), 0o644); err != nil {
				t.Fatal(err)
			}
		}, []string{"not a SQLite database: choose another file"}},
		{"another program's database", func(t *testing.T, receiver *harness.Receiver) {
			db := harness.OpenDatabase(t, receiver.Ledger)
			if _, err := db.Exec(`CREATE TABLE customers (name TEXT)`); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}, []string{"not a ledger: choose another file"}},
		{"read-only file system", func(t *testing.T, receiver *harness.Receiver) {
			readOnly(t, receiver, func() {})
		}, []string{"writable"}},
		{"ledger on a read-only file system", func(t *testing.T, receiver *harness.Receiver) {
			readOnly(t, receiver, func() {
				receiver.Start(t)
				receiver.Stop(t)
			})
		}, []string{"writable"}},
		{"disk full", func(t *testing.T, receiver *harness.Receiver) {
			dir := harness.MountTmpfs(t, "size=2m")
			t.Cleanup(receiver.Kill) // before it is unmounted
			receiver.Ledger = filepath.Join(dir, "ledger.db")
			receiver.Start(t)
			receiver.Stop(t)
			harness.FillDisk(t, dir)
		}, []string{"the disk is full"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			receiver := harness.NewReceiver(t)
			test.prepare(t, receiver)
			harness.CheckStartRefused(t, receiver, test.want...)
		})
	}
}

// readOnly moves the service to a file system that can't be written after fill.
func readOnly(t *testing.T, receiver *harness.Receiver, fill func()) {
	t.Helper()
	dir := harness.MountTmpfs(t, "size=4m")
	t.Cleanup(receiver.Kill) // before it is unmounted
	receiver.Ledger = filepath.Join(dir, "ledger.db")
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
			harness.NeedRoot(t)
			dir, err := os.MkdirTemp("", "ledger") // others can't get to a TempDir
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			receiver := harness.NewReceiverIn(t, dir)
			if test.file != 0 {
				receiver.Start(t)
				receiver.Stop(t)
				chmod(t, receiver.Ledger, test.file)
				chmod(t, receiver.Ledger+".lock", 0o666)
			}
			chmod(t, dir, test.directory)
			harness.CheckStartRefusedAs(t, receiver, &syscall.Credential{Uid: nobody, Gid: nobody}, test.want)
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
	first := harness.NewReceiver(t)
	first.Start(t)
	pid := fmt.Sprintf("(pid %d)", first.Cmd.Process.Pid)
	second := harness.NewReceiverIn(t, filepath.Dir(first.Ledger))
	harness.CheckStartRefused(t, second, "another receiver", pid)

	elsewhere := t.TempDir()
	if err := os.Symlink(first.Ledger, filepath.Join(elsewhere, "ledger.db")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Dir(first.Ledger), filepath.Join(elsewhere, "directory")); err != nil {
		t.Fatal(err)
	}
	harness.CheckStartRefused(t, harness.NewReceiverIn(t, elsewhere), "another receiver", pid)
	harness.CheckStartRefused(t, harness.NewReceiverIn(t, filepath.Join(elsewhere, "directory")), "another receiver", pid)

	senders := harness.NewSenders(t, first, harness.Modest)
	r, err := senders.Try(t.Context(), []harness.Item{{"id": "1", "name": "template", "project": "p", "status": "success", "duration": "1"}})
	if err != nil || r.Recorded != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	harness.CheckEachJobCountsOnce(t, first, senders, &harness.CounterWatch{})
}

// A start on a disk where nothing can be written does not take away what tells the next
// one that jobs were recorded.
func TestStartKeepsTheLock(t *testing.T) {
	t.Parallel()
	harness.NeedProgram(t, "strace")
	receiver, _ := harness.LedgerAfter(t, harness.Stopped)
	before := harness.LedgerFiles(t, filepath.Dir(receiver.Ledger))
	args := append([]string{"strace", "-f", "-qq", "-o", "/dev/null", "-e", "signal=none", "-e", "trace=pwrite64,write",
		"-P", receiver.Ledger + ".lock", "-e", "inject=pwrite64,write:error=ENOSPC", "--"}, receiver.Arguments()...)
	receiver.Launch(t, exec.Command(args[0], args[1:]...))
	if err := receiver.WaitReady(); err == nil {
		signalTraced(t, receiver, syscall.SIGKILL)
	}
	receiver.WaitExit(t)
	after := harness.LedgerFiles(t, filepath.Dir(receiver.Ledger))
	if lock := filepath.Base(receiver.Ledger) + ".lock"; !bytes.Equal(before[lock], after[lock]) {
		t.Errorf("the lock said %q, and now %q", before[lock], after[lock])
	}
	remove("")(t, receiver.Ledger)
	harness.CheckStartRefused(t, receiver, lacksJobs...)
}
