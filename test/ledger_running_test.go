package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
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
			o := begin(t, newService(t), modest)
			if !test.busy {
				o.crowd.finish(t, o.service)
			}
			began := time.Now()
			remove(test.delete...)(t, o.ledger)
			if test.asked {
				o.askAtOnce()
			}
			if test.busy {
				o.crowd.await(t, o.service, 20, 0)
				o.crowd.finish(t, o.service)
			}
			o.deliverOne(t)
			took := time.Since(began)
			o.stopScrape()
			o.kill()
			log := o.log.String() // all of it: what was logged before an answer may be read after it
			o.crowd.complain(t)
			if !strings.Contains(log, "write-ahead log") {
				t.Errorf("the log does not tell of it:\n%s", o.excerpt())
			}
			if _, err := os.Stat(o.ledger + "-wal"); err != nil {
				t.Errorf("there is no new log: %v", err)
			}
			o.start(t)
			settle(t, o.service, o.crowd, &o.watch)
			o.outcome(t, "%s deleted: a job was acknowledged within %.1f s", test.name, took.Seconds())
		})
	}
}

// askAtOnce asks so much at the same time that the receiver opens more connections to
// its ledger. For those SQLite makes a new write-ahead log where there is none, and
// deletes the one there is if the ledger's file is empty.
func (o *ordeal) askAtOnce() {
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			for range 5 {
				_, _ = fetch(o.url("/-/ready")) // whatever they say
				_, _ = fetch(o.url("/metrics/jobs"))
			}
		})
	}
	group.Wait()
}

// deliverOne sends a job until it is acknowledged.
func (o *ordeal) deliverOne(t *testing.T) {
	t.Helper()
	i := item{"id": "afterwards", "name": "afterwards", "project": "p", "status": "success", "duration": "1"}
	if err := eventually(func() error {
		answer, err := o.crowd.try(t.Context(), []item{i})
		if err == nil && !answer.acknowledges(1) {
			err = fmt.Errorf("answered %+v", answer)
		}
		return err
	}); err != nil {
		t.Fatalf("%v\n%s", err, o.excerpt())
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
			o := begin(t, newService(t), modest)
			resume := o.crowd.pause(t) // nobody sends
			away := filepath.Join(t.TempDir(), "away.db")
			log, err := os.Stat(o.ledger + "-wal")
			if err != nil {
				t.Fatal(err)
			}
			rename(t, o.ledger, away)
			if test.put != nil {
				test.put(t, away, o.ledger)
			}
			o.askAtOnce()
			if _, err := os.Stat(o.ledger); err == nil && test.put == nil {
				t.Error("a new file was made in its place")
			}
			// From the first job on.
			reason := regexp.MustCompile(regexp.QuoteMeta(filepath.Base(o.ledger)))
			if err := o.refuses(t, "POST", reason); err != nil {
				t.Error(err)
			}
			if err := eventually(func() error { return o.unready(reason) }); err != nil {
				t.Errorf("%v\n%s", err, o.excerpt())
			}
			if test.killed {
				o.stopScrape()
				o.kill()
				refused(t, o.service, lacksJobs...)
			}
			if now, err := os.Stat(o.ledger + "-wal"); err != nil || !os.SameFile(now, log) {
				t.Errorf("its write-ahead log is not in place any more: %v", err)
			}
			back := time.Now()
			rename(t, away, o.ledger)
			if test.killed {
				o.start(t)
			}
			if err := eventually(o.writable); err != nil {
				t.Errorf("%v\n%s", err, o.excerpt())
			}
			took := time.Since(back)
			resume()
			o.crowd.await(t, o.service, 20, 0)
			o.sendAgain(t)
			o.crowd.finish(t, o.service)
			o.stopScrape()
			o.crowd.complain(t)
			settle(t, o.service, o.crowd, &o.watch)
			o.outcome(t, "ledger %s: works again %.1f s after it was back", test.name, took.Seconds())
		})
	}
}

// Deleted while the receiver runs, the ledger's file can't come back: no job is taken
// any more, and no later start begins from zero.
func TestLedgerDeletedWhileRunning(t *testing.T) {
	t.Parallel()
	o := begin(t, newService(t), modest)
	resume := o.crowd.pause(t)
	remove("")(t, o.ledger)
	reason := regexp.MustCompile(regexp.QuoteMeta(filepath.Base(o.ledger)))
	if err := o.refuses(t, "POST", reason); err != nil {
		t.Error(err)
	}
	if err := eventually(func() error { return o.unready(reason) }); err != nil {
		t.Errorf("%v\n%s", err, o.excerpt())
	}
	o.stopScrape()
	o.crowd.stop.Store(true)
	resume()
	o.kill()
	refused(t, o.service, lacksJobs...)
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
