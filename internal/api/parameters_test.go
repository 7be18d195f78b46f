package api_test

import (
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/query"
)

var update = flag.Bool("update", false, "write the golden files")

// refused are questions that are wrong, one way each.
var refused = []string{
	"overview?templat=x",
	"overview?Template=x",
	"overview?sort=jobs",
	"overview?name=x",
	"overview?x%00%ff<b>=1",
	"template?name=x&template=y",
	"project?name=x&project=y",
	"templates?interval=day",
	"failures?sort=jobs",
	"problems?last=7d",
	"problems?status=failed",
	"overview?x=%zz",
	"overview?a;b",
	"overview?last=7d&last=7d",
	"overview?format=json&format=csv",
	"overview?" + strings.Repeat("&project=x", 21)[1:],
	"overview?project=%ff",
	"overview?project=" + strings.Repeat("x", 511),
	"overview?template=",
	"overview?project=",
	"overview?status=",
	"overview?status=Success",
	"overview?status=failure",
	"overview?status=%3Cb%3E%0a" + strings.Repeat("x", 200),
	"template",
	"template?name=",
	"project?name=" + strings.Repeat("x", 256),
	"template?name=x&name=y",
	"overview?interval=hourly",
	"overview?interval=",
	"overview?interval=hour&last=32d",
	"overview?format=xml",
	"overview?format=",
	"templates?sort=",
	"templates?sort=name",
	"templates?sort=--jobs",
	"projects?sort=template",
	"problems?sort=jobs",
	"templates?limit=0",
	"templates?limit=1001",
	"templates?limit=ten",
	"templates?limit=",
	"templates?limit=1e2",
	"templates?limit=99999999999999999999",
	"templates?offset=-1",
	"templates?offset=1000001",
	"overview?last=",
	"overview?last=7",
	"overview?last=d",
	"overview?last=0d",
	"overview?last=-1d",
	"overview?last=1.5d",
	"overview?last=7D",
	"overview?last=1m",
	"overview?last=801d",
	"overview?last=99999999999h",
	"overview?last=7d&from=2026-03-01",
	"overview?to=2026-03-01",
	"overview?last=7d&to=2026-03-01",
	"overview?from=yesterday",
	"overview?from=",
	"overview?from=2026-02-29",
	"overview?from=2026-03-01T25:00",
	"overview?from=2026-03-01T12:00:00",
	"overview?from=2026-03-01T12:05",
	"overview?from=2026-03-01T12:00:01Z",
	"overview?from=2026-03-01T12:00:00.000001Z",
	"overview?from=2026-03-01T12:00:00%2B00:10",
	"overview?from=2026-03-01&to=2026-03-01",
	"overview?from=2026-03-02&to=2026-03-01",
	"overview?from=2027-01-01",
	"overview?from=2024-01-01",
	"overview?from=1989-12-31&to=1990-01-31",
	"overview?from=2189-12-31&to=2190-01-02",
	"overview?from=0001-01-01&to=9999-12-31",
	"overview?from=2026-03-29T02:00", // Berlin's clocks went from 02:00 to 03:00
	"overview?from=2026-03-01&to=2026-03-29T02:45",
}

// What is wrong with a question is told with the parameter that has it and what to give
// instead, and nothing is computed.
func TestRefused(t *testing.T) {
	s := serve(t, "Europe/Berlin", nil)
	var got strings.Builder
	for _, question := range refused {
		response, body := s.ask(t, "GET", query.Path+question)
		p := parse(t, body)
		if response.StatusCode != http.StatusBadRequest || fmt.Sprint(p["status"]) != "400" || p["title"] != "Bad Request" || p["type"] != "about:blank" ||
			response.Header.Get("Content-Type") != "application/problem+json" || response.Header.Get("ETag") != "" {
			t.Errorf("%s: %s %v: %s", question, response.Status, response.Header, body)
		}
		fmt.Fprintf(&got, "%.100s\n  %v: %v\n  %v\n", question, p["parameter"], p["detail"], p["remedy"])
		head, _ := s.ask(t, "HEAD", query.Path+question)
		if head.StatusCode != http.StatusBadRequest {
			t.Errorf("HEAD %.200s: %s", question, head.Status)
		}
	}
	golden(t, "testdata/refused.txt", got.String())
	if asked := s.computed(); len(asked) > 0 {
		t.Errorf("%v were computed", asked)
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	wanted := strings.Split(string(want), "\n")
	for i, line := range strings.Split(got, "\n") {
		if i >= len(wanted) || line != wanted[i] {
			t.Fatalf("%s, line %d is\n%s\nread the difference after go test -update", path, i+1, line)
		}
	}
	t.Fatalf("%s is longer", path)
}

// What is at its limit is accepted.
func TestAccepted(t *testing.T) {
	s := serve(t, "Europe/Berlin", nil)
	record(t, s.ledger, job.Job{Name: strings.Repeat("*", 255), Project: "p", Status: job.Success, Finished: now})
	for _, question := range []string{
		"overview?" + strings.Repeat("&project=x", 20)[1:],
		"overview?template=" + url.QueryEscape(strings.Repeat(`\*`, 255)),
		"overview?project=" + strings.Repeat("%C3%BC", 510),
		"overview?version=",
		"overview?status=failed&status=failed",
		"template?name=" + strings.Repeat("*", 255),
		"project?name=" + strings.Repeat("%C3%BC", 255),
		"overview?last=800d", "overview?last=19200h", "overview?last=114w", "overview?last=1h", "overview?last=007d",
		"overview?interval=hour&last=31d",
		"overview?interval=hour&from=2026-03-28&to=2026-03-30",
		"overview?interval=hour&from=2025-10-01&to=2025-11-01", // 31 days, of which one has 25 hours
		"templates?limit=1000&offset=1000000",
		"overview?from=2026-03-31",
		"overview?from=2026-03-01T12:15&to=2026-03-01T12:30",
		"overview?from=2026-03-01T12:00:00+01:00", // + is a space
		"overview?from=2026-03-01t12:00:00z",
		"overview?from=1990-01-02&to=1991-01-01",
		"failures?status=success",
		"overview?&&last=7d&",
	} {
		if response, body := s.ask(t, "GET", query.Path+question); response.StatusCode != http.StatusOK {
			t.Errorf("%.200s: %s", question, body)
		}
	}
	for _, question := range []string{"overview?template=" + url.QueryEscape(strings.Repeat(`\*`, 255)), "overview?version="} {
		if n := at(t, s.get(t, query.Path+question), "current jobs"); fmt.Sprint(n) != "1" {
			t.Errorf("%s: %v jobs", question, n)
		}
	}
}

func TestFormat(t *testing.T) {
	s := serve(t, "UTC", nil)
	const json, csv = "application/json", "text/csv; charset=utf-8; header=present"
	for _, test := range []struct{ query, accept, want string }{
		{"", "", json},
		{"", "*/*", json},
		{"", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", json},
		{"", "text/csv", csv},
		{"", "text/csv, */*;q=0.1", csv},
		{"", "text/csv, */*", csv},
		{"", "text/csv, application/json", json},
		{"", "text/csv, application/json;q=0.9", csv},
		{"", "text/*", csv},
		{"", "text/csv;q=0", json},
		{"", "image/png", json},
		{"?format=csv", "application/json", csv},
		{"?format=json", "text/csv", json},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			response, _ := s.ask(t, method, "/api/v1/templates"+test.query, "Accept", test.accept)
			if got := response.Header.Get("Content-Type"); got != test.want {
				t.Errorf("%s %s, Accept: %s: %s", method, test.query, test.accept, got)
			}
		}
	}
}
