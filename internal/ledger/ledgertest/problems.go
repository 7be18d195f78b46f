package ledgertest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/problems"
)

// Problem is one of a project that was seen the given time after Start.
func Problem(after time.Duration, project string) problems.Problem {
	return problems.Problem{
		Key:      problems.Key{Kind: problems.Rejected, Project: project, Field: "name", Reason: job.Missing},
		Template: "t" + after.String(), Remedy: "r" + after.String(), Value: "v" + after.String(), Sender: "s" + after.String(),
		Count: 1, First: Start.Add(after), Last: Start.Add(after),
	}
}

// Again is a later problem with the count and the first time of those before it.
func Again(later problems.Problem, before ...problems.Problem) problems.Problem {
	for _, p := range before {
		later.Count += p.Count
		if p.First.Before(later.First) {
			later.First = p.First
		}
	}
	return later
}

// saveProblems stores problems that were all seen by now, and in time.
func saveProblems(t *testing.T, s ledger.Store, found ...problems.Problem) {
	t.Helper()
	saveProblemsAt(t, s, 0, 1000*time.Hour, found...)
}

// saveProblemsAt stores problems; since and now are counted from Start.
func saveProblemsAt(t *testing.T, s ledger.Store, since, now time.Duration, found ...problems.Problem) {
	t.Helper()
	if err := s.SaveProblems(t.Context(), found, Start.Add(since), Start.Add(now)); err != nil {
		t.Fatalf("SaveProblems: %v", err)
	}
}

func wantProblems(t *testing.T, what string, s ledger.Store, want ...problems.Problem) {
	t.Helper()
	got, err := s.Problems(t.Context())
	if err != nil {
		t.Fatalf("Problems: %v", err)
	}
	equal(t, what, got, want)
}

func testProblems(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	wantProblems(t, "of a new ledger", s)
	saveProblems(t, s)
	wantProblems(t, "none saved", s)
	full := Problem(2*time.Second+time.Microsecond, "group/\"ünï\" '); --")
	full.Kind, full.Reason, full.Count = problems.Warned, job.NotALink, 1<<40
	full.First = Start
	refused := problems.Problem{
		Key: problems.Key{Kind: problems.Refused, Reason: "malformed"}, Remedy: "r",
		Count: 1, First: Start.Add(time.Second), Last: Start.Add(time.Second),
	}
	saveProblems(t, s, refused, full)
	wantProblems(t, "saved", s, full, refused)
	closeStore(t, s)
	s = use(t, open)
	wantProblems(t, "opened again", s, full, refused)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Problems(ctx); err == nil {
		t.Error("Problems with a context that had ended")
	}
}

// Each part of the key tells problems apart; of those with the same, the latest tells the
// details, whenever it is saved.
func testProblemsAddUp(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	differ := []problems.Problem{Problem(0, ""), Problem(0, "a"), Problem(0, "b"), Problem(0, "a"), Problem(0, "a"), Problem(0, "a")}
	differ[3].Kind = problems.Warned
	differ[4].Field = "project"
	differ[5].Reason = job.TooLong
	saveProblems(t, s, differ...)
	slices.SortFunc(differ, func(p, q problems.Problem) int { return p.Compare(&q) })
	wantProblems(t, "all of one moment", s, differ...)

	saveProblemsAt(t, s, time.Microsecond, time.Hour) // from here on without them
	early, late, last := Problem(time.Minute, "a"), Problem(time.Hour, "a"), Problem(2*time.Hour, "a")
	late.Count = 1 << 40
	saveProblems(t, s, late)
	saveProblems(t, s, early)
	wantProblems(t, "the earlier one later", s, Again(late, early))
	saveProblems(t, s, last, Problem(0, "b"))
	wantProblems(t, "the latest", s, Again(last, late, early), Problem(0, "b"))
	same := last
	same.Value = "of the same moment"
	saveProblems(t, s, same)
	wantProblems(t, "of the same moment", s, Again(same, last, late, early), Problem(0, "b"))
}

func testProblemsBound(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	var all []problems.Problem
	for i := range problems.MaxKept + 500 {
		all = append(all, Problem(time.Duration(i)*time.Second, fmt.Sprint("p", i)))
	}
	saveProblems(t, s, all[:800]...)
	again := Problem(time.Hour, "p0") // seen again, it stays
	saveProblems(t, s, again)
	saveProblems(t, s, all[800:]...)
	want := append([]problems.Problem{Again(again, all[0])}, all[501:]...)
	slices.SortFunc(want, func(p, q problems.Problem) int { return p.Compare(&q) })
	wantProblems(t, "the last seen", s, want...)
	saveProblems(t, s, all[1]) // older than all: it finds no room
	wantProblems(t, "the last seen", s, want...)
}

func testProblemsSince(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	old, again, edge := Problem(0, "old"), Problem(0, "again"), Problem(time.Hour, "edge")
	saveProblems(t, s, old, again, edge)
	saveProblemsAt(t, s, time.Hour, 2*time.Hour, Problem(2*time.Hour, "again"))
	wantProblems(t, "an hour later", s, Again(Problem(2*time.Hour, "again"), again), edge)
	saveProblemsAt(t, s, time.Hour+time.Microsecond, 2*time.Hour)
	wantProblems(t, "without new ones", s, Again(Problem(2*time.Hour, "again"), again))
}

func testProblemsFuture(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	var ahead []problems.Problem
	for i := range problems.MaxKept {
		ahead = append(ahead, Problem(1000*time.Hour, fmt.Sprint("p", i)))
	}
	saveProblems(t, s, ahead...)
	saveProblemsAt(t, s, 0, time.Hour, Problem(time.Hour, "p1"), Problem(time.Hour, "n"))
	all, err := s.Problems(t.Context())
	if err != nil || len(all) != problems.MaxKept || !all[0].Last.Equal(Start.Add(time.Hour)) || !all[1].First.Equal(all[0].Last) {
		t.Fatalf("%d problems, from %+v, %v", len(all), all[0], err)
	}
	equal(t, "what is new", all[0], Problem(time.Hour, "n"))
	at := slices.IndexFunc(all, func(p problems.Problem) bool { return p.Project == "p1" })
	equal(t, "what is seen again", all[at], Again(Problem(time.Hour, "p1"), Problem(time.Hour, "p1")))
}
