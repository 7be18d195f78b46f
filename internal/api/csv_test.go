package api_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ci-jobs-metrics/internal/api"
	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/problems"
	"ci-jobs-metrics/internal/query"
)

// everything are all questions, with a thousand rows where there are rows.
var everything = map[string]string{
	"overview":  "overview?interval=day",
	"template":  "template?name=%3D1%2B1",
	"project":   "project?name=%40home/x&interval=hour&last=48h",
	"templates": "templates?limit=1000", "projects": "projects?limit=1000&last=7d", "versions": "versions?limit=1000",
	"failures": "failures?limit=1000", "problems": "problems?limit=1000",
}

// The cells of CSV are what JSON has: the same rows and numbers, under the same names.
func TestCSVIsAsJSON(t *testing.T) {
	s := full(t)
	for _, name := range query.Names() {
		if query.Of(name).Takes("format") != (everything[name] != "") {
			t.Fatalf("is there CSV of %s?", name)
		}
	}
	for _, question := range everything {
		document := s.get(t, query.Path+question)
		rows, ok := document["series"].([]any)
		if !ok {
			rows, ok = document["items"].([]any)
		}
		if !ok || len(rows) == 0 {
			t.Fatalf("%s: no rows in %v", question, document)
		}
		table := s.csv(t, query.Path+question+"&format=csv")
		if len(table) != len(rows)+1 {
			t.Fatalf("%s: %d lines for %d rows", question, len(table), len(rows))
		}
		header := table[0]
		for i, row := range rows {
			want := map[string]string{}
			flatten(t, "", row, want)
			if sorted := slices.Sorted(slices.Values(header)); !slices.Equal(sorted, slices.Sorted(maps.Keys(want))) {
				t.Fatalf("%s: the columns are %v, JSON has %v", question, sorted, slices.Sorted(maps.Keys(want)))
			}
			for c, name := range header {
				if got := table[i+1][c]; !same(got, want[name]) {
					t.Errorf("%s: %s in row %d is %q, in JSON %q", question, name, i, got, want[name])
				}
			}
		}
	}
}

// csv asks for a table, which has to be as RFC 4180 says.
func (s *service) csv(t *testing.T, path string) [][]string {
	t.Helper()
	response, body := s.ask(t, "GET", path)
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != "text/csv; charset=utf-8; header=present" {
		t.Fatalf("%s: %s, %v: %s", path, response.Status, response.Header, body)
	}
	if n, crlf := strings.Count(string(body), "\n"), strings.Count(string(body), "\r\n"); n != crlf || !strings.HasSuffix(string(body), "\r\n") {
		t.Errorf("%s: %d lines, of which %d end with CRLF", path, n, crlf)
	}
	table, err := csv.NewReader(strings.NewReader(string(body))).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return table
}

// flatten writes a document's values under the names on the way to them.
func flatten(t *testing.T, name string, value any, into map[string]string) {
	t.Helper()
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			flatten(t, strings.TrimPrefix(name+"_"+key, "_"), inner, into)
		}
	case []any:
		into[name] = strings.Trim(fmt.Sprint(v), "[]")
	case nil:
		into[name] = ""
	case json.Number:
		into[name] = v.String()
	case string:
		if v != "" && strings.ContainsAny(v[:1], "=+-@") {
			v = "'" + v
		}
		into[name] = v
	default:
		t.Fatalf("%s is a %T", name, v)
	}
}

// same compares cells: numbers by value, for JSON writes 1e-7 and CSV 0.0000001.
func same(a, b string) bool {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return a == b || errX == nil && errY == nil && x == y && !strings.ContainsAny(a, "eE")
}

// What a spreadsheet would take for a formula is text, and nothing else is touched.
func TestCSVFormulas(t *testing.T) {
	s := serve(t, "UTC", nil)
	for _, name := range []string{"=1+1", "+1", "-1", "@x", "a=1", "'=1", "1", `"=1`} {
		record(t, s.ledger, job.Job{Name: name, Project: "p", Status: job.Success, Finished: now})
	}
	s.problems = []problems.Problem{{Value: "\t=1"}, {Value: "\r=1"}, {Value: "x\t=1"}}
	column := func(path, name string) (cells []string) {
		table := s.csv(t, path)
		at := slices.Index(table[0], name)
		for _, line := range table[1:] {
			cells = append(cells, line[at])
		}
		return cells
	}
	want := []string{`"=1`, "'=1", "'+1", "'-1", "1", "'=1+1", "'@x", "a=1"} // in the order of the names
	if got := column("/api/v1/templates?format=csv&sort=template", "template"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := column("/api/v1/problems?format=csv&sort=value", "value"); !slices.Equal(got, []string{"'\t=1", "'=1", "x\t=1"}) { // encoding/csv leaves \r out
		t.Errorf("got %q", got)
	}
}

// A table that is too large for a CSV is refused, not cut.
func TestCSVTooLarge(t *testing.T) {
	s := serve(t, "UTC", nil)
	s.problems = make([]problems.Problem, 100_001)
	response, body := s.ask(t, "GET", "/api/v1/problems?format=csv")
	if response.StatusCode != 400 || !strings.Contains(string(body), "more than the 100000 rows of a CSV") {
		t.Errorf("%s: %.200s", response.Status, body)
	}
	if table := s.csv(t, "/api/v1/problems?format=csv&limit=1000"); len(table) != 1001 {
		t.Errorf("a part has %d lines", len(table))
	}
	if table := s.csv(t, "/api/v1/problems?format=csv&offset=1"); len(table) != 100_001 {
		t.Errorf("all but one have %d lines", len(table))
	}
}

// Failed jobs past their retention are counted, and no reason to refuse the others.
func TestCSVOfJobsThatAreGone(t *testing.T) {
	var clock atomic.Int64 // days since now
	l := openLedgerWith(t, filepath.Join(t.TempDir(), "ledger.db"), ledger.Options{
		Now:       func() time.Time { return now.Add(time.Duration(clock.Load()) * 24 * time.Hour) },
		Retention: 24 * time.Hour, RollupEvery: time.Millisecond, CheckpointEvery: time.Millisecond, PruneEvery: 10 * time.Millisecond,
	})
	s := serve(t, "UTC", func(o *api.Options) { o.Ledger = l })
	fail := job.Job{Name: "n", Project: "p", Status: job.Failed, Finished: now}
	record(t, l, fail, fail, fail)
	clock.Store(2)
	eventually(t, "nothing was pruned", func() bool { return len(s.csv(t, "/api/v1/failures?format=csv")) == 1 })
	if total := fmt.Sprint(s.get(t, "/api/v1/failures")["total"]); total != "3" {
		t.Errorf("%s failures", total)
	}
}

// What there is none of is empty.
func TestCSVWithoutNumbers(t *testing.T) {
	s := serve(t, "UTC", nil)
	record(t, s.ledger, job.Job{Name: "n", Project: "p", Status: job.Success, Finished: now.Add(-45 * 24 * time.Hour)})
	table := s.csv(t, "/api/v1/templates?format=csv")
	if len(table) != 2 || table[1][slices.Index(table[0], "current_jobs")] != "0" || table[1][slices.Index(table[0], "current_success_rate")] != "" {
		t.Errorf("%v", table)
	}
}

func TestCSVFileNames(t *testing.T) {
	s := serve(t, "Europe/Berlin", nil)
	for question, want := range map[string]string{
		"overview":                            "ci-jobs_overview_2026-03-01_2026-03-31.csv",
		"failures?from=2026-03-01":            "ci-jobs_failures_2026-03-01_2026-03-31.csv",
		"template?name=dotnet_build&last=7d":  "ci-jobs_template_dotnet_build_2026-03-24_2026-03-31.csv",
		"project?name=group/sub/%C3%BC%22%0a": "ci-jobs_project_group-sub-_2026-03-01_2026-03-31.csv",
		"project?name=../../etc/passwd":       "ci-jobs_project_..-..-etc-passwd_2026-03-01_2026-03-31.csv",
		"problems":                            "ci-jobs_problems.csv",
	} {
		for _, method := range []string{"GET", "HEAD"} {
			response, _ := s.ask(t, method, query.Path+question, "Accept", "text/csv")
			disposition, params, err := mime.ParseMediaType(response.Header.Get("Content-Disposition"))
			if err != nil || disposition != "attachment" || params["filename"] != want {
				t.Errorf("%s %s: %s, %v", method, question, response.Header.Get("Content-Disposition"), err)
			}
		}
		if response, _ := s.ask(t, "GET", query.Path+question); response.Header.Get("Content-Disposition") != "" {
			t.Errorf("%s as JSON: %v", question, response.Header)
		}
	}
}
