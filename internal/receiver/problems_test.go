package receiver_test

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"ci-jobs-metrics/internal/problems"
	"ci-jobs-metrics/internal/receiver"
)

// problems are those that the receiver knows of, newest first.
func (r *running) problems(t *testing.T) []problems.Problem {
	t.Helper()
	all, err := receiver.Ledger(r.Receiver).Problems(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		for _, text := range []string{p.Project, p.Template, p.Remedy, p.Value, p.Sender} {
			if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) || utf8.RuneCountInString(text) > 500 {
				t.Errorf("a text of %+v", p)
			}
		}
		if p.Remedy == "" || p.Sender != "127.0.0.1" || p.Count < 1 || p.First.After(p.Last) || p.Last.IsZero() {
			t.Errorf("%+v", p)
		}
	}
	return all
}

// brief is each problem in a line, sorted.
func brief(all []problems.Problem) string {
	lines := make([]string, len(all))
	for i, p := range all {
		lines[i] = fmt.Sprintf("%d %s %q %s %s %q %q", p.Count, p.Kind, p.Project, p.Field, p.Reason, p.Template, p.Value)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (r *running) wantProblems(t *testing.T, what, want string) {
	t.Helper()
	if diff := cmp.Diff(want, brief(r.problems(t))); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// post sends to /steps and returns the status.
func (r *running) post(t *testing.T, contentType, body string) int {
	t.Helper()
	response, _ := ask(t, r.client, http.MethodPost, r.url+"/steps", contentType, body)
	return response.StatusCode
}

const ndjson = "application/x-ndjson"

// Problems of each kind are kept, also by the next receiver, which goes on to count.
func TestProblemsAreKept(t *testing.T) {
	t.Parallel()
	path := ledgerPath(t)
	send := func(r *running) {
		r.want(t, "/steps?name=n+1/5&project=g/a&status=success", 200, `"warnings":[]`)
		r.want(t, "/steps?name=n+1/5&project=g/a&status=running", 200, "unknown_status")
		r.want(t, "/steps?name=n&project=CI_PROJECT_PATH&status=success", 400, "unexpanded_variable")
		r.post(t, ndjson, `{"name":"n","project":"g/a","status":"success"}`+"\nnonsense\n"+`{"name":"m","project":"g/b"}`)
		for _, bad := range []struct {
			contentType, body string
			status            int
		}{
			{"application/json", `{"name":`, 400},
			{"text/xml", "<job/>", 415},
			{"application/json", strings.Repeat("x", 2<<20), 413},
		} {
			if got := r.post(t, bad.contentType, bad.body); got != bad.status {
				t.Errorf("%.20s: %d, want %d", bad.body, got, bad.status)
			}
		}
		for _, change := range []func(*http.Request){
			func(q *http.Request) { q.Method = http.MethodHead },
			func(q *http.Request) { q.Header.Set("Sec-Fetch-Site", "cross-site") },
		} {
			q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/steps?name=n&project=g/a&status=success", nil)
			if err != nil {
				t.Fatal(err)
			}
			change(q)
			response, err := r.client.Do(q)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
		}
	}
	want := func(n int) string {
		return strings.ReplaceAll(`N refused ""  forbidden "" ""
N refused ""  malformed "" ""
N refused ""  method "" ""
N refused ""  too_large "" ""
N refused ""  unsupported_type "" ""
N rejected ""  not_json "" "nonsense"
N rejected "CI_PROJECT_PATH" project unexpanded_variable "n" "CI_PROJECT_PATH"
N rejected "g/b" status missing "m" ""
N warned "g/a" status unknown_status "n" "running"`, "N", fmt.Sprint(n))
	}
	r := start(t, options(path, "127.0.0.1:0"))
	r.wantProblems(t, "none", "")
	send(r)
	r.wantProblems(t, "at once", want(1))
	for _, p := range r.problems(t) {
		if p.Reason == "unsupported_type" && !strings.Contains(p.Remedy, `"text/xml" can't be read: send application/json`) {
			t.Errorf("what to do: %s", p.Remedy)
		}
	}
	r.stop(t)
	r = start(t, options(path, "127.0.0.1:0"))
	r.wantProblems(t, "after a restart", want(1))
	send(r)
	r.wantProblems(t, "again", want(2))
	r.stop(t)
	start(t, options(path, "127.0.0.1:0")).wantProblems(t, "after another restart", want(2))
}

// Whatever senders write comes out bounded, and as the text that it was.
func TestHostileProblems(t *testing.T) {
	t.Parallel()
	path := ledgerPath(t)
	r := start(t, options(path, "127.0.0.1:0"))
	huge := strings.Repeat("x", 1<<20-100)
	for _, project := range []string{
		"<script>alert(1)</script>", "a\x00b\x1b[31m\r\nc", "\xff\xfe", "'; DROP TABLE problems; --", "__other__",
		huge, strings.Repeat("\xf0\x9f\x98\x80", 50_000), strings.Repeat("\xff", 50_000),
	} {
		form := url.Values{"name": {project}, "project": {project}, "version": {project}}.Encode()
		if status := r.post(t, "application/x-www-form-urlencoded", form); status != 400 && status != 413 {
			t.Errorf("%.20q: %d", project, status)
		}
		r.post(t, ndjson, `{"project":"`+project+`"}`)
		r.post(t, ndjson, project)
		r.post(t, "application/json; "+url.QueryEscape(project[:min(len(project), 1000)]), "{}")
	}
	check := func(r *running) {
		t.Helper()
		projects := map[string]bool{}
		for _, p := range r.problems(t) {
			projects[p.Project] = true
		}
		for _, want := range []string{
			"<script>alert(1)</script>", "a b [31m  c", "\uFFFD", "'; DROP TABLE problems; --", "__other__",
			strings.Repeat("x", 254) + "…", strings.Repeat("😀", 254) + "…", "",
		} {
			if !projects[want] {
				t.Errorf("no project %.20q", want)
			}
		}
	}
	check(r)
	r.stop(t)
	if info, err := os.Stat(path); err != nil || info.Size() > 1<<20 {
		t.Errorf("the ledger: %v, %v", info.Size(), err)
	}
	check(start(t, options(path, "127.0.0.1:0")))
}

// A flood of projects keeps the last thousand, of large requests a hundred each, and counts
// no problem of a request less for that.
func TestFloodOfProblems(t *testing.T) {
	t.Parallel()
	path := ledgerPath(t)
	r := start(t, options(path, "127.0.0.1:0"))
	var senders sync.WaitGroup
	for s := range 8 {
		senders.Go(func() {
			for i := range 5000 / 8 {
				r.get(t, fmt.Sprintf("/steps?name=n&project=p%d/%d", s, i))
			}
		})
	}
	senders.Wait()
	if n := len(r.problems(t)); n != problems.MaxKept {
		t.Errorf("%d are kept after many requests, want %d", n, problems.MaxKept)
	}
	var lines strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&lines, `{"name":"n","project":"q%d"}`+"\n", i)
	}
	if got := r.post(t, ndjson, lines.String()); got != 400 {
		t.Errorf("%d", got)
	}
	check := func(r *running) {
		t.Helper()
		all := r.problems(t)
		if len(all) != problems.MaxKept {
			t.Errorf("%d are kept, want %d", len(all), problems.MaxKept)
		}
		counts := map[string]int64{}
		for _, p := range all[:101] { // the newest
			if !strings.HasPrefix(p.Project, "q") && p.Project != "__other__" {
				t.Errorf("before those: %+v", p)
			}
			counts[p.Project] += p.Count
		}
		if counts["__other__"] != 4900 || counts["q99"] != 1 {
			t.Errorf("counted: %v", counts)
		}
	}
	check(r)
	r.stop(t)
	check(start(t, options(path, "127.0.0.1:0")))
}

// A kill takes the problems of the last seconds, and leaves those that were stored.
func TestProblemsAfterAKill(t *testing.T) {
	t.Parallel()
	path := ledgerPath(t)
	r := start(t, options(path, "127.0.0.1:0"))
	for range 3 {
		r.want(t, "/steps?name=n&project=p", 400)
	}
	killed := func() string { // what it would leave now
		to := ledgerPath(t)
		for _, end := range []string{"", "-wal", ".lock"} {
			content, err := os.ReadFile(path + end)
			if err == nil {
				err = os.WriteFile(to+end, content, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return to
	}
	const want = `3 rejected "p" status missing "n" ""`
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(500 * time.Millisecond) {
		after := start(t, options(killed(), "127.0.0.1:0"))
		got := brief(after.problems(t))
		after.want(t, "/steps?name=n&project=p", 400)
		if got == want {
			after.wantProblems(t, "and then", strings.Replace(want, "3", "4", 1))
			break
		}
		if got != "" || time.Now().After(deadline) {
			t.Fatalf("after a kill: %s", got)
		}
		after.stop(t)
	}
	r.wantProblems(t, "without one", want)
}

// What is to be sent again as it is, for the receiver could not take it, is no problem of
// the sender's.
func TestBusyIsNoProblem(t *testing.T) {
	t.Parallel()
	path := ledgerPath(t)
	r := start(t, options(path, "127.0.0.1:0"))
	away := filepath.Join(t.TempDir(), "away.db")
	if err := os.Rename(path, away); err != nil {
		t.Fatal(err)
	}
	r.want(t, "/steps?name=n&project=p&status=what", 503, "nothing was recorded")
	if err := os.Rename(away, path); err != nil {
		t.Fatal(err)
	}
	r.wantProblems(t, "the ledger was away", "")

	// Slow ones take all room for large requests: nearly all at once, for each is broken off
	// after a while.
	const nearlyAll = 60
	var slow []net.Conn
	for len(slow) < nearlyAll || r.post(t, ndjson, strings.Repeat("x", 40_000)) != 503 {
		c := r.dial(t)
		fmt.Fprintf(c, "POST /steps HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s",
			1<<20, strings.Repeat("x", 1<<20-1))
		if slow = append(slow, c); len(slow) > 100 {
			t.Fatal("there is room for any number")
		}
	}
	for _, c := range slow {
		c.Close()
	}
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(brief(r.problems(t)), "incomplete"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("bodies that broke off are no problem:\n%s", brief(r.problems(t)))
		}
	}
	if got := brief(r.problems(t)); strings.Contains(got, "busy") {
		t.Error(got)
	}
}
