package queries

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"ci-jobs-metrics/internal/grafanatest"
	"ci-jobs-metrics/internal/job"
)

const dashboards = "../../../deploy/grafana/dashboards"

// A question is what a query is asked with.
type question struct {
	asked
	jobs    []job.Job // of the period, as far as the query's variables let them through
	known   bool      // whether it was scraped at the period's begin
	scraped scraped   // at last
	of      *recording

	recent int // of jobs, how many at their end are those of the last day; for rules that compare
}

// An answer judges the result of a query.
type answer func(question, result) []string

// shipped has for every query of the dashboards, by title and reference, what it answers.
// Those of both dashboards that are called alike are alike.
var shipped = map[string]answer{
	"Jobs/A":                             counted(number, anyJob),
	"Passed/A":                           counted(number, passed),
	"Failed/A":                           counted(number, failed),
	"Success rate/A":                     counted(share, anyJob),
	"Templates in use/A":                 counted(distinct("template"), anyJob),
	"Projects/A":                         counted(distinct("project"), anyJob),
	"CI hours/A":                         counted(hours, anyJob),
	"Hours lost to failures/A":           counted(hours, failed),
	"Jobs by how they ended/A":           counted(number, anyJob, "status"),
	"Jobs by template/A":                 someOf(number, anyJob, "template"),
	"Jobs by template/B":                 atMost(number, anyJob),
	"Success rate over time/A":           counted(share, anyJob),
	"Projects that use them most/A":      top(10, number, anyJob, "project"),
	"Templates/A":                        counted(number, anyJob, "template"),
	"Templates/B":                        counted(distinct("project"), anyJob, "template"),
	"Templates/C":                        counted(number, failed, "template"),
	"Templates/D":                        counted(share, anyJob, "template"),
	"Templates/E":                        quantiles(0.5, "template"),
	"Templates/F":                        quantiles(0.95, "template"),
	"Templates/G":                        counted(hours, anyJob, "template"),
	"Templates that fail most/A":         top(10, number, failed, "template"),
	"Slowest templates/A":                quantiles(0.95, "template"), // of ten templates
	"Adoption by version/A":              counted(number, versioned, "template", "version"),
	"Adoption by version/B":              counted(distinct("project"), versioned, "template", "version"),
	"Adoption by version/C":              counted(share, versioned, "template", "version"),
	"Jobs by version/A":                  someOf(number, versioned, "template", "version"),
	"p50/A":                              quantiles(0.5),
	"p95/A":                              quantiles(0.95),
	"Projects that use it/A":             counted(number, anyJob, "project"),
	"Projects that use it/B":             counted(number, failed, "project"),
	"Projects that use it/C":             counted(share, anyJob, "project"),
	"Jobs by project/A":                  someOf(number, anyJob, "project"),
	"Jobs by project/B":                  atMost(number, anyJob),
	"p50 and p95 over time/A":            quantiles(0.5),
	"p50 and p95 over time/B":            quantiles(0.95),
	"Durations of the chosen statuses/A": distribution(anyJob),
	"Durations of jobs that passed/A":    distribution(passed),
	"Durations of jobs that failed/A":    distribution(failed),
	"Receivers scraped/A":                health(func(q question) float64 { return float64(q.of.alive(q.end)) }),
	"Last job received/A":                health(func(q question) float64 { return float64(q.scraped.last.UnixMilli()) }),
	"Ledger can be written/A":            health(func(question) float64 { return 1 }),
	"Ledger made/A":                      health(func(q question) float64 { return float64(q.scraped.made.UnixMilli()) }),
	"Budget of label sets/A":             health(func(q question) float64 { return labelSets(q.of.of(q.scraped.ledger, 0, q.scraped.n)) / budget }),
	"Counted as __other__/A":             health(func(question) float64 { return 0 }),
	"Jobs rejected, by reason/A":         about("missing"),
	"Requests refused, by reason/A":      about("malformed"),
}

func anyJob(*job.Job) bool         { return true }
func versioned(j *job.Job) bool    { return j.Version != "" }
func hours(jobs []job.Job) float64 { return seconds(jobs) / 3600 }

// counted is a number of each group of jobs, exactly.
func counted(of func([]job.Job) float64, keep func(*job.Job) bool, by ...string) answer {
	return func(q question, got result) []string { return each(where(q.jobs, keep), by, of).differences(got) }
}

// someOf is the same of some groups; which they are is another query's matter.
func someOf(of func([]job.Job) float64, keep func(*job.Job) bool, by ...string) answer {
	return func(q question, got result) []string {
		want := each(where(q.jobs, keep), by, of)
		if len(got) > 10 {
			return []string{fmt.Sprintf("%d of ten", len(got))}
		}
		maps.DeleteFunc(want.values, func(key string, _ float64) bool { _, ok := got[key]; return !ok })
		return want.differences(got)
	}
}

// atMost is no more than there is.
func atMost(of func([]job.Job) float64, keep func(*job.Job) bool) answer {
	return func(q question, got result) []string {
		if want := of(where(q.jobs, keep)); got["{}"] > want || len(got) > 1 {
			return []string{fmt.Sprintf("%v of %v", got, want)}
		}
		return nil
	}
}

// top is those groups that have most.
func top(n int, of func([]job.Job) float64, keep func(*job.Job) bool, by ...string) answer {
	return func(q question, got result) (all []string) {
		want := each(where(q.jobs, keep), by, of)
		if len(got) != min(n, len(want.values)) {
			all = append(all, fmt.Sprintf("%d groups of %d", len(got), len(want.values)))
		}
		for key, v := range want.values {
			if _, ok := got[key]; ok {
				continue
			}
			delete(want.values, key)
			for other, w := range got {
				if v > w {
					all = append(all, fmt.Sprintf("%s with %v is there, %s with %v is not", other, w, key, v))
				}
			}
		}
		return append(all, want.differences(got)...)
	}
}

// quantiles are those of successful jobs, as near as the histograms allow.
func quantiles(q float64, by ...string) answer {
	return func(a question, got result) []string {
		want := each(where(a.jobs, passed), by, quantile(q))
		want.near = classic(q)
		if a.native {
			want.near = native(q)
		}
		return want.differences(got)
	}
}

// distribution is how many durations there are up to each bound.
func distribution(keep func(*job.Job) bool) answer {
	return func(q question, got result) []string {
		if !q.classic { // docs/grafana.md says so
			return truth{}.differences(got)
		}
		jobs := where(where(q.jobs, keep), func(j *job.Job) bool { return j.Timed })
		want := truth{values: result{fmt.Sprintf("{le=%q}", "+Inf"): number(jobs)}}
		for _, bound := range bounds {
			want.values[fmt.Sprintf("{le=%q}", fmt.Sprintf("%.1f", bound))] =
				number(where(jobs, func(j *job.Job) bool { return j.Duration.Seconds() <= bound }))
		}
		return want.differences(got)
	}
}

// health is one number of each scrape job.
func health(of func(question) float64) answer {
	return func(q question, got result) []string {
		want := truth{}
		if q.of.alive(q.end) > 0 {
			want.values = result{fmt.Sprintf("{job=%q}", scrapeOf): of(q)}
		}
		return want.differences(got)
	}
}

// labelSets is how many lines cijob_runs_total has.
func labelSets(jobs []job.Job) float64 {
	return float64(len(groups(jobs, []string{"template", "project", "status", "version"})))
}

// about is what increase() makes of mistakes: not much more or less, where nothing was
// started anew within the period.
func about(reason string) answer {
	return func(q question, got result) []string {
		if !q.known {
			return nil
		}
		n := 0.0
		for _, at := range q.of.mistaken {
			if !at.After(q.end) && at.After(q.end.Add(-q.period)) {
				n++
			}
		}
		if v := got[fmt.Sprintf("{reason=%q}", reason)]; v < 0.8*n || v > 1.2*n || len(got) > 1 {
			return []string{fmt.Sprintf("%v, want about %v", got, n)}
		}
		return nil
	}
}

// Which variables apply to a panel is said here, not read from its queries. Durations have no
// project.
var (
	withoutProject = map[string]bool{
		"CI hours/A": true, "Hours lost to failures/A": true, "Templates/E": true, "Templates/F": true, "Templates/G": true,
		"Slowest templates/A": true, "p50/A": true, "p95/A": true, "p50 and p95 over time/A": true, "p50 and p95 over time/B": true,
		"Durations of the chosen statuses/A": true, "Durations of jobs that passed/A": true, "Durations of jobs that failed/A": true,
	}
	withStatus = map[string]bool{ // of the dashboard of one template
		"Jobs by how they ended/A": true, "Jobs by project/A": true, "Jobs by project/B": true, "Durations of the chosen statuses/A": true,
	}
)

// let are the jobs that the variables let through.
func (q shippedQuery) let(values grafanatest.Values, jobs []job.Job) []job.Job {
	name := q.Panel.Title + "/" + q.RefID
	jobs = chosen(values, jobs, "template")
	if !withoutProject[name] {
		jobs = chosen(values, jobs, "project")
	}
	if q.UID == templateUID && withStatus[name] {
		jobs = chosen(values, jobs, "status")
	}
	return jobs
}

// chosen are the jobs that a variable lets through.
func chosen(values grafanatest.Values, jobs []job.Job, label string) []job.Job {
	if len(values[label]) == 0 {
		return jobs
	}
	return where(jobs, func(j *job.Job) bool { return slices.Contains(values[label], field(j, label)) })
}

// shippedQuery is one of a panel.
type shippedQuery struct {
	grafanatest.Dashboard
	grafanatest.Panel
	grafanatest.Target
	judge answer
}

func (q shippedQuery) String() string {
	return q.UID + ": " + q.Panel.Title + "/" + q.RefID
}

func (q shippedQuery) written(t *testing.T, a asked, step time.Duration) string {
	t.Helper()
	text, err := q.Interpolate(q.Expr, a.values, a.period, step)
	if err != nil {
		t.Fatalf("%v: %v", q, err)
	}
	return text
}

// shippedQueries are all of them; each has to have an answer here.
func shippedQueries(t *testing.T) (all []shippedQuery) {
	t.Helper()
	unused := maps.Clone(shipped)
	for _, d := range grafanatest.Load(t, dashboards) {
		for p := range d.Every {
			for _, target := range p.Targets {
				name := p.Title + "/" + target.RefID
				judge, ok := shipped[name]
				if !ok {
					t.Errorf("nothing is known of what %s of %s answers", name, d.UID)
				}
				delete(unused, name)
				if d.UID == templateUID && strings.Contains(name, "version/") {
					judge = ofOneTemplate[name]
				}
				all = append(all, shippedQuery{d, p, target, judge})
			}
		}
	}
	for name := range unused {
		t.Errorf("no dashboard asks for %s", name)
	}
	return all
}

const templateUID = "cijob-template"

// ofOneTemplate are the answers that differ where there is one template only.
var ofOneTemplate = map[string]answer{
	"Adoption by version/A": counted(number, versioned, "version"),
	"Adoption by version/B": counted(distinct("project"), versioned, "version"),
	"Adoption by version/C": counted(share, versioned, "version"),
	"Jobs by version/A":     someOf(number, versioned, "version"),
}
