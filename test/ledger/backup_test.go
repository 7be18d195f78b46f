package ledger_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ci-jobs-metrics/test/internal/harness"
)

// Backups while senders hammer the receiver: each is sound, and has every job that was
// acknowledged before it began; and no commit fails meanwhile.
func TestBackupUnderLoad(t *testing.T) {
	receiver := harness.NewReceiver(t)
	receiver.Start(t)
	senders := harness.NewSenders(t, receiver, harness.Quick)
	senders.Start(t.Context(), t, crashSenders)
	dir := t.TempDir()
	const backups = 5
	for i := range backups {
		before := senders.AcknowledgedIDs()
		if err := harness.Eventually(func() error { // more than the backup before it had
			if last := len(before); len(senders.AcknowledgedIDs()) < last+100 {
				return fmt.Errorf("%d jobs are acknowledged, only", last)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		before = senders.AcknowledgedIDs()
		to := filepath.Join(dir, fmt.Sprintf("copy-%d.db", i))
		harness.RunReceiver(t, receiver.Ledger, "backup", to)
		harness.RunReceiver(t, receiver.Ledger, "verify") // as it is just now
		harness.RunReceiver(t, to, "verify")
		copied := harness.LedgerIDs(t, to)
		for _, id := range before {
			if copied[id] != 1 {
				t.Errorf("%s was acknowledged before backup %d, and is %d times in it", id, i, copied[id])
			}
		}
	}
	senders.Finish(t, receiver)
	if self, err := harness.Fetch(receiver.URL("/metrics/self")); err != nil || !strings.Contains(self, "\ncijob_receiver_commit_failures_total 0\n") {
		t.Errorf("commits failed meanwhile: %v\n%s", err, self)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != backups {
		t.Errorf("there are %v, %v", files, err)
	}
}

// A backup that is interrupted leaves nothing behind and exits non-zero. A ledger in
// which it takes long enough would take as long to make, so it is stopped before it
// has begun, or in the middle, as it comes: what it leaves is a whole copy or none.
func TestBackupInterrupted(t *testing.T) {
	receiver := harness.NewReceiver(t)
	receiver.Start(t)
	for i := range 20 {
		if _, err := harness.Fetch(receiver.URL(fmt.Sprintf("/steps?name=n&project=p&status=success&id=%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	for i := range 20 {
		to := filepath.Join(dir, fmt.Sprintf("copy-%d.db", i))
		cmd := exec.Command(harness.Program(t, "receiver"), "backup", to, "--ledger=sqlite:"+receiver.Ledger)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 2 * time.Millisecond)
		_ = cmd.Process.Signal(os.Interrupt)
		ended := cmd.Wait()
		if _, err := os.Stat(to); (err == nil) != (ended == nil) {
			t.Errorf("it ended with %v, and the copy: %v", ended, err)
		} else if err == nil {
			harness.RunReceiver(t, to, "verify")
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.partial-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
