package receiver_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
	"go.uber.org/goleak"

	"ci-jobs-metrics/internal/exposition/expositiontest"
	"ci-jobs-metrics/internal/receiver"
	"ci-jobs-metrics/internal/totals"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func options(ledger, address string) receiver.Options {
	noConfig := ""
	return receiver.Options{
		Web:       &web.FlagConfig{WebListenAddresses: &[]string{address}, WebConfigFile: &noConfig, WebSystemdSocket: new(bool)},
		Ledger:    "sqlite:" + ledger,
		Retention: 24 * time.Hour,
		Totals:    totals.Settings{Bounds: []float64{60, 120}},
		Logger:    slog.New(slog.DiscardHandler),
	}
}

// A running is a receiver that serves, and how to ask it.
type running struct {
	*receiver.Receiver
	url    string
	client *http.Client
	served chan error
}

func start(t *testing.T, o receiver.Options) *running {
	t.Helper()
	r, err := receiver.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	u := &running{Receiver: r, url: "http://" + r.Addresses()[0].String(), served: make(chan error, 1),
		client: &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}}
	go func() { u.served <- r.Serve() }()
	t.Cleanup(func() { u.stop(t) })
	return u
}

func (r *running) stop(t *testing.T) {
	t.Helper()
	r.client.CloseIdleConnections()
	if err := r.Stop(context.Background()); err != nil {
		t.Errorf("Stop: %v", err)
	}
	select {
	case err := <-r.served:
		if err != nil {
			t.Errorf("Serve: %v", err)
		}
		r.served <- nil
	case <-time.After(10 * time.Second):
		t.Error("Serve did not return")
	}
}

func (r *running) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	response, err := r.client.Get(r.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(b)
}

func (r *running) want(t *testing.T, path string, status int, content ...string) {
	t.Helper()
	got, body := r.get(t, path)
	if got != status {
		t.Errorf("%s: %d: %s", path, got, body)
	}
	for _, c := range content {
		if !strings.Contains(body, c) {
			t.Errorf("%s has no %q:\n%s", path, c, body)
		}
	}
}

func ledgerPath(t *testing.T) string { return filepath.Join(t.TempDir(), "ledger.db") }

func TestService(t *testing.T) {
	r := start(t, options(ledgerPath(t), "127.0.0.1:0"))
	job := "/steps?" + url.Values{"name": {"build"}, "project": {"p"}, "status": {"unknown"}, "id": {"1"}, "duration": {"90"}}.Encode()
	r.want(t, job, 200, `"recorded":1`)
	r.want(t, job, 200, `"recorded":0,"duplicates":1`)
	r.want(t, strings.Replace(job, "unknown", "failed", 1), 200, `"duplicates":1`)
	r.want(t, "/steps?name=build", 400, "project")
	r.want(t, "/steps?name=%zz", 400, "escape")
	const counted, timed = `ci_build_total{project="p",status="unknown"} 1`, `ci_build_duration_bucket{status="unknown",le="120"} 1`
	r.want(t, "/metrics", 200, counted, timed, `cijob_runs_total{template="build",project="p",status="unknown"} 1`,
		"cijob_receiver_build_info", "go_goroutines", "process_")
	const origin = "cijob_ledger_created_timestamp_seconds "
	r.want(t, "/metrics", 200, "\n"+origin)
	r.want(t, "/metrics/jobs", 200, counted, timed, "\n"+origin)
	r.want(t, "/metrics/self", 200,
		"cijob_receiver_jobs_recorded_total 1\n",
		"cijob_receiver_jobs_duplicate_total 2\n",
		"cijob_receiver_jobs_late_total 1\n",
		`cijob_receiver_problems_rejected_total{reason="missing"} 2`+"\n",
		`cijob_receiver_problems_warned_total{reason="unknown_status"} 0`+"\n",
		`cijob_receiver_requests_refused_total{reason="queue_full"} 0`+"\n",
		`cijob_receiver_requests_refused_total{reason="malformed"} 1`+"\n",
		"cijob_receiver_commit_duration_seconds_count 3\n",
		"cijob_receiver_commit_failures_total 0\n",
		"cijob_receiver_queue_jobs 0\n",
		"cijob_receiver_queue_capacity_jobs 20000\n",
		"cijob_receiver_label_sets 1\n",
		"cijob_receiver_last_job_timestamp_seconds ",
		"cijob_receiver_ledger_created_timestamp_seconds ",
	)
	if _, body := r.get(t, "/metrics/jobs"); strings.Contains(body, "go_") || strings.Contains(body, "cijob_receiver") {
		t.Errorf("/metrics/jobs has more than jobs and which ledger they are in:\n%s", body)
	}
	if _, body := r.get(t, "/metrics/self"); strings.Contains(body, "ci_build") || strings.Contains(body, "cijob_runs") || strings.Contains(body, "\n"+origin) {
		t.Errorf("/metrics/self has jobs:\n%s", body)
	}
	r.want(t, "/-/healthy", 200)
	r.want(t, "/-/ready", 200)
	r.want(t, "/", 200, "/metrics/self", "/jobs?id=ID")
	r.want(t, "/favicon.ico", 404)
}

// Both formats of everything are sound, the receiver's own metrics included.
func TestSoundDocuments(t *testing.T) {
	r := start(t, options(ledgerPath(t), "127.0.0.1:0"))
	for _, name := range []string{"x", "x_duration", "x_duration_total", "ünï", "go_memstats_alloc_bytes"} {
		r.want(t, "/steps?"+url.Values{"name": {name}, "project": {`q"\`}, "status": {"success"}, "duration": {"1"}}.Encode(), 200)
	}
	for _, accept := range []string{"text/plain", "application/openmetrics-text; version=1.0.0"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", accept)
		response, err := r.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := expositiontest.Parse(response.Header.Get("Content-Type"), body); err != nil {
			t.Errorf("%s: %v\n%s", accept, err, body)
		}
	}
}

// What was acknowledged while it was told to stop is there after a restart.
func TestStopLosesNothing(t *testing.T) {
	path := ledgerPath(t)
	r := start(t, options(path, "127.0.0.1:0"))
	var senders sync.WaitGroup
	var mu sync.Mutex
	acknowledged := 0
	for s := range 8 {
		senders.Go(func() {
			for i := 0; ; i++ {
				response, err := r.client.Get(fmt.Sprintf("%s/steps?name=n&project=p&status=success&id=%d/%d", r.url, s, i))
				if err != nil {
					return // it has stopped
				}
				response.Body.Close()
				if response.StatusCode == http.StatusOK {
					mu.Lock()
					acknowledged++
					mu.Unlock()
				}
			}
		})
	}
	time.Sleep(300 * time.Millisecond)
	r.stop(t)
	senders.Wait()
	if acknowledged == 0 {
		t.Fatal("nothing was recorded")
	}
	again := start(t, options(path, "127.0.0.1:0"))
	again.want(t, "/metrics", 200, fmt.Sprintf("ci_n_total{project=\"p\",status=\"success\"} %d\n", acknowledged))
}

// Every mistake at the start gets an error that says what to do.
func TestRefusedStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	used := ledgerPath(t)
	start(t, options(used, "127.0.0.1:0"))
	missing := "/no/such/web.yml"
	withConfig := options(ledgerPath(t), "127.0.0.1:0")
	withConfig.Web.WebConfigFile = &missing
	withStore := options("", "127.0.0.1:0")
	withStore.Ledger = "mysql://x"
	for name, test := range map[string]struct {
		options receiver.Options
		want    string
	}{
		"port taken":       {options(ledgerPath(t), taken.Addr().String()), "--web.listen-address=:8080"},
		"no such host":     {options(ledgerPath(t), "192.0.2.1:0"), "--web.listen-address=:8080"},
		"ledger used":      {options(used, "127.0.0.1:0"), "another receiver"},
		"no directory":     {options("/no/such/ledger.db", "127.0.0.1:0"), "create it"},
		"unknown store":    {withStore, "sqlite:PATH"},
		"no web.config":    {withConfig, "--web.config.file"},
		"ledger directory": {options(t.TempDir(), "127.0.0.1:0"), "not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := receiver.New(t.Context(), test.options)
			if err == nil {
				_ = r.Stop(t.Context())
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v\nwant something with: %s", err, test.want)
			}
		})
	}
}
