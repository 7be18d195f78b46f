package page_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/page"
)

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Pages are compressed, need no outside, and are not sent again while nothing changes.
func TestHeaders(t *testing.T) {
	s := full(t, nil)
	for _, path := range every {
		plain, body := s.ask(t, "GET", path)
		zipped, small := s.ask(t, "GET", path, "Accept-Encoding", "gzip")
		if got := unzip(t, small); zipped.Header.Get("Content-Encoding") != "gzip" || !bytes.Equal(got, body) {
			t.Errorf("%s: compressed it is another page", path)
		}
		for _, header := range []struct{ name, want string }{
			{"Content-Security-Policy", policy}, {"X-Content-Type-Options", "nosniff"}, {"Cache-Control", "no-cache, private"},
			{"Vary", "Accept-Encoding"}, {"Referrer-Policy", "same-origin"},
		} {
			if got := plain.Header.Get(header.name); got != header.want {
				t.Errorf("%s: %s: %s, want %s", path, header.name, got, header.want)
			}
		}
		head, none := s.ask(t, "HEAD", path)
		if head.StatusCode != 200 || len(none) > 0 || head.Header.Get("ETag") != plain.Header.Get("ETag") {
			t.Errorf("HEAD %s: %s, %d bytes, %s", path, head.Status, len(none), head.Header.Get("ETag"))
		}
		again, none := s.ask(t, "GET", path, "If-None-Match", `"x", `+plain.Header.Get("ETag"))
		if again.StatusCode != 304 || len(none) > 0 {
			t.Errorf("%s again: %s", path, again.Status)
		}
		if post, _ := s.ask(t, "POST", path); post.StatusCode != 405 {
			t.Errorf("POST %s: %s", path, post.Status)
		}
		if bytes.Contains(body, []byte(" style=")) || bytes.Contains(body, []byte(" onclick=")) {
			t.Errorf("%s: the policy lets no such attribute", path)
		}
	}
}

func unzip(t *testing.T, body []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// A page reads the input problems once, and not at all if the client has the page already. A page
// that the client has is sent again when the problems change, for it shows their number.
func TestProblemsAreReadOnce(t *testing.T) {
	s := full(t, nil)
	for _, path := range every {
		s.reads.Store(0)
		response, _ := s.ask(t, "GET", path)
		if n := s.reads.Load(); response.StatusCode != 200 || n != 1 {
			t.Errorf("%s: %s, the problems were read %d times", path, response.Status, n)
		}
		if strings.HasPrefix(path, "/template?") || strings.HasPrefix(path, "/project?") || strings.HasPrefix(path, "/problems") {
			continue // its tag is made of its bytes
		}
		s.reads.Store(0)
		tag := response.Header.Get("ETag")
		response, _ = s.ask(t, "GET", path, "If-None-Match", tag)
		if n := s.reads.Load(); response.StatusCode != 304 || n != 0 {
			t.Errorf("%s again: %s, the problems were read %d times", path, response.Status, n)
		}
		s.revision.Add(1)
		if response, _ = s.ask(t, "GET", path, "If-None-Match", tag); response.StatusCode != 200 {
			t.Errorf("%s after a new problem: %s", path, response.Status)
		}
	}
}

// A job that comes makes other pages.
func TestChanged(t *testing.T) {
	s := full(t, nil)
	for _, path := range every {
		if strings.HasPrefix(path, "/problems") || strings.Contains(path, "npm_test") {
			continue // it is not about such a job
		}
		before, _ := s.ask(t, "GET", path)
		record(t, s.ledger, job.Job{Name: "docker_build", Project: "shop/backend/session-gateway", Status: job.Failed, Finished: now.Add(-time.Minute)})
		after, _ := s.ask(t, "GET", path, "If-None-Match", before.Header.Get("ETag"))
		if after.StatusCode != 200 || after.Header.Get("ETag") == before.Header.Get("ETag") {
			t.Errorf("%s: %s", path, after.Status)
		}
	}
}

// Files have their content's hash in their name, and stay in caches for ever.
func TestFiles(t *testing.T) {
	s := full(t, nil)
	root := s.get(t, "/template?name=docker_build")
	links := []string{}
	for _, n := range append(all(root, "link", "href"), all(root, "script", "src")...) {
		for _, name := range []string{"href", "src"} {
			if link, ok := attr(n, name); ok {
				links = append(links, link)
			}
		}
	}
	if len(links) != 7 {
		t.Errorf("%v", links)
	}
	_, small := s.ask(t, "GET", "/template?name=docker_build", "Accept-Encoding", "gzip")
	weight := len(small)
	for _, link := range links {
		response, body := s.ask(t, "GET", link, "Accept-Encoding", "gzip")
		if response.StatusCode != 200 || response.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" ||
			response.Header.Get("X-Content-Type-Options") != "nosniff" || response.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: %s %v", link, response.Status, response.Header)
		}
		weight += len(body)
		plain, body := s.ask(t, "GET", link)
		if plain.Header.Get("Content-Encoding") != "" || len(body) == 0 {
			t.Errorf("%s: %v", link, plain.Header)
		}
	}
	t.Logf("%d bytes in all", weight)
	if weight > 150_000 {
		t.Errorf("%d bytes are too many for a visit", weight)
	}
	for _, path := range []string{"/static/page.css", "/static/vendor/uplot/LICENSE", "/static/../page.go", "/static/"} {
		if response, _ := s.ask(t, "GET", path); response.StatusCode == 200 {
			t.Errorf("%s: %s", path, response.Status)
		}
	}
}

// What is wrong with an address is told with what to do instead.
func TestRefused(t *testing.T) {
	s := full(t, nil)
	for _, test := range []struct{ path, want string }{
		{"/?last=x", "give a whole number of hours, days or weeks"},
		{"/?last=7d&from=2026-03-01", "give either last, or from and to"},
		{"/?colour=red", "this page has no parameter"},
		{"/?projects.sort=jobs", "this page has no parameter"},
		{"/template?name=x&find.template=y", "this page has no parameter"},
		{"/?sort=colour", "give one of template, jobs"},
		{"/?status=ok", "give one of success"},
		{"/?limit=100000", "give a whole number from 1 to 1000"},
		{"/template", "say which template"},
		{"/template?name=x&projects.sort=sideways", "give one of project"},
		{"/template?name=" + strings.Repeat("x", 256), "give the name as"},
		{"/project?name=shop/backend/session-gateway&unused.offset=-1", "give a whole number"},
		{"/?template=%ff", "send UTF-8"},
		{"/?a=%zz", "percent-encode"},
		{"/?colour=%3Cscript%3Ealert(1)%3C/script%3E", "this page has no parameter"},
	} {
		response, body := s.ask(t, "GET", test.path)
		if response.StatusCode != 400 || response.Header.Get("Content-Security-Policy") != policy || response.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%.100s: %s %v", test.path, response.Status, response.Header)
		}
		if said := text(all(parse(t, body), "main", "")[0]); !strings.Contains(said, test.want) {
			t.Errorf("%.100s: %s", test.path, said)
		}
		if bytes.Contains(body, []byte("<script>alert")) {
			t.Errorf("%s: it is not escaped", test.path)
		}
	}
}

// A page whose turn does not come, or that takes too long, says so.
func TestUnavailable(t *testing.T) {
	var done []func()
	s := full(t, func(o *page.Options) {
		o.Timeout = 3 * time.Second // what one question waits for its turn, and another has time for
		for range 1000 {            // more than there are
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			end, err := o.Slots.Acquire(ctx)
			cancel()
			if err != nil {
				break
			}
			done = append(done, end)
		}
	})
	response, body := s.ask(t, "GET", "/")
	if response.StatusCode != 503 || response.Header.Get("Retry-After") == "" || !bytes.Contains(body, []byte("no free slot")) {
		t.Errorf("%s: %s", response.Status, body)
	}
	for _, end := range done {
		end()
	}
	if response, _ := s.ask(t, "GET", "/templates"); response.StatusCode != 200 {
		t.Errorf("afterwards: %s", response.Status)
	}
	late := full(t, func(o *page.Options) { o.Timeout = time.Nanosecond })
	if response, _ := late.ask(t, "GET", "/"); response.StatusCode != 503 {
		t.Errorf("without time: %s", response.Status)
	}
}

// What forms send becomes an address that the API understands too.
func TestForms(t *testing.T) {
	s := full(t, nil)
	for _, test := range []struct{ path, want string }{
		{"/?last=7d&find.template=npm&find.project=&find.version=", "/?last=7d&template=%2Anpm%2A"},
		{"/?find.template=npm_*&template=go_test", "/?template=go_test&template=npm_%2A"},
		{"/?from=2026-03-01T00%3A00&to=", "/?from=2026-03-01T00%3A00"},
		{"/template?name=npm_test&version=&find.project=shop", "/template?name=npm_test&project=%2Ashop%2A&version="},
		{"/problems?find.template=%20x%20", "/problems?template=%2Ax%2A"},
	} {
		response, _ := s.ask(t, "GET", test.path)
		if got := response.Header.Get("Location"); response.StatusCode != 303 || !same(t, got, test.want) {
			t.Errorf("%s: %s to %s, want %s", test.path, response.Status, got, test.want)
		}
	}
}

// same says whether two addresses are, but for the order of what is in them.
func same(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := url.Parse(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := url.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return x.Path == y.Path && cmp.Equal(x.Query(), y.Query(), cmpopts.SortSlices(strings.Compare))
}

// Every link on every page leads to something.
func TestLinks(t *testing.T) {
	s := full(t, func(o *page.Options) { o.Findings = someFindings })
	seen := map[string]bool{}
	queue := append([]string{}, every...)
	for len(queue) > 0 && len(seen) < 250 {
		path := queue[0]
		queue = queue[1:]
		path, _, _ = strings.Cut(path, "#")
		if seen[path] || strings.HasPrefix(path, "/metrics") || strings.HasPrefix(path, "/-/") || strings.HasPrefix(path, "/jobs") {
			continue
		}
		seen[path] = true
		response, body := s.ask(t, http.MethodGet, path)
		if response.StatusCode != 200 {
			t.Errorf("%s: %s", path, response.Status)
		}
		if strings.HasPrefix(path, "/api/") {
			continue
		}
		for _, n := range all(parse(t, body), "a", "href") {
			if link, _ := attr(n, "href"); strings.HasPrefix(link, "/") {
				queue = append(queue, link)
			}
		}
	}
	if len(seen) < 250 {
		t.Errorf("only %d links were followed", len(seen))
	}
}
