package test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A disk that fails now and then while jobs come.
func TestDiskHiccups(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		file    string // behind the ledger's name; -: every file
		fault   string
		times   int
		refuses bool // or everybody just waits
	}{
		{"several times in a row", "-", "fsync:error=EIO", 4, true},
		{"full for a moment, several times", "-", "pwrite64:error=ENOSPC", 4, true},
		{"the third write of each thread", "-", "pwrite64:error=EIO:when=3", 1, true},
		{"every third sync of each thread", "-", "fsync:error=EIO:when=3+3", 1, true},
		{"half of the log's frames", "-wal", "pwrite64:error=EIO:when=2+2", 1, true},
		// Moving the log into the ledger's file is no commit: it can be done later.
		{"syncs of the ledger's file", "", "fsync:error=EIO", 1, false},
		{"writes to the ledger's file", "", "pwrite64:error=EIO", 1, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			load := modest
			if !test.refuses {
				load = heavy // the log is moved when it is long
			}
			o := begin(t, newService(t), load)
			file := ""
			if test.file != "-" {
				file = o.ledger + test.file
			}
			began := time.Now()
			var ended time.Time
			for range test.times {
				fault := inject(t, o.service, file, test.fault)
				fault.await(t, 1)
				if test.refuses {
					o.crowd.await(t, o.service, 0, 1)
				}
				fault.end()
				ended = time.Now()
				o.crowd.await(t, o.service, 20, 0)
			}
			if err := eventually(o.writable); err != nil {
				t.Errorf("%v\n%s", err, o.excerpt())
			}
			took := time.Since(ended)
			if test.refuses {
				o.logged(t, time.Since(began), unknown)
			}
			o.end(t)
			o.outcome(t, "%s: works again within %.1f s after it ended", test.name, took.Seconds())
		})
	}
}

// On a slow disk jobs wait for each other, not in a row: a commit carries all that
// have gathered.
func TestDiskIsSlow(t *testing.T) {
	t.Parallel()
	o := begin(t, newService(t), modest)
	o.crowd.finish(t, o.service)
	before, err := o.self()
	if err != nil {
		t.Fatal(err)
	}
	const senders, mostCommits = 64, 16
	slow := inject(t, o.service, "", "fsync:delay_enter=300000", "fdatasync:delay_enter=300000")
	began := time.Now()
	var group sync.WaitGroup
	for n := range senders {
		group.Go(func() {
			i := item{"id": fmt.Sprintf("slow-%d", n), "name": "slow", "project": "p", "status": "success", "duration": "1"}
			if answer, err := o.crowd.try(t.Context(), []item{i}); err != nil || !answer.acknowledges(1) {
				t.Errorf("%s: %+v, %v", i["id"], answer, err)
			}
		})
	}
	group.Wait()
	took := time.Since(began)
	after, err := o.self()
	if err != nil {
		t.Fatal(err)
	}
	if err := o.writable(); err != nil {
		t.Error(err)
	}
	slow.end()
	commits := after["commit_duration_seconds_count"] - before["commit_duration_seconds_count"]
	if commits > mostCommits {
		t.Errorf("%v commits for %d jobs that came at once, want %d at most", commits, senders, mostCommits)
	}
	if n := after["commit_failures_total"]; n != 0 {
		t.Errorf("%v commits failed", n)
	}
	o.end(t)
	o.outcome(t, "slow, 0.3 s for a sync: %d senders at once had their answers after %.1f s, in %v commits",
		senders, took.Seconds(), commits)
}

// A sync that does not come back: senders wait or hang up, and /-/ready says why.
func TestDiskHangs(t *testing.T) {
	t.Parallel()
	o := begin(t, newService(t), impatient)
	began := time.Now()
	hang := inject(t, o.service, "", "fsync:delay_enter=60000000", "fdatasync:delay_enter=60000000")
	reason := regexp.MustCompile(`(?i)commit.* \d+`)
	if err := eventually(func() error { return o.unready(reason) }); err != nil {
		t.Errorf("%v\n%s", err, o.excerpt())
	}
	noticed := time.Since(began)
	if _, err := fetch(o.url("/-/healthy")); err != nil {
		t.Error(err)
	}
	before, beforeErr := fetch(o.url("/metrics/jobs"))
	after, afterErr := fetch(o.url("/metrics/jobs"))
	if err := errors.Join(beforeErr, afterErr); err != nil || !maps.Equal(counters(before), counters(after)) {
		t.Errorf("the totals are not served as they are: %v", err)
	}
	ended := time.Now()
	hang.end()
	if err := eventually(o.writable); err != nil {
		t.Fatalf("%v\n%s", err, o.excerpt())
	}
	took := time.Since(ended)
	o.crowd.await(t, o.service, 20, 0)
	o.crowd.mu.Lock()
	o.crowd.broken = nil // those who hung up
	o.crowd.mu.Unlock()
	o.end(t)
	o.outcome(t, "hung: not ready after %.1f s, works again %.1f s after it ended, %d jobs came again that were recorded before",
		noticed.Seconds(), took.Seconds(), o.crowd.duplicates)
}

// Jobs that were refused may be in the write-ahead log all the same: it was written,
// only the sync failed. Whatever comes then, sent again they count once.
func TestRefusedMayBeInTheLog(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		comesBack bool // or must not: that it works again is known from a write over them
		then      func(t *testing.T, o *ordeal, fault *injection)
	}{
		{"killed while it fails", true, func(_ *testing.T, o *ordeal, fault *injection) {
			o.kill()
			fault.end()
		}},
		{"stopped while it fails", true, func(t *testing.T, o *ordeal, fault *injection) {
			if err := o.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			o.exit(t)
			fault.end()
		}},
		{"killed when it works again", false, func(t *testing.T, o *ordeal, fault *injection) {
			fault.end()
			if err := eventually(o.writable); err != nil {
				t.Errorf("%v\n%s", err, o.excerpt())
			}
			o.kill()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			o := begin(t, s, modest)
			o.crowd.finish(t, s)
			fault := inject(t, s, "", "fsync:error=EIO", "fdatasync:error=EIO")
			for round := 0; len(o.probes) < 6; round++ {
				if round == 100 {
					t.Fatal("it does not fail")
				}
				o.refuseBatch(t, round)
			}
			o.stopScrape()
			test.then(t, o, fault)
			s.start(t)
			o.watch.scrape(t, s)
			o.crowd.duplicates = 0
			o.sendAgain(t)
			if n := o.crowd.duplicates; n > 0 && !test.comesBack {
				t.Errorf("%d jobs that were refused came back", n)
			}
			settle(t, s, o.crowd, &o.watch)
			o.outcome(t, "%s: %d of %d refused jobs were in the ledger before they came again",
				test.name, o.crowd.duplicates, len(o.probes))
		})
	}
}

// refuseBatch sends some jobs at once; they are in probes if they were refused.
func (o *ordeal) refuseBatch(t *testing.T, round int) {
	t.Helper()
	var items []item
	for n := range 3 {
		items = append(items, item{"id": fmt.Sprintf("refused-%d-%d", round, n),
			"name": "refused", "project": "p", "status": "success", "duration": "1"})
	}
	answer, err := o.crowd.try(t.Context(), items)
	if err != nil {
		t.Fatal(err)
	}
	if answer.refusal(anything) == nil {
		o.probes = append(o.probes, items...)
	}
}

// A receiver that is killed while its disk is full, and started again before there is
// room: it ends with the reason or waits for room; nothing is lost.
func TestKilledWhileFull(t *testing.T) {
	t.Parallel()
	dir := tmpfs(t, "size=3m")
	s := newServiceIn(t, dir)
	o := begin(t, s, large)
	o.crowd.await(t, s, 0, 20)
	o.stopScrape()
	resume := o.crowd.pause(t)
	s.kill()
	fill(t, dir)
	s.launch(t, exec.Command(s.arguments()[0], s.arguments()[1:]...))
	var how string
	if err := eventually(func() error {
		select {
		case <-s.ended:
			how = "it ends"
			return nil
		default:
		}
		response, err := http.Get(s.url("/-/ready"))
		if err != nil {
			return err
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err == nil && strings.Contains(string(text), "is starting") {
			err = errors.New("it has not made up its mind")
		}
		how = "it waits, " + response.Status
		return err
	}); err != nil {
		t.Fatalf("%v\n%s", err, s.excerpt())
	}
	if how == "it ends" {
		if code := s.exit(t); code == 0 {
			t.Errorf("exit code %d", code)
		}
		if log := s.log.String(); !strings.Contains(log[strings.LastIndex(log, "level=ERROR"):], "the disk is full") {
			t.Errorf("it does not say that the disk is full:\n%s", s.excerpt())
		}
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	if s.cmd == nil {
		s.start(t)
	} else if err := s.ready(); err != nil {
		t.Fatalf("%v\n%s", err, s.excerpt())
	}
	resume()
	o.crowd.await(t, s, 20, 0)
	o.crowd.finish(t, s)
	settle(t, s, o.crowd, &o.watch)
	o.outcome(t, "killed and started on a full disk: %s", how)
}
