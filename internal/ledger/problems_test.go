package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/ledgertest"
	"ci-jobs-metrics/internal/problems"
)

func wantProblems(t *testing.T, what string, l *ledger.Ledger, want ...problems.Problem) {
	t.Helper()
	got, err := l.Problems(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// stored is what a store has of problems.
func stored(t *testing.T, s ledger.Store) []problems.Problem {
	t.Helper()
	all, err := s.Problems(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// at is when tests with a clock of their own look at problems.
func at(after time.Duration) func() time.Time {
	return func() time.Time { return ledgertest.Start.Add(after) }
}

// Problems are there at once, and after a stop; those of before and of now are one.
func TestProblems(t *testing.T) {
	path := ledgerPath(t)
	old, again, other := ledgertest.Problem(0, "a"), ledgertest.Problem(time.Minute, "a"), ledgertest.Problem(time.Second, "b")
	options := ledger.Options{Totals: few, CheckpointEvery: time.Hour, Now: at(time.Hour)}
	l := openLedger(t, openStore(t, path), options)
	wantProblems(t, "none", l)
	l.Note([]problems.Problem{old})
	wantProblems(t, "noted", l, old)
	closeLedger(t, l)
	l = openLedger(t, openStore(t, path), options)
	wantProblems(t, "after a stop", l, old)
	l.Note([]problems.Problem{other, again})
	wantProblems(t, "noted again", l, ledgertest.Again(again, old), other)
	closeLedger(t, l)
	wantProblems(t, "after another stop", openLedger(t, openStore(t, path), options), ledgertest.Again(again, old), other)
}

// A crash takes those that were not stored yet, and nothing of the others.
func TestProblemsAfterACrash(t *testing.T) {
	path := ledgerPath(t)
	s := openStore(t, path)
	l := openLedger(t, s, ledger.Options{Totals: few, CheckpointEvery: 10 * time.Millisecond, Now: at(time.Hour)})
	first, second := ledgertest.Problem(0, "a"), ledgertest.Problem(time.Second, "a")
	l.Note([]problems.Problem{first})
	waitFor(t, func() bool { return len(stored(t, s)) == 1 })
	l.Note([]problems.Problem{second})
	waitFor(t, func() bool { return stored(t, s)[0].Count == 2 })
	wantProblems(t, "after a kill", openLedger(t, openStore(t, copyLedger(t, path)), ledger.Options{Totals: few, Now: at(time.Hour)}),
		ledgertest.Again(second, first))
}

// failingProblems is a store that can't store problems for a while.
type failingProblems struct {
	ledger.Store
	failures atomic.Int32 // left
}

func (s *failingProblems) SaveProblems(ctx context.Context, found []problems.Problem, since, now time.Time) error {
	if s.failures.Add(-1) >= 0 {
		return errDisk
	}
	return s.Store.SaveProblems(ctx, found, since, now)
}

// What could not be stored stays, within bounds, and is stored when that works again.
func TestFailedProblems(t *testing.T) {
	s := &failingProblems{Store: openStore(t, ledgerPath(t))}
	s.failures.Store(1 << 30)
	l := openLedger(t, s, ledger.Options{Totals: few, CheckpointEvery: time.Millisecond, Now: at(10 * time.Hour)})
	failed := func(more int32) { waitFor(t, func() bool { return s.failures.Load() < 1<<30-more }) }
	var want []problems.Problem
	for i := range problems.MaxKept + 200 {
		p := ledgertest.Problem(time.Duration(i)*time.Second, fmt.Sprint("p", i))
		l.Note([]problems.Problem{p})
		want = append([]problems.Problem{p}, want...)
	}
	failed(5)
	want = want[:problems.MaxKept]
	wantProblems(t, "while storing fails", l, want...)
	s.failures.Store(0)
	waitFor(t, func() bool { return len(stored(t, s)) == problems.MaxKept })
	wantProblems(t, "when it works again", l, want...)
	if diff := gocmp.Diff(want, stored(t, s)); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

// While jobs can't be recorded nothing else is tried, and the problems wait.
func TestProblemsDuringTrouble(t *testing.T) {
	s := &burning{Store: openStore(t, ledgerPath(t))}
	l := openLedger(t, s, ledger.Options{Totals: few, CheckpointEvery: time.Millisecond, Now: at(time.Hour)})
	s.burns.Store(true)
	if _, err := l.Record([]ledger.Entry{ledgertest.Entry(0, "")}); !errors.Is(err, errDisk) {
		t.Fatal(err)
	}
	p := ledgertest.Problem(0, "a")
	l.Note([]problems.Problem{p})
	time.Sleep(20 * time.Millisecond)
	if n := len(stored(t, s)); n != 0 {
		t.Errorf("%d are stored", n)
	}
	wantProblems(t, "meanwhile", l, p)
	s.burns.Store(false)
	waitFor(t, func() bool { return len(stored(t, s)) == 1 })
	wantProblems(t, "afterwards", l, p)
}

// What was not seen for the retention is not shown any more, and goes from the store too,
// although nothing new comes.
func TestProblemsRetention(t *testing.T) {
	s := openStore(t, ledgerPath(t))
	var hours atomic.Int64
	l := openLedger(t, s, ledger.Options{Totals: few, CheckpointEvery: 5 * time.Millisecond, PruneEvery: time.Hour,
		Retention: 2 * time.Hour, Now: func() time.Time { return ledgertest.Start.Add(time.Duration(hours.Load()) * time.Hour) }})
	old, again := ledgertest.Problem(0, "a"), ledgertest.Problem(time.Hour, "b")
	l.Note([]problems.Problem{old, ledgertest.Problem(0, "b")})
	waitFor(t, func() bool { return len(stored(t, s)) == 2 })
	hours.Store(1)
	l.Note([]problems.Problem{again})
	hours.Store(2)
	wantProblems(t, "just in time", l, ledgertest.Again(again, ledgertest.Problem(0, "b")), old)
	hours.Store(3)
	wantProblems(t, "later", l, ledgertest.Again(again, ledgertest.Problem(0, "b")))
	waitFor(t, func() bool { return len(stored(t, s)) == 1 })
	hours.Store(4)
	wantProblems(t, "at last", l)
	waitFor(t, func() bool { return len(stored(t, s)) == 0 })
}

// Who reads sees each problem once, whether it is stored meanwhile or fails to be.
func TestProblemsWhileStored(t *testing.T) {
	s := &failingProblems{Store: openStore(t, ledgerPath(t))}
	l := openLedger(t, s, ledger.Options{Totals: few, CheckpointEvery: 2 * time.Millisecond, Now: at(time.Hour)})
	var noted atomic.Int64
	var noter sync.WaitGroup
	noter.Go(func() {
		for i := range int64(400) {
			if i%50 == 0 {
				s.failures.Store(2)
			}
			l.Note([]problems.Problem{ledgertest.Problem(time.Duration(i)*time.Second, "a")})
			noted.Add(1)
			time.Sleep(time.Millisecond)
		}
	})
	defer noter.Wait()
	for seen := int64(0); seen < 400; {
		least := noted.Load()
		all, err := l.Problems(t.Context())
		most := noted.Load() + 1 // one may be noted and not counted here
		if err != nil || len(all) > 1 {
			t.Fatalf("%v, %v", all, err)
		}
		if seen = 0; len(all) == 1 {
			seen = all[0].Count
		}
		if seen < least || seen > most {
			t.Fatalf("%d were seen, of %d to %d", seen, least, most)
		}
	}
}

// hanging is a store that stores problems and does not come back.
type hanging struct {
	ledger.Store
	arrived, free chan struct{}
}

func (s *hanging) SaveProblems(ctx context.Context, found []problems.Problem, since, now time.Time) error {
	select {
	case s.arrived <- struct{}{}:
	default: // the next times
	}
	<-s.free
	return s.Store.SaveProblems(ctx, found, since, now)
}

// While problems are being stored new ones are noted, and who reads may give up.
func TestProblemsOfAHangingDisk(t *testing.T) {
	s := &hanging{openStore(t, ledgerPath(t)), make(chan struct{}, 1), make(chan struct{})}
	l := openLedger(t, s, ledger.Options{Totals: few, CheckpointEvery: time.Millisecond, Now: at(time.Hour)})
	free := sync.OnceFunc(func() { close(s.free) })
	t.Cleanup(free)
	l.Note([]problems.Problem{ledgertest.Problem(0, "a")})
	<-s.arrived
	l.Note([]problems.Problem{ledgertest.Problem(0, "b")})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if all, err := l.Problems(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, %v", all, err)
	}
	free()
	wantProblems(t, "afterwards", l, ledgertest.Problem(0, "a"), ledgertest.Problem(0, "b"))
	closeLedger(t, l)
}

// slow is a store that takes its time to tell problems.
type slow struct {
	ledger.Store
	arrived, free chan struct{}
}

func (s *slow) Problems(ctx context.Context) ([]problems.Problem, error) {
	all, err := s.Store.Problems(ctx)
	s.arrived <- struct{}{}
	<-s.free
	return all, err
}

// Who reads holds nobody up: jobs are recorded and problems stored meanwhile, and are seen
// all the same.
func TestReadingProblemsHoldsNobodyUp(t *testing.T) {
	inner := openStore(t, ledgerPath(t))
	s := &slow{inner, make(chan struct{}), make(chan struct{})}
	l := openLedger(t, s, ledger.Options{Totals: few, CheckpointEvery: time.Millisecond, Now: at(time.Hour)})
	read := make(chan []problems.Problem)
	go func() {
		all, err := l.Problems(context.Background())
		if err != nil {
			t.Error(err)
		}
		read <- all
	}()
	<-s.arrived // it has read that there is none
	l.Note([]problems.Problem{ledgertest.Problem(0, "a")})
	waitFor(t, func() bool { return len(stored(t, inner)) == 1 })
	record(t, l, ledgertest.Entry(0, ""))
	s.free <- struct{}{}
	<-s.arrived // again
	s.free <- struct{}{}
	if all := <-read; len(all) != 1 || all[0].Count != 1 {
		t.Errorf("%+v", all)
	}
}
