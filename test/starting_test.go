package test

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tail gives the service's ledger jobs that no checkpoint has, as many as take seconds to
// fold.
func tail(t *testing.T, s *service, jobs int) {
	t.Helper()
	s.start(t)
	s.stop(t)
	db := openDatabase(t, s.ledger)
	defer db.Close()
	if _, err := db.Exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		INSERT INTO jobs (seq, received, name, project, status, finished, duration, id)
		SELECT i, i, 'n', 'p' || i % 1000, 'success', i, i, 'job ' || i FROM n`, jobs); err != nil {
		t.Fatal(err)
	}
}

// status asks the service, which listens, for a page.
func (s *service) status(t *testing.T, path string) (status int, retryAfter string) {
	t.Helper()
	response, err := http.Get(s.url(path))
	if err != nil {
		t.Fatalf("%v\n%s", err, s.excerpt())
	}
	response.Body.Close()
	return response.StatusCode, response.Header.Get("Retry-After")
}

// listens waits until the service answers at all.
func (s *service) listens(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if response, err := http.Get(s.url("/-/healthy")); err == nil {
			response.Body.Close()
			if response.StatusCode != http.StatusOK {
				t.Errorf("healthy: %s", response.Status)
			}
			return
		}
	}
	t.Fatalf("it does not listen\n%s", s.excerpt())
}

// A receiver that folds a long tail is alive and not ready; a signal ends it, and takes
// nothing away.
func TestStartingReceiver(t *testing.T) {
	t.Parallel()
	const jobs = 400_000
	s := newService(t)
	tail(t, s, jobs)
	for _, signalled := range []bool{true, false} {
		from := len(s.log.String())
		s.launch(t, exec.Command(s.arguments()[0], s.arguments()[1:]...))
		s.listens(t)
		for _, path := range []string{"/-/ready", "/metrics", "/steps?name=n&project=p&status=success"} {
			if status, retryAfter := s.status(t, path); status != http.StatusServiceUnavailable || retryAfter == "" {
				t.Errorf("%s: %d, Retry-After %q", path, status, retryAfter)
			}
		}
		if log := s.log.String()[from:]; !strings.Contains(log, "Opening the ledger") || strings.Contains(log, "Opened") {
			t.Fatalf("it does not start slowly\n%s", log)
		}
		if !signalled {
			break
		}
		begun := time.Now()
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		code := s.exit(t)
		if took := time.Since(begun); code != 0 || took > 5*time.Second {
			t.Errorf("exit code %d after %v\n%s", code, took, s.excerpt())
		}
		if log := s.log.String()[from:]; !strings.Contains(log, "Stopped while it was starting") || strings.Contains(log, "Opened") {
			t.Errorf("it does not say that it was stopped\n%s", log)
		}
	}
	if err := s.ready(); err != nil {
		t.Fatalf("%v\n%s", err, s.excerpt())
	}
	page, err := fetch(s.url("/metrics/jobs"))
	if err != nil {
		t.Fatal(err)
	}
	if line := fmt.Sprintf("\ncijob_duration_seconds_count{template=\"n\",status=\"success\"} %d\n", jobs); !strings.Contains(page, line) {
		t.Errorf("/metrics lacks %s", line)
	}
	s.stop(t)
}
