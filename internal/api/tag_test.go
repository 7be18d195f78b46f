package api_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"runtime"
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

var strong = regexp.MustCompile(`^"[A-Za-z0-9_-]{22}"$`)

// Asked again with its tag an answer is not sent, and only a moving one is computed.
func TestUnchanged(t *testing.T) {
	s := full(t)
	for name, question := range everything {
		path := query.Path + question
		first, body := s.ask(t, "GET", path)
		tag := first.Header.Get("ETag")
		if !strong.MatchString(tag) || first.Header.Get("Cache-Control") != "no-cache, private" || first.Header.Get("Vary") != "Accept, Accept-Encoding" ||
			first.Header.Get("X-Content-Type-Options") != "nosniff" || first.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %v", question, first.Header)
		}
		s.computed()
		for _, known := range []string{tag, "W/" + tag, "*", `"x", ` + tag, `W/"x",` + tag + `,"y"`, `"a,b" , ` + tag} {
			again, nothing := s.ask(t, "GET", path, "If-None-Match", known)
			if again.StatusCode != 304 || len(nothing) > 0 || known != "*" && again.Header.Get("ETag") != tag || again.Header.Get("Cache-Control") != "no-cache, private" {
				t.Errorf("%s, If-None-Match: %s: %s %v", question, known, again.Status, again.Header)
			}
		}
		moving := name == "failures" || name == "problems"
		if asked := s.computed(); len(asked) > 0 && !moving {
			t.Errorf("%v were computed", asked)
		}
		for _, known := range []string{`"x"`, `"`, strings.Trim(tag, `"`), `w/` + tag, "", "," + tag[1:], "x, " + tag} {
			if again, sent := s.ask(t, "GET", path, "If-None-Match", known); again.StatusCode != 200 || !bytes.Equal(sent, body) {
				t.Errorf("%s, If-None-Match: %s: %s", question, known, again.Status)
			}
		}
		if again, _ := s.ask(t, "GET", path, "If-None-Match", `"x"`, "If-None-Match", tag); again.StatusCode != 304 {
			t.Errorf("%s: two lines: %s", question, again.Status)
		}
		s.computed()
		head, nothing := s.ask(t, "HEAD", path)
		if head.StatusCode != 200 || len(nothing) > 0 || head.Header.Get("Content-Type") != "application/json" || !moving && head.Header.Get("ETag") != tag {
			t.Errorf("HEAD %s: %s %v", question, head.Status, head.Header)
		}
		if unchanged, _ := s.ask(t, "HEAD", path, "If-None-Match", tag); !moving && unchanged.StatusCode != 304 {
			t.Errorf("HEAD %s: %s", question, unchanged.Status)
		}
		if asked := s.computed(); len(asked) > 0 {
			t.Errorf("HEAD %s: %v were computed", question, asked)
		}
	}
}

// Equal tags mean equal bytes, whatever the way to ask for them was.
func TestTagsTellAnswersApart(t *testing.T) {
	s := full(t)
	bodies := map[string]string{}
	for _, question := range []string{
		"overview", "overview?last=30d", "overview?last=720h", "overview?from=2026-03-01T11:00&to=2026-03-31T12:00",
		"overview?from=2026-03-01T10:00:00Z", "overview?last=29d", "overview?last=30d&interval=day", "overview?last=30d&interval=hour",
		"overview?template=lint", "overview?project=lint", "overview?version=lint", "overview?template=lint&template=x",
		"overview?template=x&template=lint", "overview?template=lintx", "overview?status=failed", "overview?format=csv", "overview?format=json",
		"template?name=lint", "project?name=lint", "template?name=x", "templates", "templates?limit=100", "templates?limit=99", "templates?offset=1",
		"templates?sort=-jobs", "templates?sort=jobs", "templates?sort=-p50", "templates?format=csv", "templates?format=csv&limit=100",
		"projects", "versions", "failures", "failures?format=csv", "problems", "problems?sort=last", "problems?template=lint", "openapi.json",
	} {
		for _, encoding := range []string{"identity", "gzip"} {
			response, body := s.ask(t, "GET", query.Path+question, "Accept-Encoding", encoding)
			tag := response.Header.Get("ETag")
			if known, ok := bodies[tag]; ok && known != string(body) {
				t.Errorf("%s has the tag of something else", question)
			}
			bodies[tag] = string(body)
		}
	}
	same := func(a, b string) {
		t.Helper()
		x, _ := s.ask(t, "HEAD", query.Path+a)
		y, _ := s.ask(t, "HEAD", query.Path+b)
		if x.Header.Get("ETag") != y.Header.Get("ETag") {
			t.Errorf("%s and %s have different tags", a, b)
		}
	}
	same("overview", "overview?last=720h&interval=day&format=json")
	same("overview", "overview?from=2026-03-01T11:00&to=2026-03-31T10:00:00Z")
}

// A tag changes when the answer may have, and only then.
func TestTagChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	at := now
	options := func(zone string) *service {
		s := &service{ledger: openLedger(t, path, zone)}
		s.start(t, api.Options{Ledger: s.ledger, Now: func() time.Time { return at },
			Problems: func(context.Context) ([]problems.Problem, error) { return s.problems, nil }})
		return s
	}
	s := options("UTC")
	tag := func(question string) string {
		response, _ := s.ask(t, "GET", query.Path+question)
		return response.Header.Get("ETag")
	}
	before := map[string]string{}
	changed := func(what string, want ...string) {
		t.Helper()
		for _, question := range []string{"overview?last=24h", "overview?from=2026-03-01&to=2026-03-02", "failures?last=24h", "problems"} {
			now := tag(question)
			if is, wanted := now != before[question], strings.Contains(strings.Join(want, ";"), question); is != wanted {
				t.Errorf("%s: the tag of %s changed: %t", what, question, is)
			}
			before[question] = now
		}
	}
	const overview, fixed, failures, problems = "overview?last=24h", "overview?from=2026-03-01&to=2026-03-02", "failures?last=24h", "problems"
	changed("at first", overview, fixed, failures, problems)
	changed("nothing")
	record(t, s.ledger, job.Job{Name: "n", Project: "p", Status: job.Success, Finished: now, ID: "1"})
	changed("a job", overview, fixed, failures)
	record(t, s.ledger, job.Job{Name: "n", Project: "p", Status: job.Success, Finished: now, ID: "1"})
	changed("a duplicate")
	at = now.Add(18*time.Minute + 42*time.Second)
	changed("a later moment of the hour")
	at = now.Add(19 * time.Minute)
	changed("the next hour", overview, failures)
	s.problems = someProblems()
	changed("problems", problems)
	s.close(t)
	s = options("UTC")
	s.problems = someProblems()
	changed("a restart")
	s.close(t)
	s = options("Europe/Berlin")
	s.problems = someProblems()
	changed("another time zone", overview, fixed, failures, problems)
}

// A job that comes while a question waits is in its answer, and in its tag.
func TestTagOfALaterJob(t *testing.T) {
	b := &blocked{release: make(chan struct{})}
	s := serve(t, "UTC", func(o *api.Options) { o.Problems = b.problems })
	for range max(1, runtime.GOMAXPROCS(0)/2) {
		go func() { _, _, _ = s.send(t.Context(), "GET", "/api/v1/problems") }()
	}
	eventually(t, "none is computed", func() bool { return b.running.Load() > 0 })
	answered := make(chan string)
	go func() {
		response, body, err := s.send(t.Context(), "GET", "/api/v1/overview")
		if err != nil || !strings.Contains(string(body), `"job":1`) {
			t.Errorf("%v: %s", err, body)
			response = &http.Response{}
		}
		answered <- response.Header.Get("ETag")
	}()
	time.Sleep(200 * time.Millisecond) // it has looked at the ledger, and waits
	record(t, s.ledger, job.Job{Name: "n", Project: "p", Status: job.Success, Finished: now})
	close(b.release)
	got := <-answered
	if head, _ := s.ask(t, "HEAD", "/api/v1/overview"); head.Header.Get("ETag") != got {
		t.Errorf("its tag is %s, and then %s", got, head.Header.Get("ETag"))
	}
}

// Where an older ledger was restored, other jobs get the numbers of those that are gone.
func TestTagAfterRestore(t *testing.T) {
	tags := map[string]bool{}
	for i := range 2 {
		s := serve(t, "UTC", nil)
		entry := ledger.Entry{Received: now.Add(time.Duration(i) * time.Microsecond),
			Job: job.Job{Name: fmt.Sprint(i), Project: "p", Status: job.Success, Finished: now}}
		if _, err := s.ledger.Record([]ledger.Entry{entry}); err != nil {
			t.Fatal(err)
		}
		response, _ := s.ask(t, "HEAD", "/api/v1/overview")
		tags[response.Header.Get("ETag")] = true
	}
	if len(tags) != 2 {
		t.Errorf("%v", tags)
	}
}

// Roll-ups past their retention change answers without a new job.
func TestTagAfterPruning(t *testing.T) {
	var clock atomic.Int64 // days since now
	later := func() time.Time { return now.Add(time.Duration(clock.Load()) * 24 * time.Hour) }
	l := openLedgerWith(t, filepath.Join(t.TempDir(), "ledger.db"), ledger.Options{
		Now: later, RollupRetention: 10 * 24 * time.Hour, RollupEvery: time.Millisecond, PruneEvery: 10 * time.Millisecond,
	})
	s := serve(t, "UTC", func(o *api.Options) { o.Ledger = l })
	record(t, l, job.Job{Name: "n", Project: "p", Status: job.Success, Finished: now.Add(-9 * 24 * time.Hour)})
	look := func() (tag, jobs string) {
		response, body := s.ask(t, "GET", "/api/v1/overview?from=2026-03-01&to=2026-03-31")
		return response.Header.Get("ETag"), fmt.Sprint(at(t, parse(t, body), "current jobs"))
	}
	before, _ := look()
	clock.Store(3)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, jobs := look(); jobs == "0" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing was pruned")
		}
	}
	if after, _ := look(); after == before {
		t.Error("the tag is as before")
	}
}

func TestGzip(t *testing.T) {
	s := full(t)
	for _, path := range []string{"overview", "versions?limit=1000", "versions?format=csv", "openapi.json"} {
		plain, body := s.ask(t, "GET", query.Path+path)
		zipped, small := s.ask(t, "GET", query.Path+path, "Accept-Encoding", "gzip, br")
		if plain.Header.Get("Content-Encoding") != "" || zipped.Header.Get("Content-Encoding") != "gzip" || len(small) > len(body)/2 {
			t.Fatalf("%s: %d bytes of %d, %v", path, len(small), len(body), zipped.Header)
		}
		if plain.Header.Get("ETag") == zipped.Header.Get("ETag") {
			t.Errorf("%s: other bytes with the same tag", path)
		}
		r, err := gzip.NewReader(bytes.NewReader(small))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s: %v, or other bytes", path, err)
		}
		if head, _ := s.ask(t, "HEAD", query.Path+path); head.StatusCode != 200 || head.Header.Get("ETag") != plain.Header.Get("ETag") {
			t.Errorf("HEAD %s: %s %v", path, head.Status, head.Header)
		}
		if again, _ := s.ask(t, "GET", query.Path+path, "Accept-Encoding", "gzip", "If-None-Match", zipped.Header.Get("ETag")); again.StatusCode != 304 {
			t.Errorf("%s: %s", path, again.Status)
		}
	}
	short, _ := s.ask(t, "GET", "/api/v1/failures?limit=1", "Accept-Encoding", "gzip")
	if short.Header.Get("Content-Encoding") != "" {
		t.Error("what fits into a packet is compressed")
	}
}
