package exposition_test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"ci-jobs-metrics/internal/exposition"
	"ci-jobs-metrics/internal/exposition/expositiontest"
)

const oneJob = "1\tbuild\tgroup/app\tsuccess\t1"

func someJobs() exposition.Options {
	return exposition.Options{Feed: expositiontest.Totals(expositiontest.Jobs(oneJob), settings).Feed()}
}

type brokenGatherer struct{}

// Gather returns something beside the error, as client_golang's registry does.
func (brokenGatherer) Gather() ([]*dto.MetricFamily, error) {
	families, _ := exposition.NewRegistry().Gather()
	return families, errBroken
}

// serve starts the handler behind a real server. The client asks for no gzip and
// leaves the body as it comes.
func serve(t *testing.T, o exposition.Options, jobs bool, self prometheus.Gatherer) func(method string, header http.Header) (*http.Response, []byte) {
	t.Helper()
	server := httptest.NewServer(exposition.New(o).Handler(jobs, self))
	t.Cleanup(server.Close)
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	t.Cleanup(client.CloseIdleConnections)
	return func(method string, header http.Header) (*http.Response, []byte) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = header.Clone()
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		return resp, body
	}
}

// TestHandlerParts asks for the jobs, the receiver's own metrics, and both: each
// is a whole document in each format.
func TestHandlerParts(t *testing.T) {
	registry := exposition.NewRegistry()
	for _, c := range []struct {
		path       string
		jobs       bool
		self       prometheus.Gatherer
		runs, info int // families
	}{
		{"/metrics", true, registry, 1, 1},
		{"/metrics/jobs", true, nil, 1, 0},
		{"/metrics/self", false, registry, 0, 1},
		{"nothing", false, nil, 0, 0},
	} {
		get := serve(t, someJobs(), c.jobs, c.self)
		for _, format := range formats {
			want := format.ContentType()
			resp, body := get("GET", http.Header{"Accept": {want}})
			if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != want {
				t.Fatalf("%s: %s, %s; want 200, %s", c.path, resp.Status, got, want)
			}
			doc, err := expositiontest.Parse(want, body)
			if err != nil {
				t.Errorf("%s: %v", c.path, err)
				continue
			}
			runs := btoi(doc.Family("cijob_runs") != nil || doc.Family("cijob_runs_total") != nil)
			info := btoi(doc.Family("cijob_receiver_build_info") != nil)
			if runs != c.runs || info != c.info {
				t.Errorf("%s: jobs: %d, self: %d; want %d, %d", c.path, runs, info, c.runs, c.info)
			}
		}
	}
}

// TestHandlerGzip checks that a compressed answer is one gzip member with the
// same text, and that a second scrape, whose compressor was used before, is too.
func TestHandlerGzip(t *testing.T) {
	get := serve(t, someJobs(), true, nil)
	_, plain := get("GET", nil)
	for range 2 {
		resp, body := get("GET", http.Header{"Accept-Encoding": {"gzip"}})
		if got := resp.Header.Get("Content-Encoding"); got != "gzip" {
			t.Fatalf("Content-Encoding is %q, want gzip", got)
		}
		packed := bytes.NewReader(body)
		z, err := gzip.NewReader(packed)
		if err != nil {
			t.Fatal(err)
		}
		z.Multistream(false)
		text, err := io.ReadAll(z)
		if err != nil || !bytes.Equal(text, plain) {
			t.Errorf("unpacked (%v):\n%s\nwant\n%s", err, text, plain)
		}
		if packed.Len() > 0 {
			t.Errorf("%d bytes behind the first gzip member", packed.Len())
		}
	}
}

func TestHandlerHeaders(t *testing.T) {
	get := serve(t, someJobs(), true, nil)
	resp, _ := get("GET", http.Header{"Accept": {"text/plain;q=0.1", exposition.OpenMetrics.ContentType()}, "Accept-Encoding": {"br", "gzip"}})
	if got, want := resp.Header.Get("Content-Type"), exposition.OpenMetrics.ContentType(); got != want {
		t.Errorf("two lines of Accept: %s, want %s", got, want)
	}
	if got := resp.Header.Get("Content-Encoding"); got != "gzip" {
		t.Errorf("two lines of Accept-Encoding: Content-Encoding %q, want gzip", got)
	}
	for _, method := range []string{"GET", "HEAD"} {
		resp, body := get(method, http.Header{"Accept-Encoding": {"gzip"}})
		vary := strings.Join(resp.Header.Values("Vary"), ", ")
		if !strings.Contains(vary, "Accept,") || !strings.Contains(vary, "Accept-Encoding") {
			t.Errorf("%s: Vary is %q, want Accept and Accept-Encoding", method, vary)
		}
		if got := resp.Header.Get("Content-Encoding"); resp.StatusCode != http.StatusOK || got != "gzip" {
			t.Errorf("%s: %s, Content-Encoding %q; want 200, gzip", method, resp.Status, got)
		}
		if method == "HEAD" && len(body) > 0 {
			t.Errorf("HEAD: a body of %d bytes", len(body))
		}
	}
}

// TestHead checks that nothing is rendered for who wants no body.
func TestHead(t *testing.T) {
	e := exposition.New(someJobs())
	w := httptest.NewRecorder()
	e.Handler(true, nil).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodHead, "/", nil))
	if w.Code != http.StatusOK || e.Kept() > 0 {
		t.Errorf("status %d, and %d bytes are kept", w.Code, e.Kept())
	}
}

// TestHandlerErrors checks that a part that fails fails the answer, whatever the
// client accepts, and says why.
func TestHandlerErrors(t *testing.T) {
	unreadable := someJobs()
	unreadable.CatchUp = func(context.Context) error { return errors.New("the disk is gone") }
	for _, c := range []struct {
		why    string
		opts   exposition.Options
		self   prometheus.Gatherer
		status int
		reason string
	}{
		{"totals", unreadable, exposition.NewRegistry(), http.StatusServiceUnavailable, "the disk is gone"},
		{"self", someJobs(), brokenGatherer{}, http.StatusInternalServerError, "broken"},
	} {
		get := serve(t, c.opts, true, c.self)
		for _, method := range []string{"GET", "HEAD"} {
			resp, body := get(method, http.Header{"Accept": {exposition.OpenMetrics.ContentType()}, "Accept-Encoding": {"gzip"}})
			if resp.StatusCode != c.status || resp.Header.Get("Content-Encoding") != "" ||
				!strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain; charset") {
				t.Errorf("%s: %s %v, want %d as plain text", c.why, resp.Status, resp.Header, c.status)
			}
			if method == "GET" && (!strings.Contains(string(body), c.reason) || strings.Contains(string(body), "ci_")) {
				t.Errorf("%s: body %q, want the reason %q alone", c.why, body, c.reason)
			}
		}
	}
}

// TestRegistry checks that nothing in a fresh registry collides in either format,
// which of the colliding pair is left out, and that the build info is there.
func TestRegistry(t *testing.T) {
	registry := exposition.NewRegistry()
	for _, format := range []exposition.Format{exposition.Text, exposition.OpenMetrics} {
		var b bytes.Buffer
		if err := exposition.New(exposition.Options{}).Render(t.Context(), &b, format, false, registry); err != nil {
			t.Fatal(err)
		}
		values := parse(t, format, b.Bytes()).Values()
		for metric, want := range map[string]bool{
			"go_goroutines": true, "process_start_time_seconds": true,
			"go_memstats_alloc_bytes_total": true, "go_memstats_heap_alloc_bytes": true, "go_memstats_alloc_bytes": false,
		} {
			if _, got := values[metric]; got != want {
				t.Errorf("%s is there: %t, want %t", metric, got, want)
			}
		}
		if !bytes.Contains(b.Bytes(), []byte("cijob_receiver_build_info{")) {
			t.Error("no cijob_receiver_build_info")
		}
	}
}

// TestScrapeTimeout leaves an answer unread: soon after the time at which the client
// said that it gives up, the handler ends.
func TestScrapeTimeout(t *testing.T) {
	const large = 50_000 // more than fits into the buffers of a connection
	all := expositiontest.Totals(manyJobs(large), settings)
	handler := of(exposition.Both, all).Handler(true, nil)
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)) // renders
	for _, c := range []struct {
		header string
		within time.Duration // 0: not within the time that is waited for
	}{
		{"0.1", 20 * time.Second},
		{"", 0},
		{"-1", 0},
		{"NaN", 0},
	} {
		ended := make(chan struct{})
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handler.ServeHTTP(w, r)
			close(ended)
		}))
		connection, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := connection.(*net.TCPConn).SetReadBuffer(4096); err != nil {
			t.Fatal(err)
		}
		_, err = fmt.Fprintf(connection, "GET / HTTP/1.1\r\nHost: x\r\nX-Prometheus-Scrape-Timeout-Seconds: %s\r\n\r\n", c.header)
		if err != nil {
			t.Fatal(err)
		}
		wait := cmp.Or(c.within, 1500*time.Millisecond)
		select {
		case <-ended:
			if c.within == 0 {
				t.Errorf("timeout %q: the answer ended", c.header)
			}
		case <-time.After(wait):
			if c.within > 0 {
				t.Errorf("timeout %q: the handler is still there after %v", c.header, wait)
			}
		}
		_ = connection.Close()
		<-ended
		server.Close()
	}
}
