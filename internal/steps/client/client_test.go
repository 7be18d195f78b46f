package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/steps"
	"ci-jobs-metrics/internal/steps/client"
)

const recorded = `{"recorded":1,"duplicates":0,"warnings":[],"rejected":[]}`

// answering starts a server that answers everything alike.
func answering(t *testing.T, status int, contentType, body string, header ...string) *httptest.Server {
	return serving(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

func serving(t *testing.T, h http.HandlerFunc) *httptest.Server {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server
}

func newClient(t *testing.T, target string, o client.Options) *client.Client {
	t.Helper()
	c, err := client.New(target, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func send(t *testing.T, target string) (steps.Answer, error) {
	t.Helper()
	return newClient(t, target, client.Options{}).Send(t.Context(), []json.RawMessage{[]byte(`{"a":1}`)})
}

func TestSendPostsAnArray(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body []byte
	server := serving(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = io.WriteString(w, `{"recorded":1,"duplicates":1,"warnings":[{"index":0,"field":"status","reason":"unknown_status"}],"rejected":[]}`)
	})
	c := newClient(t, server.URL+"/prefix", client.Options{UserAgent: "exporter/1"})
	answer, err := c.Send(t.Context(), []json.RawMessage{[]byte(`{"id":12345678901234567890}`), []byte(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	want := steps.Answer{Recorded: 1, Duplicates: 1, Rejected: []job.Problem{},
		Warnings: []job.Problem{{Field: "status", Reason: job.UnknownStatus}}}
	if diff := cmp.Diff(want, answer); diff != "" {
		t.Error(diff)
	}
	if string(body) != `[{"id":12345678901234567890},{}]` {
		t.Errorf("body %s", body)
	}
	if got.Method != "POST" || got.URL.Path != "/prefix/steps" || got.Header.Get("Content-Type") != "application/json" ||
		got.UserAgent() != "exporter/1" {
		t.Errorf("%s %s %v", got.Method, got.URL, got.Header)
	}
	if _, there := got.Header["Idempotency-Key"]; there {
		t.Error("an empty header was sent")
	}
}

func TestSendErrors(t *testing.T) {
	t.Parallel()
	problem := `{"type":"about:blank","title":"Bad Request","status":400,"detail":"nothing\ngood","rejected":[{"index":0,"field":"name","reason":"missing","remedy":"send it"}]}`
	for name, c := range map[string]struct {
		status      int
		contentType string
		body        string
		retryAfter  string

		final  bool
		after  time.Duration
		reason string
	}{
		"problem":           {400, "application/problem+json", problem, "", true, 0, "nothing good"},
		"too large":         {413, "text/plain; charset=utf-8", "too much\nof it", "", true, 0, "too much"},
		"wrong type":        {415, "text/html", "<html>", "", true, 0, "no reason"},
		"busy":              {503, "application/problem+json", `{"title":"Busy"}`, "7", false, 7 * time.Second, "Busy"},
		"limited":           {429, "", "", "1", false, time.Second, "no reason"},
		"limited for ever":  {429, "", "", "99999999999", false, 0, ""},
		"limited nonsense":  {429, "", "", "soon", false, 0, ""},
		"past date":         {503, "", "", "Mon, 02 Jan 2006 15:04:05 GMT", false, 0, ""},
		"broken":            {500, "text/plain", "", "", false, 0, "no reason"},
		"not found":         {404, "text/plain", "404 page not found", "", false, 0, "404 page not found"},
		"unauthorized":      {401, "", "", "", false, 0, ""},
		"garbage problem":   {400, "application/problem+json", `{"detail":`, "", true, 0, "no reason"},
		"page":              {200, "text/html", "<html>welcome", "", false, 0, "right host"},
		"no type":           {200, "", "", "", false, 0, "right host"},
		"other json":        {200, "application/json", `{"ok":true}`, "", false, 0, "right host"},
		"null":              {200, "application/json", `null`, "", false, 0, "right host"},
		"half an answer":    {200, "application/json", `{"recorded":1}`, "", false, 0, "right host"},
		"not json":          {200, "application/json", `{"recorded":1,`, "", false, 0, "right host"},
		"accepted":          {202, "text/plain", `queued`, "", false, 0, "right host"},
		"redirect nowhere":  {302, "", "", "", false, 0, "nowhere"},
		"very long reasons": {500, "text/plain", strings.Repeat("x ", 5000), "", false, 0, "x x x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := answering(t, c.status, c.contentType, c.body, "Retry-After", c.retryAfter)
			_, err := send(t, server.URL)
			var e *client.Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v", err)
			}
			if e.Status != c.status || e.Final() != c.final || e.RetryAfter != c.after || !strings.Contains(e.Reason, c.reason) {
				t.Errorf("got %+v, final %v", e, e.Final())
			}
			if strings.Contains(e.Reason, "\n") || len([]rune(e.Reason)) > 400 {
				t.Errorf("reason is no short line: %q", e.Reason)
			}
		})
	}
}

func TestSendTellsWhatIsWrongWithEachItem(t *testing.T) {
	t.Parallel()
	server := answering(t, 400, "application/problem+json",
		`{"detail":"none is good","rejected":[{"index":0,"field":"name","reason":"missing","remedy":"send it"}]}`)
	_, err := send(t, server.URL)
	var e *client.Error
	if !errors.As(err, &e) || len(e.Rejected) != 1 || e.Rejected[0].Remedy != "send it" {
		t.Errorf("got %#v", err)
	}
}

func TestRetryAfterDate(t *testing.T) {
	t.Parallel()
	server := answering(t, 503, "", "", "Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
	_, err := send(t, server.URL)
	var e *client.Error
	if !errors.As(err, &e) || e.RetryAfter < 50*time.Minute || e.RetryAfter > time.Hour {
		t.Errorf("got %#v", err)
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	var bodies atomic.Value
	home := serving(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies.Store(r.Method + string(body))
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, recorded)
	})
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := answering(t, status, "", "", "Location", home.URL+"/moved/steps")
		bodies.Store("")
		_, err := send(t, server.URL)
		if status == 307 || status == 308 {
			if err != nil || bodies.Load() != `POST[{"a":1}]` {
				t.Errorf("%d: %v, sent %v", status, err, bodies.Load())
			}
			continue
		}
		var e *client.Error
		if !errors.As(err, &e) || e.Final() || !strings.Contains(e.Reason, home.URL+"/moved/steps") || bodies.Load() != "" {
			t.Errorf("%d: %v, sent %v", status, err, bodies.Load())
		}
	}
}

func TestRedirectLoopEnds(t *testing.T) {
	t.Parallel()
	server := answering(t, 307, "", "", "Location", "/steps")
	_, err := send(t, server.URL)
	var e *client.Error
	if !errors.As(err, &e) || e.Status != 307 {
		t.Errorf("got %v", err)
	}
}

func TestSendTimesOut(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	server := serving(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	c := newClient(t, server.URL, client.Options{Timeout: 50 * time.Millisecond})
	if _, err := c.Send(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "no answer within 50ms") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the pod ends"))
	if _, err := c.Send(ctx, nil); err == nil || !strings.Contains(err.Error(), "the pod ends") {
		t.Errorf("got %v", err)
	}
}

func TestSendNobodyThere(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(nil)
	server.Close()
	_, err := send(t, server.URL)
	var e *client.Error
	if err == nil || errors.As(err, &e) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
}

// An answer may be as large as it likes; what is read of it is bounded.
func TestEndlessAnswer(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 400} {
		server := serving(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		})
		if _, err := send(t, server.URL); err == nil {
			t.Error("it was taken for an answer")
		}
	}
}

// A kept connection that the receiver closed meanwhile costs nothing.
func TestStaleConnection(t *testing.T) {
	t.Parallel()
	server := answering(t, 200, "application/json", recorded)
	c := newClient(t, server.URL, client.Options{})
	for range 3 {
		if _, err := c.Send(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		server.CloseClientConnections()
	}
}

func TestProxyOnlyByOption(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	proxy := answering(t, 200, "application/json", recorded)
	if _, err := send(t, "http://receiver.invalid"); err == nil || strings.Contains(err.Error(), "127.0.0.1:1:") {
		t.Errorf("the environment's proxy was used: %v", err)
	}
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, "http://receiver.invalid", client.Options{Proxy: u})
	if _, err := c.Send(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

func TestTargetHidesThePassword(t *testing.T) {
	t.Parallel()
	c := newClient(t, "http://user:secret@receiver", client.Options{})
	if got := c.Target(); strings.Contains(got, "secret") || !strings.Contains(got, "receiver/steps") {
		t.Errorf("target %s", got)
	}
}
