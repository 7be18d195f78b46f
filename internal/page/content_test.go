package page_test

import (
	"context"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/kpi/findings"
	"ci-jobs-metrics/internal/page"
	"ci-jobs-metrics/internal/problems"
)

func main(t *testing.T, s *service, path string) string {
	t.Helper()
	return text(all(s.get(t, path), "main", "")[0])
}

// Without a job a page says what to do first; with reports that were rejected, to look at them.
func TestWelcome(t *testing.T) {
	s := serve(t, nil)
	for _, path := range []string{"/", "/templates", "/projects", "/template?name=x", "/project?name=x"} {
		said := main(t, s, path)
		for _, want := range []string{"No jobs yet", "after_script:", "curl -G -d status=success", s.server.Listener.Addr().String() + "/steps"} {
			if !strings.Contains(said, want) {
				t.Errorf("%s has no %q: %s", path, want, said)
			}
		}
		if strings.Contains(said, "something is wrong") {
			t.Errorf("%s: %s", path, said)
		}
	}
	if said := main(t, s, "/problems"); !strings.Contains(said, "Nothing was wrong") {
		t.Error(said)
	}
	s.problems = someProblems
	if said := main(t, s, "/"); !strings.Contains(said, "something is wrong with them") {
		t.Error(said)
	}
	record(t, s.ledger, job.Job{Name: "n", Project: "p", Status: job.Success, Finished: now})
	if said := main(t, s, "/"); strings.Contains(said, "No jobs yet") || !strings.Contains(said, "nothing to compare with") {
		t.Error(said)
	}
}

// The after_script is the one of the README.
func TestScript(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, nil)
	lines := 0
	for line := range strings.Lines(text(all(s.get(t, "/"), "pre", "")[1])) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "- ") {
			if lines++; !strings.Contains(string(readme), "  "+line+"\n") {
				t.Errorf("the README does not have %s", line)
			}
		}
	}
	if lines != 3 {
		t.Errorf("%d lines", lines)
	}
}

var someProblems = []problems.Problem{{
	Key:      problems.Key{Kind: "rejected", Project: `<script>alert("p")</script>`, Field: "status", Reason: "missing"},
	Template: "\u202eevil", Value: `"><img src=x onerror=alert(1)>`,
	Remedy: "send it", Sender: "10.0.0.1", Count: 3, First: now, Last: now,
}}

// Where no job is what was asked for, a page says how to see some.
func TestNothing(t *testing.T) {
	s := full(t, nil)
	for path, want := range map[string]string{
		"/?template=nobody":                               "Take all filters away",
		"/?from=2020-01-01&to=2020-01-02":                 "Look at the last 90 days",
		"/template?name=nobody":                           "No job finished in this period",
		"/project?name=nobody":                            "No job finished in this period",
		"/templates?template=nobody":                      "No template was used",
		"/projects?project=nobody":                        "No project had a job",
		"/template?name=docker_build&projects.offset=999": "The table has fewer rows than that",
	} {
		if said := main(t, s, path); !strings.Contains(said, want) {
			t.Errorf("%s: %.1000s", path, said)
		}
	}
}

// Names are whatever senders send: they are written as they are, and do nothing.
func TestHostileNames(t *testing.T) {
	names := []string{
		`<script>alert("x")</script>`, `"><img src=x onerror=alert(1)>`, "\u202egnp.exe", "مشروع/בדיקה", `</script><script>alert(1)</script>`,
		strings.Repeat("W", 255), `{{.}}`, "javascript:alert(1)", "a&b=c#d?e%20", "ünï \\*?",
	}
	s := serve(t, func(o *page.Options) { o.Findings = someFindings })
	s.problems = someProblems
	for i, name := range names {
		for _, status := range []job.Status{job.Success, job.Failed} {
			record(t, s.ledger, job.Job{
				ID: name[:min(len(name), 200)] + string(status), Name: name, Project: names[(i+1)%len(names)], Version: name, Status: status, Finished: now.Add(-time.Hour),
				Timed: true, Duration: time.Minute, Job: name, Ref: name, URL: []string{"https://gitlab.example/1", "javascript:alert(1)"}[i%2],
			})
		}
	}
	for _, name := range names {
		for _, path := range []string{
			"/?template=" + url.QueryEscape(string(kpi.Exactly(name))), "/template?name=" + url.QueryEscape(name), "/project?name=" + url.QueryEscape(name), "/problems", "/improve",
		} {
			response, body := s.ask(t, "GET", path)
			root := parse(t, body)
			if response.StatusCode != 200 {
				t.Fatalf("%.100s: %s", path, response.Status)
			}
			if n := len(all(root, "script", "")) - len(all(root, "script", "src")) - len(all(root, "script", "type")); n != 0 {
				t.Errorf("%.100s: %d scripts too many", path, n)
			}
			for _, attribute := range []string{"onerror", "onclick", "style"} {
				if n := len(all(root, "", attribute)); n != 0 {
					t.Errorf("%.100s: %d have %s", path, n, attribute)
				}
			}
			for _, n := range all(root, "a", "href") {
				if link, _ := attr(n, "href"); !strings.HasPrefix(link, "/") && !strings.HasPrefix(link, "#") && link != "https://gitlab.example/1" {
					t.Errorf("%.100s links to %q", path, link)
				}
			}
			if said := text(root); strings.HasPrefix(path, "/template?") && !strings.Contains(said, name) {
				t.Errorf("%.100s does not have the name", path)
			}
		}
	}
}

// someFindings are four; the third has no cost.
func someFindings(_ context.Context, q kpi.Query) (*findings.Answer, error) {
	var answer findings.Answer
	for _, template := range []string{"npm_test", "dotnet_test", "<b>x</b>", "the fourth"} {
		answer.Items = append(answer.Items, findings.Finding{
			Kind: findings.Slower, Template: template, Text: "Since 11 March, in " + q.Period.To.Sub(q.Period.From).String() + ".", Cost: new(12.5),
			Measure: findings.P95, Before: findings.Side{Period: q.Period, Value: new(60.0)}, After: findings.Side{Period: q.Period, Value: new(120.0)},
			Q: 0.01, Test: "test", Evidence: findings.Evidence{Period: q.Period},
		})
	}
	answer.Items[2].Cost = nil
	return &answer, nil
}

// The overview has the first findings, and the page of findings all of them.
func TestFindings(t *testing.T) {
	s := full(t, func(o *page.Options) { o.Findings = someFindings })
	overview, improve := main(t, s, "/?last=7d"), main(t, s, "/improve?last=7d")
	for _, want := range []string{"npm_test takes longer", "12.5\u202fh", "<b>x</b>", "168h0m0s", "All findings"} {
		if !strings.Contains(overview, want) {
			t.Errorf("the overview has no %q: %s", want, overview)
		}
	}
	if strings.Contains(overview, "the fourth") || !strings.Contains(improve, "the fourth") {
		t.Errorf("four findings: %s\n%s", overview, improve)
	}
	s = full(t, func(o *page.Options) {
		o.Findings = func(context.Context, kpi.Query) (*findings.Answer, error) { return &findings.Answer{}, nil }
	})
	if said := main(t, s, "/"); !strings.Contains(said, "Nothing stands out") {
		t.Error(said)
	}
}

// Sorting, paging and filters are the table's, and go along with links.
func TestTable(t *testing.T) {
	s := full(t, nil)
	root := s.get(t, "/templates?sort=template&limit=5&offset=5&last=7d&project=*")
	rows := all(root, "tbody", "")[0]
	var names []string
	for _, n := range all(rows, "a", "title") {
		name, _ := attr(n, "title")
		names = append(names, name)
		if link, _ := attr(n, "href"); link != "/template?last=7d&name="+name+"&project=%2A" {
			t.Errorf("%s leads to %s", name, link)
		}
	}
	answer := s.answer(t, "/api/v1/templates?sort=template&limit=5&offset=5&last=7d").(map[string]any)
	for i, item := range answer["items"].([]any) {
		if want := item.(map[string]any)["template"]; i >= len(names) || names[i] != want {
			t.Errorf("row %d of %v should be %s", i, names, want)
		}
	}
	sorted := 0
	for _, n := range all(root, "th", "aria-sort") {
		if order, _ := attr(n, "aria-sort"); order != "ascending" || !strings.HasPrefix(text(n), "Template") {
			t.Errorf("%s is sorted %s", text(n), order)
		}
		sorted++
	}
	if sorted != 1 {
		t.Errorf("%d columns are sorted", sorted)
	}
	for _, n := range all(root, "a", "rel") {
		if link, _ := attr(n, "href"); !strings.Contains(link, "sort=template") || !strings.Contains(link, "limit=5") || !strings.HasSuffix(link, "#templates") {
			t.Errorf("%s leads to %s", text(n), link)
		}
	}
}
