package totals_test

import (
	"fmt"
	"testing"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/totals"
)

// versioned is a job of the i-th template and so on.
func versioned(template, project, version int) *job.Job {
	return &job.Job{Name: fmt.Sprint("t", template), Project: fmt.Sprint("p", project), Status: job.Success,
		Version: fmt.Sprint(version), Timed: true}
}

// Whatever comes, label sets stay within the budget and the tenth behind it (at least
// 600), one per status aside; first the operator's labels fold, then projects, then
// templates; and no job is lost.
func TestBudget(t *testing.T) {
	other := `{"version":"__other__"}`
	settings := totals.Settings{Bounds: []float64{60}, Labels: []string{"version"}, MaxSets: 100}
	for name, test := range map[string]struct {
		job  func(i int) *job.Job
		sets int
		want totals.RunKey // where the last job is
	}{
		"many versions":  {func(i int) *job.Job { return versioned(1, 1, i) }, 101, totals.RunKey{Template: "t1", Project: "p1", Status: job.Success, Labels: other}},
		"many projects":  {func(i int) *job.Job { return versioned(1, i, 1) }, 401, totals.RunKey{Template: "t1", Project: "__other__", Status: job.Success, Labels: other}},
		"many templates": {func(i int) *job.Job { return versioned(i, 1, 1) }, 701, totals.RunKey{Template: "__other__", Project: "__other__", Status: job.Success, Labels: other}},
	} {
		t.Run(name, func(t *testing.T) {
			ts := totals.New(settings)
			const jobs = 5000
			for i := range jobs {
				ts.Apply(int64(i+1), start, test.job(i))
			}
			ts.Apply(jobs+1, start, test.job(0)) // which was there before the budget was used up
			all := ts.Snapshot()
			counts, sum := map[totals.RunKey]uint64{}, uint64(0)
			for _, r := range all.Runs {
				counts[r.RunKey], sum = r.Count, sum+r.Count
			}
			own := totals.OwnKey(test.job(0), settings.Labels)
			if len(all.Runs) != test.sets || sum != jobs+1 || counts[own] != 2 {
				t.Errorf("%d sets, want %d, with %d jobs; %d in the first, want 2", len(all.Runs), test.sets, sum, counts[own])
			}
			if n := counts[test.want]; n < jobs/2 {
				t.Errorf("%d jobs in %v", n, test.want)
			}
			if len(all.Durations) > len(all.Runs) {
				t.Errorf("%d histograms for %d counters", len(all.Durations), len(all.Runs))
			}
			folded := ts.Stats().Folded
			if folded.Labels+folded.Projects+folded.Templates != jobs-100 {
				t.Errorf("counted as folded: %+v", folded)
			}
		})
	}
}

// Without operator labels projects are the first to fold.
func TestBudgetWithoutLabels(t *testing.T) {
	ts := totals.New(totals.Settings{MaxSets: 2})
	for i := range 10 {
		ts.Apply(int64(i+1), start, versioned(1, i, i))
	}
	all := ts.Snapshot().Runs
	want := totals.RunKey{Template: "t1", Project: totals.Other, Status: job.Success}
	if len(all) != 3 || all[2].RunKey != want || all[2].Count != 8 || all[2].Since != 3 {
		t.Errorf("%+v", all)
	}
	ts.Configure(totals.Settings{MaxSets: 3}, 10) // more room is for new sets
	ts.Apply(11, start, versioned(1, 7, 7))
	ts.Apply(12, start, versioned(1, 8, 8))
	if all := ts.Snapshot().Runs; len(all) != 4 || all[2].Count != 9 || all[3].Project != "p7" || all[3].Count != 1 {
		t.Errorf("with a larger budget: %+v", all)
	}
}

// A budget that is smaller than what there is leaves those with Other their room.
func TestLowerBudget(t *testing.T) {
	ts := totals.New(totals.Settings{})
	for i := range 3000 {
		ts.Apply(int64(i+1), start, versioned(1, i, 0))
	}
	ts.Configure(totals.Settings{MaxSets: 2000}, 3000)
	for i := range 10 {
		ts.Apply(int64(3001+i), start, versioned(i, 5000, 0))
	}
	all := ts.Snapshot().Runs
	if len(all) != 3010 {
		t.Fatalf("%d label sets", len(all))
	}
	for _, r := range all[3000:] {
		if r.Template == totals.Other || r.Project != totals.Other {
			t.Errorf("%+v", r)
		}
	}
}

func TestCheckLabels(t *testing.T) {
	for _, names := range [][]string{nil, {"version"}, totals.LabelNames()} {
		if err := totals.CheckLabels(names); err != nil {
			t.Errorf("%v: %v", names, err)
		}
	}
	for _, names := range [][]string{{"job"}, {"project"}, {"url"}, {"colour"}, {""}, {"version", "version"}} {
		if err := totals.CheckLabels(names); err == nil {
			t.Errorf("%v are labels", names)
		}
	}
}

// Labels that are taken away add up; the earlier beginning and the later exemplar stay.
func TestRemoveLabel(t *testing.T) {
	settings := totals.Settings{Bounds: []float64{60}, Labels: []string{"ref", "version"}}
	ts := totals.New(settings)
	for i := range 7 {
		j := versioned(1, 1, i%2)
		j.ID, j.Ref = fmt.Sprint("job ", i), "main"
		ts.Apply(int64(i+1), start.AddDate(0, 0, i), j)
	}
	ts.Changes()
	settings.Labels = []string{"version"}
	if c := ts.Configure(settings, 7); len(c.Removed) != 1 || len(c.Added) != 0 || c.Dropped != 0 {
		t.Errorf("%+v", c)
	}
	if all := ts.Snapshot(); len(all.Runs) != 2 || all.Runs[0].Labels != `{"version":"0"}` {
		t.Errorf("without ref: %+v", all.Runs)
	}
	settings.Labels = nil
	ts.Configure(settings, 7)
	all := ts.Snapshot()
	if len(all.Runs) != 1 || all.Runs[0].Count != 7 || all.Runs[0].Since != 1 || !all.Runs[0].Created.Equal(start) {
		t.Errorf("without labels: %+v", all.Runs)
	}
	d := all.Durations
	if len(d) != 1 || d[0].Count != 7 || d[0].Exp.Zero != 7 || d[0].Buckets[0] != 7 || d[0].Exemplars[0].ID != "job 6" || !d[0].Created.Equal(start) {
		t.Errorf("without labels: %+v", d)
	}
	c := ts.Changes()
	if !c.Replace || !c.DropDurations || len(c.Runs) != 1 || len(c.Durations) != 1 || c.ExactFrom != 8 {
		t.Errorf("to be stored: %+v", c)
	}
}

// What a job's labels were with other settings says nothing of what they are.
func TestExchangeLabel(t *testing.T) {
	ts := totals.New(totals.Settings{Labels: []string{"ref"}})
	j := versioned(1, 1, 7)
	j.Ref = "7"
	ts.Apply(1, start, j)
	ts.Configure(totals.Settings{Labels: []string{"version"}}, 1)
	ts.Apply(2, start, j)
	if all := ts.Snapshot().Runs; len(all) != 2 || all[0].Labels != "" || all[1].Labels != `{"version":"7"}` {
		t.Errorf("%+v", all)
	}
}
