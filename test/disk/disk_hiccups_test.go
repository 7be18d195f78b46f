package disk_test

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

	"ci-jobs-metrics/test/internal/harness"
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
			load := harness.Modest
			if !test.refuses {
				load = harness.Heavy // the log is moved when it is long
			}
			loaded := harness.StartUnderLoad(t, harness.NewReceiver(t), load)
			file := ""
			if test.file != "-" {
				file = loaded.Ledger + test.file
			}
			began := time.Now()
			var ended time.Time
			for range test.times {
				fault := harness.InjectFaults(t, loaded.Receiver, file, test.fault)
				fault.Await(t, 1)
				if test.refuses {
					loaded.Senders.Await(t, loaded.Receiver, 0, 1)
				}
				fault.End()
				ended = time.Now()
				loaded.Senders.Await(t, loaded.Receiver, 20, 0)
			}
			if err := harness.Eventually(loaded.CheckWritable); err != nil {
				t.Errorf("%v\n%s", err, loaded.LogExcerpt())
			}
			took := time.Since(ended)
			if test.refuses {
				loaded.CheckLog(t, time.Since(began), harness.AnyNumber)
			}
			loaded.Finish(t)
			loaded.LogOutcome(t, "%s: works again within %.1f s after it ended", test.name, took.Seconds())
		})
	}
}

// On a slow disk jobs wait for each other, not in a row: a commit carries all that
// have gathered.
func TestDiskIsSlow(t *testing.T) {
	t.Parallel()
	loaded := harness.StartUnderLoad(t, harness.NewReceiver(t), harness.Modest)
	loaded.Senders.Finish(t, loaded.Receiver)
	before, err := loaded.OwnMetrics()
	if err != nil {
		t.Fatal(err)
	}
	const senders, mostCommits = 64, 16
	slow := harness.InjectFaults(t, loaded.Receiver, "", "fsync:delay_enter=300000", "fdatasync:delay_enter=300000")
	began := time.Now()
	var group sync.WaitGroup
	for n := range senders {
		group.Go(func() {
			i := harness.Item{"id": fmt.Sprintf("slow-%d", n), "name": "slow", "project": "p", "status": "success", "duration": "1"}
			if answer, err := loaded.Senders.Try(t.Context(), []harness.Item{i}); err != nil || !answer.Acknowledges(1) {
				t.Errorf("%s: %+v, %v", i["id"], answer, err)
			}
		})
	}
	group.Wait()
	took := time.Since(began)
	after, err := loaded.OwnMetrics()
	if err != nil {
		t.Fatal(err)
	}
	if err := loaded.CheckWritable(); err != nil {
		t.Error(err)
	}
	slow.End()
	commits := after["commit_duration_seconds_count"] - before["commit_duration_seconds_count"]
	if commits > mostCommits {
		t.Errorf("%v commits for %d jobs that came at once, want %d at most", commits, senders, mostCommits)
	}
	if n := after["commit_failures_total"]; n != 0 {
		t.Errorf("%v commits failed", n)
	}
	loaded.Finish(t)
	loaded.LogOutcome(t, "slow, 0.3 s for a sync: %d senders at once had their answers after %.1f s, in %v commits",
		senders, took.Seconds(), commits)
}

// A sync that does not come back: senders wait or hang up, and /-/ready says why.
func TestDiskHangs(t *testing.T) {
	t.Parallel()
	loaded := harness.StartUnderLoad(t, harness.NewReceiver(t), harness.Impatient)
	began := time.Now()
	hang := harness.InjectFaults(t, loaded.Receiver, "", "fsync:delay_enter=60000000", "fdatasync:delay_enter=60000000")
	reason := regexp.MustCompile(`(?i)commit.* \d+`)
	if err := harness.Eventually(func() error { return loaded.CheckUnready(reason) }); err != nil {
		t.Errorf("%v\n%s", err, loaded.LogExcerpt())
	}
	noticed := time.Since(began)
	if _, err := harness.Fetch(loaded.URL("/-/healthy")); err != nil {
		t.Error(err)
	}
	before, beforeErr := harness.Fetch(loaded.URL("/metrics/jobs"))
	after, afterErr := harness.Fetch(loaded.URL("/metrics/jobs"))
	if err := errors.Join(beforeErr, afterErr); err != nil || !maps.Equal(harness.Counters(before), harness.Counters(after)) {
		t.Errorf("the totals are not served as they are: %v", err)
	}
	ended := time.Now()
	hang.End()
	if err := harness.Eventually(loaded.CheckWritable); err != nil {
		t.Fatalf("%v\n%s", err, loaded.LogExcerpt())
	}
	took := time.Since(ended)
	loaded.Senders.Await(t, loaded.Receiver, 20, 0)
	loaded.Senders.ForgetErrors() // those who hung up
	loaded.Finish(t)
	loaded.LogOutcome(t, "hung: not ready after %.1f s, works again %.1f s after it ended, %d jobs came again that were recorded before",
		noticed.Seconds(), took.Seconds(), loaded.Senders.Duplicates)
}

// Jobs that were refused may be in the write-ahead log all the same: it was written,
// only the sync failed. Whatever comes then, sent again they count once.
func TestRefusedMayBeInTheLog(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		comesBack bool // or must not: that it works again is known from a write over them
		then      func(t *testing.T, loaded *harness.ReceiverUnderLoad, fault *harness.Injection)
	}{
		{"killed while it fails", true, func(_ *testing.T, loaded *harness.ReceiverUnderLoad, fault *harness.Injection) {
			loaded.Kill()
			fault.End()
		}},
		{"stopped while it fails", true, func(t *testing.T, loaded *harness.ReceiverUnderLoad, fault *harness.Injection) {
			if err := loaded.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			loaded.WaitExit(t)
			fault.End()
		}},
		{"killed when it works again", false, func(t *testing.T, loaded *harness.ReceiverUnderLoad, fault *harness.Injection) {
			fault.End()
			if err := harness.Eventually(loaded.CheckWritable); err != nil {
				t.Errorf("%v\n%s", err, loaded.LogExcerpt())
			}
			loaded.Kill()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			receiver := harness.NewReceiver(t)
			loaded := harness.StartUnderLoad(t, receiver, harness.Modest)
			loaded.Senders.Finish(t, receiver)
			fault := harness.InjectFaults(t, receiver, "", "fsync:error=EIO", "fdatasync:error=EIO")
			for round := 0; len(loaded.Probes) < 6; round++ {
				if round == 100 {
					t.Fatal("it does not fail")
				}
				loaded.TryBatch(t, round)
			}
			loaded.StopScraping()
			test.then(t, loaded, fault)
			receiver.Start(t)
			loaded.Watch.Scrape(t, receiver)
			loaded.Senders.Duplicates = 0
			loaded.SendProbesAgain(t)
			if n := loaded.Senders.Duplicates; n > 0 && !test.comesBack {
				t.Errorf("%d jobs that were refused came back", n)
			}
			harness.CheckEachJobCountsOnce(t, receiver, loaded.Senders, &loaded.Watch)
			loaded.LogOutcome(t, "%s: %d of %d refused jobs were in the ledger before they came again",
				test.name, loaded.Senders.Duplicates, len(loaded.Probes))
		})
	}
}

// A receiver that is killed while its disk is full, and started again before there is
// room: it ends with the reason or waits for room; nothing is lost.
func TestKilledWhileFull(t *testing.T) {
	t.Parallel()
	dir := harness.MountTmpfs(t, "size=3m")
	receiver := harness.NewReceiverIn(t, dir)
	loaded := harness.StartUnderLoad(t, receiver, harness.Large)
	loaded.Senders.Await(t, receiver, 0, 20)
	loaded.StopScraping()
	resume := loaded.Senders.Pause(t)
	receiver.Kill()
	harness.FillDisk(t, dir)
	receiver.Launch(t, exec.Command(receiver.Arguments()[0], receiver.Arguments()[1:]...))
	var how string
	if err := harness.Eventually(func() error {
		select {
		case <-receiver.Ended:
			how = "it ends"
			return nil
		default:
		}
		response, err := http.Get(receiver.URL("/-/ready"))
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
		t.Fatalf("%v\n%s", err, receiver.LogExcerpt())
	}
	if how == "it ends" {
		if code := receiver.WaitExit(t); code == 0 {
			t.Errorf("exit code %d", code)
		}
		if log := receiver.Log.String(); !strings.Contains(log[strings.LastIndex(log, "level=ERROR"):], "the disk is full") {
			t.Errorf("it does not say that the disk is full:\n%s", receiver.LogExcerpt())
		}
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	if receiver.Cmd == nil {
		receiver.Start(t)
	} else if err := receiver.WaitReady(); err != nil {
		t.Fatalf("%v\n%s", err, receiver.LogExcerpt())
	}
	resume()
	loaded.Senders.Await(t, receiver, 20, 0)
	loaded.Senders.Finish(t, receiver)
	harness.CheckEachJobCountsOnce(t, receiver, loaded.Senders, &loaded.Watch)
	loaded.LogOutcome(t, "killed and started on a full disk: %s", how)
}
