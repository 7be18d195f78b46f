package history_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"ci-jobs-metrics/internal/history"
	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// end is in the busy hours of a Wednesday, and not in whole microseconds.
var end = time.Date(2026, 6, 10, 13, 17, 5, 123456789, time.UTC)

const days = 24 * time.Hour

// shapes are ordinary ones and the ends of what is allowed.
func shapes() map[string]history.Shape {
	demo, calm, bench := history.Demo(end), history.Demo(end), history.Bench(end)
	calm.Planted = false
	bench.Jobs = 30_000
	elsewhere := history.Demo(end.In(time.FixedZone("", 5*3600+1800)))
	elsewhere.Jobs = 5000
	sunday := history.Shape{Templates: 9, Projects: 19, Jobs: 3000, Days: 3, End: end.Add(-10 * days), Seed: 7, Planted: true}
	return map[string]history.Shape{
		"demo":             demo,
		"demo, no stories": calm,
		"bench, thinned":   bench,
		"end elsewhere":    elsewhere,
		"a weekend":        sunday,
		"one of each":      {Templates: 1, Projects: 1, Jobs: 1, Days: 1, End: end.Truncate(time.Hour)},
		"a crowded day":    {Templates: 3, Projects: 2, Jobs: 5000, Days: 1, End: end.Truncate(time.Hour).Add(-1)},
		"hardly anything":  {Templates: 500, Projects: 3000, Jobs: 40, Days: 400, End: end, Planted: true},
	}
}

func each(t *testing.T, test func(t *testing.T, s history.Shape)) {
	for name, s := range shapes() {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
}

// Every job is there, in the order of receipt, in the time that was asked for.
func TestEntries(t *testing.T) {
	each(t, func(t *testing.T, s history.Shape) {
		begin := s.End.Add(-time.Duration(s.Days) * days)
		before, n := begin, 0
		for _, e := range entries(s) {
			n++
			if e.Received.Before(before) || e.Received.After(s.End) {
				t.Fatalf("job %d was received at %s: not from %s to %s", n, e.Received, before, s.End)
			}
			if e.Job.Finished.Before(begin) || e.Job.Timed && e.Job.Started.Before(begin) {
				t.Fatalf("job %d ran before the history: %+v", n, e.Job)
			}
			before = e.Received
		}
		if n != s.Jobs {
			t.Errorf("%d jobs, want %d", n, s.Jobs)
		}
	})
}

// What the receiver would have made of the same job, sent field by field, is the entry.
func TestEntriesAreValid(t *testing.T) {
	each(t, func(t *testing.T, s history.Shape) {
		ids := make(map[string]bool, s.Jobs)
		for _, e := range entries(s) {
			report := report(&e.Job)
			verdict := report.Check(e.Received, ledger.DefaultRetention)
			if len(verdict.Warnings)+len(verdict.Rejections) > 0 {
				t.Fatalf("%+v: %v %v", e.Job, verdict.Warnings, verdict.Rejections)
			}
			if verdict.Job != e.Job || e.Received != job.Instant(e.Received) {
				t.Fatalf("received %s, checked (-) and yielded (+):\n%s", e.Received, gocmp.Diff(verdict.Job, e.Job))
			}
			if ids[e.Job.ID] {
				t.Fatalf("%s is there twice", e.Job.ID)
			}
			ids[e.Job.ID] = true
		}
	})
}

func report(j *job.Job) job.Report {
	r := job.Report{
		Name: j.Name, Project: j.Project, Status: string(j.Status), Finished: j.Finished.Format(time.RFC3339Nano),
		ID: j.ID, Version: j.Version, Job: j.Job, URL: j.URL, Stage: j.Stage, Ref: j.Ref, SHA: j.SHA,
		Pipeline: j.Pipeline, Runner: j.Runner, Source: j.Source,
	}
	if !j.Started.IsZero() {
		r.Started = j.Started.Format(time.RFC3339Nano)
	}
	if j.Timed {
		r.Duration = strconv.FormatFloat(j.Duration.Seconds(), 'f', 6, 64)
	}
	return r
}

// The same shape makes the same history, wherever its end is written; each thing that
// may differ makes another one.
func TestSameShapeSameHistory(t *testing.T) {
	demo := history.Demo(end)
	demo.Jobs = 5000
	first := slices.Collect(demo.Entries())
	elsewhere := demo
	elsewhere.End = end.In(time.FixedZone("", -7*3600))
	same(t, "written in another zone", slices.Collect(elsewhere.Entries()), first)
	same(t, "stories written in another zone", elsewhere.Plants(), demo.Plants())
	for name, change := range map[string]func(s *history.Shape){
		"seed":    func(s *history.Shape) { s.Seed++ },
		"end":     func(s *history.Shape) { s.End = end.Add(time.Hour) },
		"planted": func(s *history.Shape) { s.Planted = false },
	} {
		other := demo
		change(&other)
		if slices.Equal(first, slices.Collect(other.Entries())) {
			t.Errorf("another %s makes no difference", name)
		}
	}
}

// Somebody who has seen enough gets no more.
func TestEntriesEnd(t *testing.T) {
	demo := history.Demo(end)
	whole := entries(demo)
	for _, n := range []int{1, 1234, 20_000} {
		var some []ledger.Entry
		for e := range demo.Entries() {
			if some = append(some, e); len(some) == n {
				break
			}
		}
		same(t, fmt.Sprint("the first ", n), some, whole[:n])
	}
}

func TestNoHistory(t *testing.T) {
	for i, change := range []func(s *history.Shape){
		func(s *history.Shape) { s.Templates = 0 },
		func(s *history.Shape) { s.Projects = 0 },
		func(s *history.Shape) { s.Jobs = 0 },
		func(s *history.Shape) { s.Days = -1 },
	} {
		s := history.Demo(end)
		change(&s)
		for e := range s.Entries() {
			t.Fatalf("change %d: %+v", i, e)
		}
		if plants := s.Plants(); len(plants) > 0 {
			t.Errorf("change %d: %v", i, plants)
		}
		if err := s.Fill(t.Context(), nil, nil); err != nil {
			t.Errorf("change %d: %v", i, err)
		}
	}
}

// All jobs of a pipeline are of one commit; numbers rise with creation, and so those of
// pipelines with those of their first jobs.
func TestPipelines(t *testing.T) {
	first := map[string]*job.Job{} // of each pipeline
	numbers := map[string]int{}
	jobs := 0
	for _, e := range entries(history.Demo(end)) {
		j := &e.Job
		jobs++
		number := numberOf(t, j)
		one, known := first[j.Pipeline]
		if known && (one.SHA != j.SHA || one.Ref != j.Ref || one.Source != j.Source || one.Project != j.Project || one.Version != j.Version && one.Name == j.Name) {
			t.Fatalf("in one pipeline:\n%+v\n%+v", one, j)
		}
		if !known || number < numbers[j.Pipeline] {
			first[j.Pipeline], numbers[j.Pipeline] = j, number
		}
	}
	pipelines := slices.Collect(maps.Keys(numbers))
	slices.SortFunc(pipelines, func(a, b string) int { return cmp.Compare(numbers[a], numbers[b]) })
	if !slices.IsSorted(pipelines) { // all have as many digits
		t.Error("pipelines are not numbered in the order of their jobs")
	}
	between(t, "jobs of a pipeline", float64(jobs)/float64(len(pipelines)), 3, 8)
	commits := map[string]bool{}
	for _, j := range first {
		commits[j.SHA] = true
	}
	if len(commits) != len(pipelines) {
		t.Errorf("%d commits in %d pipelines", len(commits), len(pipelines))
	}
}

// numberOf is GitLab's number of the job, which its id and address agree on.
func numberOf(t *testing.T, j *job.Job) (number int) {
	t.Helper()
	var name string
	if _, err := fmt.Sscanf(j.ID, "gitlab.example/%d/%s", &number, &name); err != nil || name != j.Name {
		t.Fatalf("id %q of a job of %s: %v", j.ID, j.Name, err)
	}
	if want := fmt.Sprintf("https://gitlab.example/%s/-/jobs/%d", j.Project, number); j.URL != want {
		t.Fatalf("address %s, want %s", j.URL, want)
	}
	return number
}

func between(t *testing.T, what string, got, least, most float64) {
	t.Helper()
	if !(got >= least && got <= most) {
		t.Errorf("%s: %.4f, want %g to %g", what, got, least, most)
	}
}

func same[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s (-want +got):\n%s", what, gocmp.Diff(want, got))
	}
}
