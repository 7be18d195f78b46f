package findings_test

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/kpi/findings"
	"ci-jobs-metrics/internal/ledger"
)

// proved checks a finding's numbers by the answers to which its evidence leads.
func proved(t *testing.T, a *kpi.Asker, f *findings.Finding) {
	t.Helper()
	ask := func(p kpi.Period) *kpi.Stats {
		o, err := a.Overview(context.Background(), kpi.Query{Period: p, Filter: f.Evidence.Filter})
		if err != nil {
			t.Fatalf("%s: %v", f.Text, err)
		}
		return &o.Current
	}
	before, after := ask(f.Before.Period), ask(f.After.Period)
	months := f.After.Period.To.Sub(f.After.Period.From).Hours() / 24 / 30
	if part := f.After.Period.To.Sub(f.After.Period.From); part%(24*time.Hour) != 0 {
		months = math.Ceil(part.Hours()/24) / 30 // today counts as a day
	}
	switch f.Kind {
	case findings.SuccessFell:
		same(t, f, "before", f.Before.Value, before.SuccessRate)
		same(t, f, "after", f.After.Value, after.SuccessRate)
		same(t, f, "cost", f.Cost, new(max((after.HoursLost-before.HoursLost*ended(after)/ended(before))/months, 0)))
	case findings.Slower:
		same(t, f, "before", f.Before.Value, before.Durations.P95)
		same(t, f, "after", f.After.Value, after.Durations.P95)
		// It is the same but for projects that run more or less than before.
		rough := (*after.Durations.Mean - *before.Durations.Mean) * float64(after.Durations.Jobs) / 3600 / months
		if r := *f.Cost / rough; r < 0.7 || r > 1.4 {
			t.Errorf("%s: it costs %g h, want about %g", f.Text, *f.Cost, rough)
		}
	case findings.FlakyRuns:
		same(t, f, "after", f.After.Value, new(float64(after.Flaky)/float64(after.Statuses.Success)))
		same(t, f, "cost", f.Cost, new(after.FlakyHours/months))
	case findings.LostTime:
		if *f.Cost <= 0 || *f.Cost*months >= after.HoursLost {
			t.Errorf("%s: it costs %g h, of %g in %g months", f.Text, *f.Cost, after.HoursLost, months)
		}
	case findings.Outdated:
		if f.After.Runs > after.Jobs { // some moved since the period began
			t.Errorf("%s: %d runs, of %d", f.Text, f.After.Runs, after.Jobs)
		}
	case findings.Fading:
		same(t, f, "runs", new(float64(f.After.Runs)), new(float64(after.Jobs)))
		same(t, f, "projects", new(float64(f.After.Projects)), new(float64(after.Projects)))
		same(t, f, "before", f.Before.Value, new(f.RunsPerMonth+*f.After.Value))
	case findings.Stopped:
		same(t, f, "runs", new(float64(f.Before.Runs)), new(float64(before.Jobs)))
		same(t, f, "runs since", new(0.0), new(float64(after.Jobs)))
	}
	if f.P > f.Q || f.Q > findings.FalseDiscoveries || f.Text == "" || f.LookAt == "" || f.Test == "" || len(f.Projects) == 0 {
		t.Errorf("not complete: %+v", f)
	}
}

func ended(s *kpi.Stats) float64 {
	return float64(s.Statuses.Success + s.Statuses.Failed + s.Statuses.TimedOut)
}

func same(t *testing.T, f *findings.Finding, what string, got, want *float64) {
	t.Helper()
	if got == nil || want == nil || math.Abs(*got-*want) > 1e-9*math.Abs(*want) {
		t.Errorf("%s: %s is %v, want %v", f.Text, what, show(got), show(want))
	}
}

func show(n *float64) any {
	if n == nil {
		return nil
	}
	return *n
}

// A script is a small company, told job by job.
type script struct {
	entries  []ledger.Entry
	template string
	version  string
}

// runs adds jobs of a project that took a minute each, so many days before the end.
func (s *script) runs(daysAgo, n int, project string, status job.Status) {
	for range n {
		finished := findingsEnd.Add(-time.Duration(daysAgo)*24*time.Hour - time.Hour + time.Duration(len(s.entries)%3000)*time.Second)
		s.entries = append(s.entries, ledger.Entry{Received: finished, Job: job.Job{
			Name: s.template, Project: project, Version: s.version, Status: status, Finished: finished, Timed: true, Duration: time.Minute,
		}})
	}
}

func (s *script) ask(t *testing.T, q kpi.Query) *findings.Answer {
	t.Helper()
	l := newLedger(t)
	for part := range slices.Chunk(s.entries, 1000) {
		if _, err := l.Record(part); err != nil {
			t.Fatal(err)
		}
	}
	a := kpi.New(l)
	f := find(t, a, q)
	again := find(t, a, q)
	again.AsOf = f.AsOf
	if !reflect.DeepEqual(f, again) {
		t.Errorf("asked again, the answer is another one: %+v, before %+v", again, f)
	}
	return f
}

// Nothing and next to nothing make no findings.
func TestFewJobs(t *testing.T) {
	for _, days := range []int{1, 30, 800} {
		var s script
		s.template = "build"
		if f := s.ask(t, last(days)); len(f.Items) != 0 || f.Items == nil || f.Tested != 0 || f.After != nil || f.Before != nil {
			t.Errorf("of nothing, last %d days: %+v", days, f)
		}
		s.runs(0, 1, "shop/web", job.Failed)
		if f := s.ask(t, last(days)); len(f.Items) != 0 || f.After == nil || f.Before != nil {
			t.Errorf("of one job, last %d days: %+v", days, f)
		}
		for day := range 3 {
			s.runs(day, 20, "shop/web", job.Failed)
		}
		if f := s.ask(t, last(days)); len(f.Items) != 0 {
			t.Errorf("of three days, last %d days: %+v", days, f)
		}
	}
}

// With 29 runs on one side nothing is tested, however bad it looks; with 30 it is found.
func TestMinRuns(t *testing.T) {
	for _, c := range []struct{ before, after, want int }{{29, 60, 0}, {60, 29, 0}, {30, 30, 1}} {
		var s script
		s.template = "build"
		for i := range c.before {
			s.runs(30+i%20, 1, "shop/web", job.Success)
		}
		for i := range c.after {
			s.runs(i%20, 1, "shop/web", job.Failed)
		}
		s.runs(55, 1, "shop/web", job.Canceled) // so that four weeks are before
		fell := 0
		for _, f := range s.ask(t, last(28)).Items {
			if f.Kind == findings.SuccessFell {
				fell++
			}
		}
		if fell != c.want {
			t.Errorf("%d runs before, %d after: %d findings that it fell, want %d", c.before, c.after, fell, c.want)
		}
	}
}

// hostile are names that look like others, like patterns, or like formats.
var hostile = []string{"*", "?", `\`, `\*`, "a", "A", "a ", "%s%d%!", "a/b", "a\nb", "<b>", "\u202e", "é", "e\u0301"}

// Steady companies make no findings, whatever they are called.
func TestHostileNames(t *testing.T) {
	var s script
	for day := range 70 {
		for i, template := range hostile {
			s.template, s.version = template, hostile[(i+day/10)%len(hostile)]
			for j := range 5 {
				project := hostile[(i+j)%len(hostile)]
				s.runs(day, 2, project, job.Success)
				if (day+i)%3 == 0 {
					s.runs(day, 1, project, job.Failed)
				}
			}
		}
	}
	for _, days := range periods {
		for _, f := range s.ask(t, last(days)).Items {
			t.Errorf("last %d days: %+v", days, f)
		}
	}
}

// Evidence leads to what has just that name.
func TestHostileEvidence(t *testing.T) {
	var s script
	s.template = "build"
	for day := range 70 {
		for _, project := range hostile {
			if project != "*" || day > 30 {
				s.runs(day, 3, project, job.Success)
			}
		}
	}
	f := s.ask(t, last(30))
	if len(f.Items) != 1 || f.Items[0].Kind != findings.Stopped || f.Items[0].Projects[0] != "*" {
		t.Fatalf("one project stopped: %+v", f.Items)
	}
	if got := f.Items[0].Evidence.Filter.Projects; !slices.Equal(got, []kpi.Pattern{`\*`}) {
		t.Errorf("evidence: %q", got)
	}
}

// Holidays are nobody's end, who runs something on a Saturday has not stopped, and a
// project that always had breaks may have another one.
func TestSilence(t *testing.T) {
	var s script
	s.template = "build"
	for day := range 84 {
		s.runs(day, 3, "shop/watch", job.Success)
		weekday := findingsEnd.AddDate(0, 0, -day).Weekday()
		if day < 18 || weekday == time.Saturday || weekday == time.Sunday { // all others rest
			if weekday == time.Saturday {
				s.runs(day, 3, "shop/saturday", job.Success)
			}
			continue
		}
		for _, project := range []string{"shop/a", "shop/b", "shop/c", "shop/d"} {
			s.runs(day, 3, project, job.Success)
		}
		if day >= 40 {
			s.runs(day, 3, "shop/saturday", job.Success)
		}
		if day >= 40 && day < 60 || day > 81 {
			s.runs(day, 20, "shop/breaks", job.Success)
		}
	}
	for _, f := range s.ask(t, last(42)).Items {
		t.Errorf("%s (q %g)", f.Text, f.Q)
	}
}

// Versions are judged by who moved from where to where, not by what they are called.
func TestVersions(t *testing.T) {
	versions := func(of func(project, day int) string) []findings.Finding {
		var s script
		s.template = "build"
		for day := range 70 {
			for p := range 40 {
				s.version = of(p, day)
				s.runs(day, 2, fmt.Sprintf("shop/%02d", p), job.Success)
			}
		}
		return s.ask(t, last(30)).Items
	}
	left := versions(func(p, day int) string {
		if day < 40 && p >= 3 {
			return "main" // 37 of 40 moved there
		}
		return "v9.9"
	})
	if len(left) != 1 || left[0].Kind != findings.Outdated || !slices.Equal(left[0].Versions, []string{"v9.9", "main"}) ||
		!slices.Equal(left[0].Projects, []string{"shop/00", "shop/01", "shop/02"}) {
		t.Errorf("three stay on v9.9: %+v", left)
	}
	for name, of := range map[string]func(p, day int) string{
		"just begun":    func(p, day int) string { return map[bool]string{true: "2", false: "1"}[day < 7 && p >= 3] },
		"half and half": func(p, day int) string { return map[bool]string{true: "2", false: "1"}[day < 40 && p >= 20] },
		"went back":     func(_, day int) string { return map[bool]string{true: "2", false: "1"}[day > 20 && day < 40] },
		"side by side": func(p, day int) string {
			return map[bool]string{true: "2", false: "1"}[day < 40 && p >= 3 && day%2 > 0]
		},
		"early adopters": func(p, day int) string { return map[bool]string{true: "2", false: "1"}[day < 40 && p < 3] },
		"none":           func(p, day int) string { return map[bool]string{true: "", false: "1"}[day < 40 && p >= 3] },
		"one a day":      func(p, day int) string { return time.Unix(int64(day*100+p), 0).String() },
	} {
		if f := versions(of); len(f) != 0 {
			t.Errorf("%s: %+v", name, f)
		}
	}
}
