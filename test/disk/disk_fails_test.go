// Package disk_test makes the disk of a running receiver fail: full, read-only, with errors of
// reads, writes and syncs, slow, or without an answer.
package disk_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ci-jobs-metrics/test/internal/harness"
)

// A disk that fails for good, until somebody mends it.
func TestDiskFails(t *testing.T) {
	t.Parallel()
	ioError := regexp.MustCompile(`I/O error`)
	for _, test := range []struct {
		name   string
		tmpfs  string // options; empty: the ledger is on an ordinary disk
		load   harness.Load
		fault  func(t *testing.T, loaded *harness.ReceiverUnderLoad) (end func())
		reason *regexp.Regexp
		partly bool // a commit that finds room by chance may succeed meanwhile
	}{
		{"full, by another file", "size=4m", harness.Modest, fillUp, regexp.MustCompile(`the disk is full`), true},
		{"full, by the ledger", "size=3m", harness.Large, growFull, regexp.MustCompile(`the disk is full`), true},
		{"ENOSPC on writes", "", harness.Modest, failing("pwrite64:error=ENOSPC"), regexp.MustCompile(`the disk is full`), false},
		{"EROFS on writes", "", harness.Modest, failing("pwrite64:error=EROFS", "ftruncate:error=EROFS"),
			regexp.MustCompile(`read-only|must be writable|I/O error`), false},
		{"EIO on fsync", "", harness.Modest, failing("fsync:error=EIO", "fdatasync:error=EIO"), ioError, false},
		{"EIO on writes to the log", "", harness.Modest, failingLog("pwrite64:error=EIO"), ioError, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if test.tmpfs != "" {
				dir = harness.MountTmpfs(t, test.tmpfs)
			}
			loaded := harness.StartUnderLoad(t, harness.NewReceiverIn(t, dir), test.load)
			began := time.Now()
			mend := test.fault(t, loaded)
			loaded.Senders.Await(t, loaded.Receiver, 0, 1)
			if err := harness.Eventually(func() error { return loaded.CheckUnwritable(t, test.reason) }); err != nil {
				t.Errorf("%v\n%s", err, loaded.LogExcerpt())
			}
			before, _ := loaded.Senders.Counts()
			loaded.Senders.Await(t, loaded.Receiver, 0, 100)
			resume := loaded.Senders.Pause(t) // from here on it has to find out by itself
			if !test.partly {
				if after, _ := loaded.Senders.Counts(); after != before {
					t.Errorf("%d jobs were acknowledged while nothing could be recorded", after-before)
				}
				loaded.CheckStaysUnready(t, test.reason)
			}
			mended := time.Now()
			mend()
			if err := harness.Eventually(loaded.CheckWritable); err != nil {
				t.Errorf("%v\n%s", err, loaded.LogExcerpt())
			}
			took := time.Since(mended)
			resume()
			loaded.Senders.Await(t, loaded.Receiver, 20, 0)
			loaded.SendProbesAgain(t)
			episodes := 1
			if test.partly {
				episodes = harness.AnyNumber
			}
			loaded.CheckLog(t, time.Since(began), episodes)
			loaded.Finish(t)
			loaded.LogOutcome(t, "%s for %.1f s: works again %.1f s after it ended, without traffic",
				test.name, mended.Sub(began).Seconds(), took.Seconds())
		})
	}
}

// fillUp leaves no room beside the ledger.
func fillUp(t *testing.T, loaded *harness.ReceiverUnderLoad) (end func()) {
	dir := filepath.Dir(loaded.Ledger)
	filler := harness.FillDisk(t, dir)
	return func() {
		if err := os.Remove(filler); err != nil {
			t.Error(err)
		}
	}
}

// growFull waits until the ledger has taken all the room; then it gets more.
func growFull(t *testing.T, loaded *harness.ReceiverUnderLoad) (end func()) {
	dir := filepath.Dir(loaded.Ledger)
	return func() {
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=64m"); err != nil {
			t.Error(err)
		}
	}
}

func failing(faults ...string) func(*testing.T, *harness.ReceiverUnderLoad) func() {
	return func(t *testing.T, loaded *harness.ReceiverUnderLoad) func() {
		return harness.InjectFaults(t, loaded.Receiver, "", faults...).End
	}
}

func failingLog(faults ...string) func(*testing.T, *harness.ReceiverUnderLoad) func() {
	return func(t *testing.T, loaded *harness.ReceiverUnderLoad) func() {
		return harness.InjectFaults(t, loaded.Receiver, loaded.Ledger+"-wal", faults...).End
	}
}
