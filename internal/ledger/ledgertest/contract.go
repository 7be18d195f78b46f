// Package ledgertest says by tests what every ledger.Store has to do, and helps
// tests to make jobs.
package ledgertest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/totals"
)

// Start is a moment for tests: when their first jobs are received.
var Start = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

// Entry is a job that was received the given time after Start.
func Entry(after time.Duration, id string) ledger.Entry {
	return ledger.Entry{Received: Start.Add(after), Job: job.Job{
		Name: "dotnet_build", Project: "group/app", Status: job.Success, Finished: Start, ID: id,
	}}
}

// full is a job with every field set.
func full() ledger.Entry {
	return ledger.Entry{Received: Start, Job: job.Job{
		Name: "naïve \"build\"", Project: "group/ünï", Status: job.TimedOut,
		Started: Start.Add(-time.Minute), Finished: Start.Add(-time.Second),
		Timed: true, Duration: 59*time.Second + time.Microsecond,
		ID: "gitlab.example/7/build", Version: "1.2.3", Job: "build 1/5", URL: "https://gitlab.example/-/jobs/7",
		Stage: "test", Ref: "main", SHA: "abc", Pipeline: "12345678901234567890", Runner: "r", Source: "push",
	}}
}

// Test runs the contract. open makes a new ledger and returns a function that
// opens it, again and again; the store it opened last is closed by then.
func Test(t *testing.T, open func(t *testing.T) func() ledger.Store) {
	for name, test := range map[string]func(*testing.T, func() ledger.Store){
		"rows come back as they went in":        testRoundTrip,
		"an id counts once":                     testDuplicates,
		"a duplicate that knows more is late":   testLate,
		"no id always counts":                   testNoID,
		"a job is found by its id":              testJob,
		"rows come in steps":                    testPaging,
		"numbers are never used twice":          testNumbers,
		"everything survives closing":           testReopen,
		"an append that fails records nothing":  testFailedAppend,
		"a reader misses no row":                testReader,
		"pruning takes the oldest and folded":   testPrune,
		"a pruned id counts again":              testPrunedID,
		"a checkpoint comes back as it went in": testCheckpoint,
		"a checkpoint replaces what it has":     testCheckpointReplaces,
		"a checkpoint can drop histograms":      testCheckpointDrops,
		"a checkpoint can replace everything":   testCheckpointReplacesAll,
		"a checkpoint is loaded in parts":       testCheckpointParts,
		"a checkpoint does not go back":         testCheckpointGoesOn,
		"rows of the future stop no pruning":    testPruneFuture,
		"no checkpoint, then an empty one":      testNoCheckpoint,
		"problems come back as they went in":    testProblems,
		"problems are added up":                 testProblemsAddUp,
		"the last seen problems are kept":       testProblemsBound,
		"problems don't outlive their time":     testProblemsSince,
		"problems of the future keep none out":  testProblemsFuture,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
	for name, test := range rollupTests {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func use(t *testing.T, open func() ledger.Store) ledger.Store {
	t.Helper()
	s := open()
	t.Cleanup(func() { _ = s.Close() }) // again where the test closed it: no harm
	return s
}

func appendAll(t *testing.T, s ledger.Store, entries ...ledger.Entry) []ledger.Outcome {
	t.Helper()
	outcomes, err := s.Append(t.Context(), entries)
	if err != nil {
		t.Fatalf("Append: %v", err)
	}
	if len(outcomes) != len(entries) {
		t.Fatalf("Append: %d outcomes for %d entries", len(outcomes), len(entries))
	}
	return outcomes
}

func rows(t *testing.T, s ledger.Store, after int64, limit int) []ledger.Row {
	t.Helper()
	r, err := s.Rows(t.Context(), after, limit)
	if err != nil {
		t.Fatalf("Rows: %v", err)
	}
	return r
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func closeStore(t *testing.T, s ledger.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func testRoundTrip(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	bare := ledger.Entry{Received: Start, Job: job.Job{Name: "n", Project: "p", Status: job.Unknown, Finished: Start}}
	instant := bare // took no time, which is not the same as unknown
	instant.Job.Timed = true
	want := []ledger.Row{{Seq: 1, Entry: full()}, {Seq: 2, Entry: bare}, {Seq: 3, Entry: instant}}
	appendAll(t, s, want[0].Entry, want[1].Entry, want[2].Entry)
	equal(t, "rows", rows(t, s, 0, 10), want)
}

func testDuplicates(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	equal(t, "within one append",
		appendAll(t, s, Entry(0, "a"), Entry(0, "b"), Entry(0, "a")),
		[]ledger.Outcome{{Seq: 1}, {Seq: 2}, {}})
	equal(t, "over two appends",
		appendAll(t, s, Entry(0, "b"), Entry(0, "c"), Entry(0, "A")),
		[]ledger.Outcome{{}, {Seq: 3}, {Seq: 4}})
	if n := len(rows(t, s, 0, 10)); n != 4 {
		t.Errorf("%d rows, want 4", n)
	}
}

func testLate(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	unknown, known := Entry(0, "a"), Entry(0, "a")
	unknown.Job.Status = job.Unknown
	equal(t, "unknown, unknown, known, known", appendAll(t, s, unknown, unknown, known, known),
		[]ledger.Outcome{{Seq: 1}, {}, {Late: true}, {Late: true}})
	if got := rows(t, s, 0, 10)[0].Job.Status; got != job.Unknown {
		t.Errorf("the late report changed the status to %s: the first accepted wins", got)
	}
	equal(t, "known, unknown", appendAll(t, s, Entry(0, "b"), ledger.Entry{Received: Start, Job: job.Job{
		Name: "n", Project: "p", Status: job.Unknown, Finished: Start, ID: "b",
	}}), []ledger.Outcome{{Seq: 2}, {}})
}

func testNoID(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	equal(t, "outcomes", appendAll(t, s, Entry(0, ""), Entry(0, "")), []ledger.Outcome{{Seq: 1}, {Seq: 2}})
}

func testJob(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	again := full() // the first accepted wins
	again.Job.URL = "https://gitlab.example/-/jobs/8"
	appendAll(t, s, Entry(0, ""), Entry(0, "a"), full(), Entry(0, "A"))
	appendAll(t, s, again)
	want := func(id string, row ledger.Row) {
		t.Helper()
		got, found, err := s.Job(t.Context(), id)
		if err != nil || found != (row.Seq != 0) {
			t.Errorf("Job(%q): found %v, %v", id, found, err)
		}
		equal(t, id, got, row)
	}
	want("a", ledger.Row{Seq: 2, Entry: Entry(0, "a")})
	want("A", ledger.Row{Seq: 4, Entry: Entry(0, "A")})
	want(full().Job.ID, ledger.Row{Seq: 3, Entry: full()})
	for _, id := range []string{"", "b", "a ", "a%", "*", "a\x00", "\xff", "' OR '1'='1"} {
		want(id, ledger.Row{})
	}
	if n, err := s.Prune(t.Context(), Start.Add(time.Minute), 2, 10); n != 2 || err != nil {
		t.Fatalf("Prune: %d, %v", n, err)
	}
	want("a", ledger.Row{})
	closeStore(t, s)
	s = use(t, open)
	want("a", ledger.Row{})
	want(full().Job.ID, ledger.Row{Seq: 3, Entry: full()})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, found, err := s.Job(ctx, "A"); err == nil || found {
		t.Errorf("Job with a context that had ended: %v, %v", found, err)
	}
}

func testPaging(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	for range 5 {
		appendAll(t, s, Entry(0, ""), Entry(0, ""))
	}
	var seen []int64
	for after := int64(0); ; {
		page := rows(t, s, after, 3)
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			seen, after = append(seen, r.Seq), r.Seq
		}
	}
	equal(t, "numbers", seen, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
}

func testNumbers(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	appendAll(t, s, Entry(0, ""), Entry(0, ""), Entry(0, ""))
	if err := s.SaveTotals(t.Context(), &totals.Checkpoint{}, 3); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Prune(t.Context(), Start.Add(time.Hour), 3, 10); n != 3 || err != nil {
		t.Fatalf("Prune: %d, %v", n, err)
	}
	closeStore(t, s)
	s = use(t, open)
	equal(t, "after a restart with every row pruned", appendAll(t, s, Entry(0, "")), []ledger.Outcome{{Seq: 4}})
}

func testReopen(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	created := s.Created()
	if created.IsZero() {
		t.Error("no creation time")
	}
	appendAll(t, s, full())
	closeStore(t, s)
	s = use(t, open)
	equal(t, "rows", rows(t, s, 0, 10), []ledger.Row{{Seq: 1, Entry: full()}})
	equal(t, "creation time", s.Created(), created)
	equal(t, "append", appendAll(t, s, full(), Entry(0, "")), []ledger.Outcome{{}, {Seq: 2}})
}

func testFailedAppend(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Append(ctx, []ledger.Entry{Entry(0, "a")}); err == nil {
		t.Fatal("Append succeeded with a context that had ended")
	}
	equal(t, "rows", rows(t, s, 0, 10), []ledger.Row{})
	equal(t, "the next append", appendAll(t, s, Entry(0, "a")), []ledger.Outcome{{Seq: 1}})
}

// testReader follows the ledger as a fold does while it grows.
func testReader(t *testing.T, open func() ledger.Store) {
	const appends, each = 50, 20
	s := use(t, open)
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := range appends {
			batch := make([]ledger.Entry, each)
			for k := range batch {
				batch[k] = Entry(0, fmt.Sprintf("%d/%d", i, k))
			}
			if _, err := s.Append(context.Background(), batch); err != nil {
				t.Errorf("Append: %v", err)
				return
			}
		}
	})
	defer writer.Wait()
	deadline := time.Now().Add(time.Minute)
	for after := int64(0); after < appends*each; {
		for _, r := range rows(t, s, after, 7) {
			if r.Seq != after+1 {
				t.Fatalf("row %d came after row %d", r.Seq, after)
			}
			after = r.Seq
		}
		if time.Now().After(deadline) {
			t.Fatalf("stuck at row %d", after)
		}
	}
}

func testPrune(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	for i := range 10 {
		appendAll(t, s, Entry(time.Duration(i)*time.Hour, ""))
	}
	for _, step := range []struct {
		before      time.Duration
		upTo        int64
		limit, want int
		left        int64 // the first row that is left
	}{
		{before: 0, upTo: 10, limit: 10, want: 0, left: 1},
		{before: 4 * time.Hour, upTo: 2, limit: 10, want: 2, left: 3},
		{before: 9 * time.Hour, upTo: 10, limit: 3, want: 3, left: 6},
		{before: 7 * time.Hour, upTo: 10, limit: 10, want: 2, left: 8},
		{before: 7 * time.Hour, upTo: 10, limit: 10, want: 0, left: 8},
	} {
		n, err := s.Prune(t.Context(), Start.Add(step.before), step.upTo, step.limit)
		if n != step.want || err != nil {
			t.Fatalf("Prune(%+v): %d, %v", step, n, err)
		}
		if first := rows(t, s, 0, 1)[0].Seq; first != step.left {
			t.Fatalf("Prune(%+v): first row is %d", step, first)
		}
	}
}

func testPrunedID(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	appendAll(t, s, Entry(0, "a"), Entry(time.Hour, "b"))
	if n, err := s.Prune(t.Context(), Start.Add(time.Minute), 2, 10); n != 1 || err != nil {
		t.Fatalf("Prune: %d, %v", n, err)
	}
	equal(t, "outcomes", appendAll(t, s, Entry(0, "a"), Entry(0, "b")), []ledger.Outcome{{Seq: 3}, {}})
}

func testPruneFuture(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	for i := range 30 {
		after := time.Duration(0)
		if i < 10 {
			after = 1000 * time.Hour // the clock was ahead
		}
		appendAll(t, s, Entry(after, ""))
	}
	for _, want := range []int{10, 10, 0} {
		if n, err := s.Prune(t.Context(), Start.Add(time.Hour), 30, 10); n != want || err != nil {
			t.Errorf("Prune: %d, %v, want %d", n, err, want)
		}
	}
	if left := rows(t, s, 0, 30); len(left) != 10 || left[9].Seq != 10 {
		t.Errorf("%d rows are left", len(left))
	}
}
