package kpi_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/kpi"
)

// A question is one of all that can be asked.
type question struct {
	what string // the answer's name
	of   string // the template or project
	kpi.Query
	kpi.Cut
}

var questions = []string{"overview", "template", "project", "templates", "projects", "versions", "failures"}

func (q *question) String() string {
	return fmt.Sprintf("%s %q by %q of %v to %v, %+v, %+v", q.what, q.of, q.Interval,
		q.Period.From, q.Period.To, q.Filter, q.Cut)
}

// ask asks it; asOf is the answer's.
func (q *question) ask(ctx context.Context, a *kpi.Asker) (answer any, asOf *kpi.AsOf, err error) {
	switch q.what {
	case "overview":
		o, err := a.Overview(ctx, q.Query)
		return found(o, err, func() *kpi.AsOf { return &o.AsOf })
	case "template":
		o, err := a.Template(ctx, q.of, q.Query)
		return found(o, err, func() *kpi.AsOf { return &o.AsOf })
	case "project":
		o, err := a.Project(ctx, q.of, q.Query)
		return found(o, err, func() *kpi.AsOf { return &o.AsOf })
	case "templates":
		o, err := a.Templates(ctx, q.Query, q.Cut)
		return found(o, err, func() *kpi.AsOf { return &o.AsOf })
	case "projects":
		o, err := a.Projects(ctx, q.Query, q.Cut)
		return found(o, err, func() *kpi.AsOf { return &o.AsOf })
	case "versions":
		o, err := a.Versions(ctx, q.Query, q.Cut)
		return found(o, err, func() *kpi.AsOf { return &o.AsOf })
	}
	o, err := a.Failures(ctx, q.Query, q.Cut)
	return found(o, err, func() *kpi.AsOf { return &o.AsOf })
}

func found(answer any, err error, asOf func() *kpi.AsOf) (any, *kpi.AsOf, error) {
	if err != nil {
		return nil, nil, err
	}
	return answer, asOf(), nil
}

// recount is what the answer has to be.
func (q *question) recount(r *recount) any {
	switch q.what {
	case "overview":
		return r.overview(q.Query)
	case "template":
		return r.template(q.of, q.Query)
	case "project":
		return r.project(q.of, q.Query)
	case "templates":
		return r.templates(q.Query, q.Cut)
	case "projects":
		return r.projects(q.Query, q.Cut)
	case "versions":
		return r.versions(q.Query, q.Cut)
	}
	return r.failures(q.Query, q.Cut)
}

// differ says in what an answer differs from the recount.
func (q *question) differ(answer any, r *recount) string {
	want := q.recount(r)
	if gocmp.Equal(want, answer, alike...) {
		return ""
	}
	return gocmp.Diff(want, answer, alike...)
}

// alike: numbers but for rounding, times with their zones, patterns of templates and
// projects that say the same.
var alike = gocmp.Options{
	cmpopts.IgnoreFields(kpi.Meta{}, "RecordedSince"), cmpopts.IgnoreFields(kpi.Compared{}, "Verdicts"), // see verdict_test.go
	cmpopts.EquateApprox(1e-9, 0),
	cmpopts.IgnoreFields(kpi.AsOf{}, "Time"),
	gocmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) && a.Location().String() == b.Location().String() }),
	gocmp.Comparer(func(a, b kpi.Pattern) bool { return expression(a).String() == expression(b).String() }),
}

// Names of all kinds, also those that look like patterns.
var (
	templates = []string{"build", "build-app", "deploy*", "w?at", `back\slash`, "[a-z]", "ünï 🚀"}
	projects  = []string{"group/app", "group/ünï", "a*b", "g/[x]", `p\q`, "p?q"}
	versions  = []string{"", "1.0", "1.1", "1.*", "v?", `1\0`, "β"}
	globs     = []kpi.Pattern{"*", "?*", "b*", "*p*", "*[*", `*\**`, `*\?*`, `*\\*`, "*ü*", "1.?", "?", "", `group/\*`, "[a-z]", "*a*b*", `\`, "nobody"}
)

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// pickQuestion is about a time not far from now, in which there are jobs.
func pickQuestion(r *rand.Rand, now time.Time, zone *time.Location) *question {
	q := &question{what: pick(r, questions...), Query: kpi.Query{Filter: pickFilter(r)}}
	q.of = pick(r, templates...)
	if q.what == "project" {
		q.of = pick(r, projects...)
	}
	q.Period = pickPeriod(r, now, zone)
	if length := q.Period.To.Sub(q.Period.From); length <= 3*24*time.Hour || length <= kpi.MaxHours*time.Hour && r.IntN(8) == 0 {
		q.Interval = pick(r, "", kpi.Daily, kpi.Hourly)
	}
	if columns := columnsOf(q.what); columns != nil && r.IntN(4) > 0 {
		q.Sort, q.Descending = pick(r, columns...), r.IntN(2) == 0
	}
	if r.IntN(2) == 0 {
		q.Offset, q.Limit = r.IntN(12)-1, r.IntN(8)
	}
	return q
}

func columnsOf(what string) []string {
	return map[string][]string{"templates": kpi.TemplateColumns, "projects": kpi.ProjectColumns, "versions": kpi.VersionColumns}[what]
}

// pickPeriod is seldom a long one: that takes its time.
func pickPeriod(r *rand.Rand, now time.Time, zone *time.Location) (p kpi.Period) {
	step := pick(r, 15*time.Minute, time.Hour)
	p.To = now.Truncate(step).Add(time.Duration(r.IntN(12)-4) * step)
	length := step * time.Duration(1+r.IntN(60))
	switch r.IntN(100) {
	case 0:
		length = kpi.MaxPeriod
	case 1, 2:
		length = time.Duration(1+r.IntN(100)) * 24 * time.Hour
	case 3, 4, 5, 6:
		length = time.Duration(1+r.IntN(10)) * 24 * time.Hour
	}
	p.From = p.To.Add(-length)
	if r.IntN(2) > 0 {
		return p
	}
	local := now.In(zone)
	midnight := func(days int) time.Time {
		return quarter(time.Date(local.Year(), local.Month(), local.Day()+days, 0, 0, 0, 0, zone))
	}
	days := kpi.Period{From: midnight(-pick(r, 0, 0, 0, 1, 1, 2, 7)), To: midnight(r.IntN(3) - 1)}
	if days.From.Before(days.To) {
		return days
	}
	return p
}

func pickFilter(r *rand.Rand) (f kpi.Filter) {
	f.Templates = pickPatterns(r, templates)
	f.Projects = pickPatterns(r, projects)
	f.Versions = pickPatterns(r, versions)
	if r.IntN(3) == 0 {
		for range 1 + r.IntN(3) {
			f.Statuses = append(f.Statuses, pick(r, job.Statuses...))
		}
	}
	return f
}

func pickPatterns(r *rand.Rand, names []string) (patterns []kpi.Pattern) {
	if r.IntN(2) == 0 {
		return nil
	}
	for range 1 + r.IntN(2) {
		patterns = append(patterns, pick(r, kpi.Exactly(pick(r, names...)), pick(r, globs...), kpi.Pattern(pick(r, names...))))
	}
	return patterns
}

// The recount itself is as docs/kpi.md has it in its examples.
func TestExamples(t *testing.T) {
	at := time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC)
	r := &recount{calendar: newCalendar(time.UTC)}
	add := func(n int, status job.Status, took time.Duration) {
		for range n {
			c := &counted{}
			c.Job = job.Job{Name: "build", Project: "app", Status: status, Finished: at, Timed: took > 0, Duration: took}
			r.jobs = append(r.jobs, c)
		}
	}
	add(90, job.Success, 2*time.Minute)
	add(5, job.Failed, 6*time.Minute)
	add(1, job.TimedOut, time.Hour)
	add(4, job.Canceled, 0)
	s := statsOf(r.jobs, kpi.Filter{})
	if *s.SuccessRate != 0.9375 || s.CIHours != 4.5 || s.HoursLost != 1.5 || s.Timed != 96 || *s.Durations.Mean != 120 {
		t.Errorf("%+v", s)
	}
	if p := *s.Durations.P50; math.Abs(p-120) > 0.044*120 {
		t.Errorf("p50 %v", p)
	}
}
