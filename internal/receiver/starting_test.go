package receiver_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"ci-jobs-metrics/internal/logtest"
	"ci-jobs-metrics/internal/receiver"
)

// A slowStart is a receiver that listens and has not begun to open its ledger.
type slowStart struct {
	address  string
	opens    func() // lets it go on
	cancel   func() // what a signal does
	receiver chan *receiver.Receiver
	err      chan error
}

var listening = regexp.MustCompile(`msg="Listening on" address=(\S+)`)

// startSlowly starts a receiver whose clock stands still until it is told to go on: it is
// asked for the time before the ledger is opened.
func startSlowly(t *testing.T, o receiver.Options) *slowStart {
	t.Helper()
	var log logtest.Buffer
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	gate := make(chan struct{})
	o.Now = func() time.Time {
		<-gate
		return time.Now()
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &slowStart{opens: sync.OnceFunc(func() { close(gate) }), cancel: cancel,
		receiver: make(chan *receiver.Receiver, 1), err: make(chan error, 1)}
	go func() {
		r, err := receiver.New(ctx, o)
		s.receiver <- r
		s.err <- err
	}()
	t.Cleanup(func() {
		s.opens()
		if r := <-s.receiver; r != nil {
			if err := r.Stop(context.Background()); err != nil {
				t.Errorf("Stop: %v", err)
			}
		}
		cancel()
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if found := listening.FindStringSubmatch(log.String()); found != nil {
			s.address = found[1]
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not listen:\n%s", log.String())
		}
	}
}

// opened waits for the end of the start.
func (s *slowStart) opened(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.err:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the start does not end")
		return nil
	}
}

// ask sends a request and returns what is answered.
func ask(t *testing.T, client *http.Client, method, url, contentType, body string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(answer)
}

// While it opens the ledger it is alive, and everything else is to be asked again.
func TestStarting(t *testing.T) {
	t.Parallel()
	s := startSlowly(t, options(ledgerPath(t), "127.0.0.1:0"))
	client := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	const job = `{"name":"n","project":"p","status":"success"}`
	questions := []struct {
		method, path, contentType, body string
		then                            int // its status when the ledger is open
	}{
		{"GET", "/-/ready", "", "", 200},
		{"HEAD", "/-/ready", "", "", 200},
		{"GET", "/metrics", "", "", 200},
		{"GET", "/metrics/self", "", "", 200},
		{"GET", "/jobs?id=1", "", "", 404},
		{"GET", "/steps?name=n&project=p&status=success", "", "", 200},
		{"POST", "/steps", "application/json", job, 200},
		{"POST", "/-/healthy", "", "", 405},
		{"GET", "/", "", "", 200},
		{"GET", "/nothing", "", "", 404},
	}
	if response, _ := ask(t, client, "GET", "http://"+s.address+"/-/healthy", "", ""); response.StatusCode != 200 {
		t.Errorf("healthy: %s", response.Status)
	}
	for _, q := range questions {
		response, body := ask(t, client, q.method, "http://"+s.address+q.path, q.contentType, q.body)
		if response.StatusCode != 503 || response.Header.Get("Retry-After") != "1" || response.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s: %s, %v", q.method, q.path, response.Status, response.Header)
		}
		if q.method != "HEAD" && !strings.Contains(body, "starting") {
			t.Errorf("%s %s: %s", q.method, q.path, body)
		}
		if got := response.Header.Get("Content-Type"); strings.HasPrefix(q.path, "/steps") && got != "application/problem+json" {
			t.Errorf("%s %s: %s", q.method, q.path, got)
		}
	}

	s.opens()
	if err := s.opened(t); err != nil {
		t.Fatal(err)
	}
	for _, q := range questions { // over the same connection
		if response, body := ask(t, client, q.method, "http://"+s.address+q.path, q.contentType, q.body); response.StatusCode != q.then {
			t.Errorf("%s %s: %s: %s", q.method, q.path, response.Status, body)
		}
	}
	if _, page := ask(t, client, "GET", "http://"+s.address+"/metrics", "", ""); !strings.Contains(page, `ci_n_total{project="p",status="success"} 2`+"\n") ||
		!strings.Contains(page, `cijob_receiver_requests_refused_total{reason="starting"} 2`+"\n") {
		t.Errorf("the jobs of before count, or were not refused:\n%s", page)
	}
}

// A ledger that can't be opened ends the start with its error, and connections with it.
func TestStartFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		ledger string
		fail   func(*slowStart)
		want   func(error) bool
	}{
		"no directory": {"/no/such/ledger.db", func(s *slowStart) { s.opens() },
			func(err error) bool { return strings.Contains(err.Error(), "create it") }},
		"told to stop": {ledgerPath(t), func(s *slowStart) { s.cancel(); s.opens() },
			func(err error) bool { return errors.Is(err, context.Canceled) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSlowly(t, options(test.ledger, "127.0.0.1:0"))
			client := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
			defer client.CloseIdleConnections()
			if response, _ := ask(t, client, "GET", "http://"+s.address+"/-/healthy", "", ""); response.StatusCode != 200 {
				t.Errorf("healthy: %s", response.Status)
			}
			var open [2]net.Conn // one that has said nothing yet, one that never ends
			for i := range open {
				c, err := net.Dial("tcp", s.address)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
					t.Fatal(err)
				}
				open[i] = c
			}
			fmt.Fprint(open[1], "POST /steps HTTP/1.1\r\nHost: x\r\nContent-Le")
			begun := time.Now()
			test.fail(s)
			if err := s.opened(t); err == nil || !test.want(err) {
				t.Errorf("New: %v", err)
			}
			if took := time.Since(begun); took > 4*time.Second {
				t.Errorf("it took %v", took)
			}
			for _, c := range open {
				var e net.Error
				if answer, err := io.ReadAll(c); len(answer) > 0 || errors.As(err, &e) && e.Timeout() {
					t.Errorf("a connection is left open: %q, %v", answer, err)
				}
			}
			l, err := net.Listen("tcp", s.address)
			if err != nil {
				t.Fatalf("the port is not free: %v", err)
			}
			l.Close()
		})
	}
}

// What --web.config.file asks for holds from the first answer on.
func TestStartingOverTLS(t *testing.T) {
	t.Parallel()
	model := httptest.NewTLSServer(nil) // has a certificate and a client that trusts it
	defer model.Close()
	certificate := model.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "web.yml")
	for path, content := range map[string][]byte{
		config + ".crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}),
		config + ".key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		config: []byte("tls_server_config: {cert_file: web.yml.crt, key_file: web.yml.key}\n" +
			"http_server_config: {headers: {X-Frame-Options: deny}}\n"),
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := options(ledgerPath(t), "127.0.0.1:0")
	o.Web.WebConfigFile = &config
	s := startSlowly(t, o)
	want := func(status int) {
		t.Helper()
		response, body := ask(t, model.Client(), "GET", "https://"+s.address+"/-/ready", "", "")
		if response.StatusCode != status || response.Header.Get("X-Frame-Options") != "deny" || response.ProtoMajor != 1 {
			t.Errorf("%s %s, %v: %s", response.Proto, response.Status, response.Header, body)
		}
	}
	want(503)
	s.opens()
	if err := s.opened(t); err != nil {
		t.Fatal(err)
	}
	want(200)
	model.Client().CloseIdleConnections()
}
