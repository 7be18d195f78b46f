package queries

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"

	"ci-jobs-metrics/internal/grafanatest"
	"ci-jobs-metrics/internal/job"
)

var labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)

// TestVariables fills the variables of the dashboards from the month.
func TestVariables(t *testing.T) {
	t.Parallel()
	r := theMonth(t)
	some := grafanatest.Values{"job": {scrapeOf}, "template": {"docker_build"}, "project": {r.jobs[0].Project, r.jobs[5].Project}}
	n := 0
	for _, d := range grafanatest.Load(t, dashboards) {
		for _, v := range d.Templating.List {
			if v.Type != "query" {
				continue
			}
			query, _ := v.Query.(map[string]any)
			found := labelValues.FindStringSubmatch(fmt.Sprint(query["query"]))
			if found == nil {
				t.Fatalf("%s is filled by %v", v.Name, v.Query)
			}
			for _, values := range []grafanatest.Values{{"template": some["template"], "job": {scrapeOf}}, some} {
				n++
				r.fill(t, d, found[1], found[2], values)
			}
		}
	}
	t.Logf("%d times a variable was filled", n)
}

// fill compares the values of a label with those of the jobs that the variables let through.
func (r *recording) fill(t *testing.T, d grafanatest.Dashboard, selector, label string, values grafanatest.Values) {
	t.Helper()
	written, err := d.Interpolate(selector, values, 7*day, 0)
	if err != nil {
		t.Fatal(err)
	}
	matchers, err := parser.NewParser(parser.Options{}).ParseMetricSelector(written)
	if err != nil {
		t.Fatalf("%s: %v", written, err)
	}
	q, err := r.db.Querier(r.end.Add(-7*day).UnixMilli(), r.end.UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	got, _, err := q.LabelValues(t.Context(), label, nil, matchers...)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	last, _ := r.edge(r.end)
	for key := range groups(applied(selector, values, r.jobs[:last.n]), []string{label}) {
		want = append(want, key)
	}
	for i := range got {
		got[i] = fmt.Sprintf("{%s=%q}", label, got[i])
	}
	if label == "job" {
		want = append(want, `{job="another"}`)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || len(want) == 0 {
		t.Errorf("%s of %s has %v, want %v", label, d.UID, got, want)
	}
}

// applied are the jobs of the variables before one.
func applied(selector string, values grafanatest.Values, jobs []job.Job) []job.Job {
	for _, label := range []string{"template", "project"} {
		if strings.Contains(selector, "${"+label+":") {
			jobs = chosen(values, jobs, label)
		}
	}
	return jobs
}

// TestAnnotation asks when a ledger was made, as the marks on charts do.
func TestAnnotation(t *testing.T) {
	t.Parallel()
	r := theMonth(t)
	p := prometheus{engine(), r.db}
	for _, d := range grafanatest.Load(t, dashboards) {
		for _, a := range d.Annotations.List {
			query, err := d.Interpolate(a.Expr, grafanatest.Values{"job": {scrapeOf}}, day, day)
			if err != nil || query == "" {
				t.Fatalf("%s: %q, %v", a.Name, a.Expr, err)
			}
			for at, got := range p.over(t, query, r.end.Add(-2*day), r.end, day) {
				last, _ := r.edge(at)
				question := question{asked: asked{prometheus: p, end: at}, scraped: last, of: r, jobs: []job.Job{}}
				if wrong := shipped["Ledger made/A"](question, got); len(wrong) > 0 {
					t.Errorf("%s at %v: %v", a.Name, at, wrong)
				}
			}
		}
	}
}

// TestHostileNames chooses names that mean something to regular expressions and to PromQL: what
// queries have for a variable matches these and no others.
func TestHostileNames(t *testing.T) {
	names := []string{`a"b'c`, `a.b`, `axb`, `back\slash`, `a|b`, `(a)`, `$HOME`, `größe 🚀`, `<script>`, `[x]{1}`, `a/b`, `^$`, `*`}
	d := grafanatest.Load(t, dashboards)[0]
	p := parser.NewParser(parser.Options{})
	for _, chosen := range [][]string{names[:1], names[1:2], names} {
		selector, err := d.Interpolate("x{template=~`${template:regex}`}", grafanatest.Values{"template": chosen}, day, day)
		if err != nil {
			t.Fatal(err)
		}
		matchers, err := p.ParseMetricSelector(selector)
		if err != nil {
			t.Fatalf("%s: %v", selector, err)
		}
		for _, name := range names {
			for _, m := range matchers {
				if m.Name == "template" && m.Matches(name) != slices.Contains(chosen, name) {
					t.Errorf("%s: %q matches: %v", selector, name, m.Matches(name))
				}
			}
		}
	}
}
