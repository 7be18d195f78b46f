package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ci-jobs-metrics/internal/api"
	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/sqlite"
	"ci-jobs-metrics/internal/problems"
	"ci-jobs-metrics/internal/query"
	"ci-jobs-metrics/internal/rollup"
	"ci-jobs-metrics/internal/totals"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// now is a Tuesday, two days after clocks were set forward in Berlin.
var now = time.Date(2026, 3, 31, 9, 41, 17, 123456000, time.UTC)

// A service is the handler behind a server, over a ledger of its own.
type service struct {
	ledger   *ledger.Ledger
	server   *httptest.Server
	client   *http.Client
	problems []problems.Problem

	mu    sync.Mutex
	asked []string // questions that were computed
}

// serve starts a service in a time zone. change, if not nil, changes its options.
func serve(t testing.TB, zone string, change func(*api.Options)) *service {
	t.Helper()
	s := &service{ledger: openLedger(t, filepath.Join(t.TempDir(), "ledger.db"), zone)}
	o := api.Options{
		Ledger:   s.ledger,
		Problems: func(context.Context) ([]problems.Problem, error) { return s.problems, nil },
		Now:      func() time.Time { return now },
		Answered: s.observe,
	}
	if change != nil {
		change(&o)
	}
	s.start(t, o)
	return s
}

func (s *service) start(t testing.TB, o api.Options) {
	s.server = httptest.NewServer(api.New(o))
	s.client = &http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: 20 * time.Second}
	t.Cleanup(s.stop)
}

// close stops it, and closes its ledger.
func (s *service) close(t *testing.T) {
	t.Helper()
	s.stop()
	if err := s.ledger.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func (s *service) stop() {
	s.client.CloseIdleConnections()
	s.server.Close()
}

func (s *service) observe(question string, _ time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, question)
}

// computed are the questions since it was called last.
func (s *service) computed() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

func openLedger(t testing.TB, path, zone string) *ledger.Ledger {
	t.Helper()
	location, err := rollup.LoadZone(zone)
	if err != nil {
		t.Fatal(err)
	}
	return openLedgerWith(t, path, ledger.Options{Rollups: rollup.Options{Zone: location}, Now: func() time.Time { return now }})
}

func openLedgerWith(t testing.TB, path string, o ledger.Options) *ledger.Ledger {
	t.Helper()
	store, err := sqlite.Open(context.Background(), path, now.Add(-800*24*time.Hour), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	o.Totals = totals.Settings{Bounds: []float64{60}}
	l, err := ledger.Open(context.Background(), store, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l
}

func record(t testing.TB, l *ledger.Ledger, jobs ...job.Job) {
	t.Helper()
	entries := make([]ledger.Entry, len(jobs))
	for i, j := range jobs {
		entries[i] = ledger.Entry{Received: now, Job: j}
	}
	if _, err := l.Record(entries); err != nil {
		t.Fatal(err)
	}
}

// Names that CSV, JSON, patterns or spreadsheets could stumble over.
var (
	templates = []string{"dotnet_build", "helm_restore", "=1+1", "-x", `quo"te, comma`, "ünï *", "lint"}
	projects  = []string{"shop/web", "shop/api", "@home/x", "group/sub/ünï", "ops/infra"}
	versions  = []string{"", "1.0.0", "1.1.0", "+2"}
)

// jobsOf are n jobs of the sixty days before now, the same each time.
func jobsOf(n int) []job.Job {
	r := rand.New(rand.NewPCG(1, 2))
	jobs := make([]job.Job, n)
	for i := range jobs {
		j := job.Job{
			ID:       fmt.Sprintf("gitlab.example/%d/x", i),
			Name:     templates[r.IntN(len(templates))],
			Project:  projects[r.IntN(len(projects))],
			Version:  versions[r.IntN(len(versions))],
			Status:   job.Statuses[r.IntN(len(job.Statuses))],
			Finished: job.Instant(now.Add(-time.Duration(r.Int64N(int64(60 * 24 * time.Hour))))),
			SHA:      fmt.Sprint(r.IntN(5)), Job: "build 1/2", Stage: "build", Ref: "main",
			URL: fmt.Sprintf("https://gitlab.example/-/jobs/%d", i),
		}
		if r.IntN(5) > 0 {
			j.Timed, j.Duration = true, time.Duration(r.Int64N(1e9))*time.Microsecond
		}
		jobs[i] = j
	}
	return jobs
}

// someProblems are what a service says at /problems.
func someProblems() (some []problems.Problem) {
	for i, project := range []string{"shop/web", "", "=HYPERLINK(1)", "shop/api"} {
		some = append(some, problems.Problem{
			Key:      problems.Key{Kind: []problems.Kind{"rejected", "warned"}[i%2], Project: project, Field: "status", Reason: "missing"},
			Template: templates[i], Value: "-1", Remedy: "send it", Sender: "10.0.0.1", Count: int64(i + 1),
			First: now.Add(-time.Hour), Last: now.Add(-time.Duration(i) * time.Minute),
		})
	}
	return some
}

// full is a service with a thousand jobs, and problems.
func full(t testing.TB) *service {
	t.Helper()
	s := serve(t, "Europe/Berlin", nil)
	record(t, s.ledger, jobsOf(1000)...)
	s.problems = someProblems()
	return s
}

// ask sends a request with headers, which are names and values in turn.
func (s *service) ask(t testing.TB, method, path string, headers ...string) (*http.Response, []byte) {
	t.Helper()
	response, body, err := s.send(t.Context(), method, path, headers...)
	if err != nil {
		t.Fatal(err)
	}
	return response, body
}

func (s *service) send(ctx context.Context, method, path string, headers ...string) (*http.Response, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, s.server.URL+path, nil)
	if err != nil {
		return nil, nil, err
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response, body, err
}

// get asks for a document, which has to be there.
func (s *service) get(t testing.TB, path string) map[string]any {
	t.Helper()
	response, body := s.ask(t, "GET", path)
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s: %s, %s: %s", path, response.Status, response.Header.Get("Content-Type"), body)
	}
	return parse(t, body)
}

func parse(t testing.TB, body []byte) map[string]any {
	t.Helper()
	var document map[string]any
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.UseNumber()
	if err := decoder.Decode(&document); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return document
}

// at is what is at a path of names in a document.
func at(t testing.TB, document any, path string) any {
	t.Helper()
	for name := range strings.FieldsSeq(path) {
		object, ok := document.(map[string]any)
		if !ok {
			t.Fatalf("no %s in %v", path, document)
		}
		document = object[name]
	}
	return document
}

func TestAnswers(t *testing.T) {
	s := serve(t, "Europe/Berlin", nil)
	minute := func(name, project string, status job.Status, ago time.Duration) job.Job {
		return job.Job{Name: name, Project: project, Status: status, Finished: now.Add(-ago), Timed: true, Duration: time.Minute}
	}
	const day = 24 * time.Hour
	record(t, s.ledger,
		minute("dotnet_build", "shop/web", job.Success, time.Hour),
		minute("dotnet_build", "shop/web", job.Failed, 2*day),
		minute("dotnet_build", "shop/api", job.Success, 10*day),
		minute("helm_restore", "shop/api", job.Success, time.Hour))
	s.problems = someProblems()
	for _, test := range []struct{ question, path, want string }{
		{"overview", "current jobs", "4"},
		{"overview", "as_of job", "4"},
		{"overview", "as_of time", "2026-03-31T11:41:17.123456+02:00"},
		{"overview", "time_zone", "Europe/Berlin"},
		{"overview", "period to", "2026-03-31T12:00:00+02:00"},
		{"overview", "period from", "2026-03-01T11:00:00+01:00"}, // a day has 24 hours here
		{"overview?last=7d", "previous jobs", "1"},
		{"overview?project=shop%2Fw*", "current jobs", "2"},
		{"overview?project=shop%2Fw*", "filter project", "[shop/w*]"},
		{"overview?project=shop/web&project=shop/api&status=failed", "current jobs", "1"},
		{"template?name=dotnet_build", "current jobs", "3"},
		{"template?name=nobody", "current jobs", "0"},
		{"project?name=shop/web", "current jobs", "2"},
		{"project?name=shop/web", "unused", "[map[jobs:1 projects:1 template:helm_restore]]"},
		{"templates", "total", "2"},
		{"templates?template=helm*", "total", "1"},
		{"projects", "total", "2"},
		{"versions", "total", "2"},
		{"failures", "total", "1"},
		{"problems", "total", "4"},
		{"problems?project=shop/*", "total", "2"},
		{"problems?template=helm*", "total", "1"},
	} {
		if got := fmt.Sprint(at(t, s.get(t, query.Path+test.question), test.path)); got != test.want {
			t.Errorf("%s: %s is %s, want %s", test.question, test.path, got, test.want)
		}
	}
}

// Of a ledger without jobs everything can be asked too.
func TestEmpty(t *testing.T) {
	s := serve(t, "UTC", nil)
	for _, question := range query.Names() {
		parameters := ""
		if question == "template" || question == "project" {
			parameters = "?name=x"
		}
		document := s.get(t, query.Path+question+parameters)
		if items, ok := document["items"]; ok && fmt.Sprint(items) != "[]" {
			t.Errorf("%s: %v", question, items)
		}
	}
	if got, want := at(t, s.get(t, "/api/v1/overview"), "as_of time"), s.ledger.Created().Format(time.RFC3339Nano); got != want {
		t.Errorf("as of %v, want %s: when the ledger was made", got, want)
	}
}

func TestMethodsAndPaths(t *testing.T) {
	s := serve(t, "UTC", nil)
	for _, path := range append(query.Names(), "openapi.json") {
		for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "X"} {
			response, body := s.ask(t, method, query.Path+path)
			if response.StatusCode != 405 || response.Header.Get("Allow") != "GET, HEAD" || parse(t, body)["status"] != json.Number("405") {
				t.Errorf("%s %s: %s, Allow: %s: %s", method, path, response.Status, response.Header.Get("Allow"), body)
			}
		}
	}
	for _, path := range []string{"", "x", "overview/", "overview/x", "OVERVIEW", "overview.csv", "%ff%00<b>"} {
		response, body := s.ask(t, "GET", query.Path+path)
		remedy := fmt.Sprint(parse(t, body)["remedy"])
		if response.StatusCode != 404 || response.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s %s", path, response.Status, response.Header.Get("Content-Type"))
		}
		for _, there := range append(query.Names(), "openapi.json") {
			if !strings.Contains(remedy, query.Path+there) {
				t.Errorf("%s: no %s in %s", path, there, remedy)
			}
		}
	}
	if asked := s.computed(); len(asked) > 0 {
		t.Errorf("%v were computed", asked)
	}
}
