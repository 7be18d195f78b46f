package page_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/html"

	"ci-jobs-metrics/internal/api"
	"ci-jobs-metrics/internal/history"
	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/sqlite"
	"ci-jobs-metrics/internal/page"
	"ci-jobs-metrics/internal/problems"
	"ci-jobs-metrics/internal/query"
	"ci-jobs-metrics/internal/rollup"
	"ci-jobs-metrics/internal/totals"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// now is two days after clocks were set forward in Berlin.
var now = time.Date(2026, 3, 31, 9, 41, 17, 0, time.UTC)

// A service has the pages and the API over a ledger of its own.
type service struct {
	ledger   *ledger.Ledger
	server   *httptest.Server
	client   *http.Client
	problems []problems.Problem
	revision atomic.Uint64 // of problems
	reads    atomic.Int64  // of problems
}

// serve starts one. change, if not nil, changes the options of its pages.
func serve(t testing.TB, change func(*page.Options)) *service {
	t.Helper()
	s := &service{ledger: openLedger(t)}
	problems := func(context.Context) ([]problems.Problem, error) {
		s.reads.Add(1)
		return s.problems, nil
	}
	clock := func() time.Time { return now }
	slots := query.NewSlots()
	o := page.Options{Ledger: s.ledger, Problems: problems, ProblemsRevision: func() uint64 { return s.revision.Load() }, Slots: slots, Now: clock}
	if change != nil {
		change(&o)
	}
	mux := http.NewServeMux()
	mux.Handle(query.Path, api.New(api.Options{Ledger: s.ledger, Problems: problems, Slots: slots, Now: clock}))
	pages := page.New(o)
	for _, pattern := range page.Patterns() {
		mux.Handle("GET "+pattern, pages)
	}
	s.server = httptest.NewServer(mux)
	s.client = &http.Client{
		Transport:     &http.Transport{DisableCompression: true},
		Timeout:       20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		s.server.Close()
	})
	return s
}

func openLedger(t testing.TB) *ledger.Ledger {
	t.Helper()
	zone, err := rollup.LoadZone("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "ledger.db"), now.Add(-time.Hour), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(context.Background(), store, ledger.Options{
		Rollups: rollup.Options{Zone: zone}, Totals: totals.Settings{Bounds: []float64{60}}, Now: func() time.Time { return now },
	})
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

// full is a service with some thousand jobs, and problems.
func full(t testing.TB, change func(*page.Options)) *service {
	t.Helper()
	s := serve(t, change)
	shape := history.Shape{Templates: 30, Projects: 40, Jobs: 6000, Days: 60, End: now, Seed: 1, Planted: true}
	if err := shape.Fill(context.Background(), s.ledger.Record, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		s.problems = append(s.problems, problems.Problem{
			Key: problems.Key{Kind: []problems.Kind{"rejected", "warned", "refused"}[i%3], Project: "shop/web", Field: "status",
				Reason: "unknown_status"},
			Template: "npm_test", Value: "what", Remedy: "send success", Sender: "10.0.0.1", Count: int64(1000 * i),
			First: now.Add(-time.Hour), Last: now.Add(-time.Duration(i) * time.Minute),
		})
	}
	return s
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

// ask sends a request with headers, which are names and values in turn.
func (s *service) ask(t testing.TB, method, path string, headers ...string) (*http.Response, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	response, err := s.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, body
}

// get asks for a page, which has to be there.
func (s *service) get(t testing.TB, path string) *html.Node {
	t.Helper()
	response, body := s.ask(t, "GET", path)
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%s: %s, %s: %.2000s", path, response.Status, response.Header.Get("Content-Type"), body)
	}
	return parse(t, body)
}

func parse(t testing.TB, body []byte) *html.Node {
	t.Helper()
	root, err := html.Parse(strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// answer asks the API.
func (s *service) answer(t testing.TB, path string) any {
	t.Helper()
	response, body := s.ask(t, "GET", path)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %s", path, response.Status, body)
	}
	var answer any
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.UseNumber()
	if err := decoder.Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// all are the elements with a name, or of any if that is empty, and an attribute.
func all(root *html.Node, name, attribute string) (found []*html.Node) {
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && (name == "" || n.Data == name) {
			if _, ok := attr(n, attribute); ok || attribute == "" {
				found = append(found, n)
			}
		}
	}
	return found
}

func attr(n *html.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

// text is all that is written in a node.
func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return strings.TrimSpace(b.String())
}

// every is a page of each kind, with what makes them differ.
var every = []string{
	"/", "/?last=24h", "/?last=7d&interval=hour", "/?last=800d", "/?from=2026-03-28&to=2026-03-30", "/?from=2026-03-27T09:00&to=2026-03-27T11:15",
	"/?sort=success_rate&limit=7&offset=7", "/?status=failed&status=timedout", "/?template=*_test&project=*/*&version=*",
	"/?sort=-p95_change",
	"/templates", "/templates?last=7d&sort=-hours_lost", "/projects", "/projects?offset=30&limit=10",
	"/template?name=docker_build", "/template?name=docker_build&projects.sort=-ci_hours&projects.offset=15&versions.sort=version&failures.offset=15",
	"/template?name=npm_test&last=7d&status=success", "/template?name=npm_test&version=*.*.*",
	"/project?name=shop/backend/session-gateway", "/project?name=shop/backend/session-gateway&templates.sort=template&failures.limit=3&unused.offset=15",
	"/problems", "/problems?sort=-count&offset=50", "/improve",
}
