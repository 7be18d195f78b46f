package ledger_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ci-jobs-metrics/test/internal/harness"
)

// The write-ahead log is deleted while the receiver runs: it goes on by itself with a
// new one, and everything is in the ledger, even after a SIGKILL right behind the
// next acknowledged job.
func TestLogDeletedWhileRunning(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		delete []string
		busy   bool // jobs come meanwhile
		asked  bool // before the next job comes
	}{
		{"log", []string{"-wal"}, false, false},
		{"log and its index", []string{"-wal", "-shm"}, false, false},
		{"log, while jobs come", []string{"-wal"}, true, false},
		{"log and its index, while jobs come", []string{"-wal", "-shm"}, true, false},
		{"log, and questions come", []string{"-wal"}, false, true},
		{"log and its index, and questions come", []string{"-wal", "-shm"}, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			loaded := harness.StartUnderLoad(t, harness.NewReceiver(t), harness.Modest)
			if !test.busy {
				loaded.Senders.Finish(t, loaded.Receiver)
			}
			began := time.Now()
			remove(test.delete...)(t, loaded.Ledger)
			if test.asked {
				loaded.QueryAtOnce()
			}
			if test.busy {
				loaded.Senders.Await(t, loaded.Receiver, 20, 0)
				loaded.Senders.Finish(t, loaded.Receiver)
			}
			loaded.DeliverOne(t)
			took := time.Since(began)
			loaded.StopScraping()
			loaded.Kill()
			log := loaded.Log.String() // all of it: what was logged before an answer may be read after it
			loaded.Senders.ReportErrors(t)
			if !strings.Contains(log, "write-ahead log") {
				t.Errorf("the log does not tell of it:\n%s", loaded.LogExcerpt())
			}
			if _, err := os.Stat(loaded.Ledger + "-wal"); err != nil {
				t.Errorf("there is no new log: %v", err)
			}
			loaded.Start(t)
			harness.CheckEachJobCountsOnce(t, loaded.Receiver, loaded.Senders, &loaded.Watch)
			loaded.LogOutcome(t, "%s deleted: a job was acknowledged within %.1f s", test.name, took.Seconds())
		})
	}
}

// The ledger's file is gone from its place while the receiver runs: nothing is
// acknowledged that nobody would find again, until it is back.
func TestLedgerMovedWhileRunning(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		put    func(t *testing.T, away, path string) // into its place
		killed bool
	}{
		{"moved away", nil, false},
		{"moved away, and the receiver is killed", nil, true},
		{"replaced by a copy", copyFile, false},
		{"replaced by an empty file", func(t *testing.T, _, path string) { writeFile(t, path, nil) }, false},
		{"replaced by an empty ledger", func(t *testing.T, _, path string) { replace(t, path) }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			loaded := harness.StartUnderLoad(t, harness.NewReceiver(t), harness.Modest)
			resume := loaded.Senders.Pause(t) // nobody sends
			away := filepath.Join(t.TempDir(), "away.db")
			log, err := os.Stat(loaded.Ledger + "-wal")
			if err != nil {
				t.Fatal(err)
			}
			rename(t, loaded.Ledger, away)
			if test.put != nil {
				test.put(t, away, loaded.Ledger)
			}
			loaded.QueryAtOnce()
			if _, err := os.Stat(loaded.Ledger); err == nil && test.put == nil {
				t.Error("a new file was made in its place")
			}
			// From the first job on.
			reason := regexp.MustCompile(regexp.QuoteMeta(filepath.Base(loaded.Ledger)))
			if err := loaded.CheckRefuses(t, "POST", reason); err != nil {
				t.Error(err)
			}
			if err := harness.Eventually(func() error { return loaded.CheckUnready(reason) }); err != nil {
				t.Errorf("%v\n%s", err, loaded.LogExcerpt())
			}
			if test.killed {
				loaded.StopScraping()
				loaded.Kill()
				harness.CheckStartRefused(t, loaded.Receiver, lacksJobs...)
			}
			if now, err := os.Stat(loaded.Ledger + "-wal"); err != nil || !os.SameFile(now, log) {
				t.Errorf("its write-ahead log is not in place any more: %v", err)
			}
			back := time.Now()
			rename(t, away, loaded.Ledger)
			if test.killed {
				loaded.Start(t)
			}
			if err := harness.Eventually(loaded.CheckWritable); err != nil {
				t.Errorf("%v\n%s", err, loaded.LogExcerpt())
			}
			took := time.Since(back)
			resume()
			loaded.Senders.Await(t, loaded.Receiver, 20, 0)
			loaded.SendProbesAgain(t)
			loaded.Senders.Finish(t, loaded.Receiver)
			loaded.StopScraping()
			loaded.Senders.ReportErrors(t)
			harness.CheckEachJobCountsOnce(t, loaded.Receiver, loaded.Senders, &loaded.Watch)
			loaded.LogOutcome(t, "ledger %s: works again %.1f s after it was back", test.name, took.Seconds())
		})
	}
}

// Deleted while the receiver runs, the ledger's file can't come back: no job is taken
// any more, and no later start begins from zero.
func TestLedgerDeletedWhileRunning(t *testing.T) {
	t.Parallel()
	loaded := harness.StartUnderLoad(t, harness.NewReceiver(t), harness.Modest)
	resume := loaded.Senders.Pause(t)
	remove("")(t, loaded.Ledger)
	reason := regexp.MustCompile(regexp.QuoteMeta(filepath.Base(loaded.Ledger)))
	if err := loaded.CheckRefuses(t, "POST", reason); err != nil {
		t.Error(err)
	}
	if err := harness.Eventually(func() error { return loaded.CheckUnready(reason) }); err != nil {
		t.Errorf("%v\n%s", err, loaded.LogExcerpt())
	}
	loaded.StopScraping()
	loaded.Senders.Stopping.Store(true)
	resume()
	loaded.Kill()
	harness.CheckStartRefused(t, loaded.Receiver, lacksJobs...)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, to, content)
}

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}
