package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// damage FILE overwrites the middle of a database.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR, 0)
	ts.Check(err)
	info, err := f.Stat()
	ts.Check(err)
	_, err = f.WriteAt([]byte(strings.Repeat("damaged ", 1024)), info.Size()/2)
	ts.Check(err)
	check(ts, neg, f.Close())
}

// acknowledgedBy are the ids that are acknowledged by now.
func (c *crowd) acknowledgedBy() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []string
	for id := range c.acknowledged {
		ids = append(ids, id)
	}
	return ids
}

// receiverCommand runs one of the receiver's commands on a ledger.
func receiverCommand(t *testing.T, ledger string, args ...string) {
	t.Helper()
	args = append(args, "--ledger=sqlite:"+ledger)
	if out, err := exec.Command(filepath.Join(programs, "receiver"), args...).CombinedOutput(); err != nil {
		t.Fatalf("receiver %v: %v\n%s", args, err, out)
	}
}

// Backups while senders hammer the receiver: each is sound, and has every job that was
// acknowledged before it began; and no commit fails meanwhile.
func TestBackupUnderLoad(t *testing.T) {
	s := newService(t)
	s.start(t)
	c := newCrowd(t, s, quick)
	c.gather(t.Context(), t, crashSenders)
	dir := t.TempDir()
	const backups = 5
	for i := range backups {
		before := c.acknowledgedBy()
		if err := eventually(func() error { // more than the backup before it had
			if last := len(before); len(c.acknowledgedBy()) < last+100 {
				return fmt.Errorf("%d jobs are acknowledged, only", last)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		before = c.acknowledgedBy()
		to := filepath.Join(dir, fmt.Sprintf("copy-%d.db", i))
		receiverCommand(t, s.ledger, "backup", to)
		receiverCommand(t, s.ledger, "verify") // as it is just now
		receiverCommand(t, to, "verify")
		copied := readLedger(t, to)
		for _, id := range before {
			if copied[id] != 1 {
				t.Errorf("%s was acknowledged before backup %d, and is %d times in it", id, i, copied[id])
			}
		}
	}
	c.finish(t, s)
	if self, err := fetch(s.url("/metrics/self")); err != nil || !strings.Contains(self, "\ncijob_receiver_commit_failures_total 0\n") {
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
	s := newService(t)
	s.start(t)
	for i := range 20 {
		if _, err := fetch(s.url(fmt.Sprintf("/steps?name=n&project=p&status=success&id=%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	for i := range 20 {
		to := filepath.Join(dir, fmt.Sprintf("copy-%d.db", i))
		cmd := exec.Command(filepath.Join(programs, "receiver"), "backup", to, "--ledger=sqlite:"+s.ledger)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 2 * time.Millisecond)
		_ = cmd.Process.Signal(os.Interrupt)
		ended := cmd.Wait()
		if _, err := os.Stat(to); (err == nil) != (ended == nil) {
			t.Errorf("it ended with %v, and the copy: %v", ended, err)
		} else if err == nil {
			receiverCommand(t, to, "verify")
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.partial-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
