package ledger_test

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"ci-jobs-metrics/test/internal/harness"
)

// tail gives the service's ledger jobs that no checkpoint has, as many as take seconds to
// fold.
func tail(t *testing.T, receiver *harness.Receiver, jobs int) {
	t.Helper()
	receiver.Start(t)
	receiver.Stop(t)
	db := harness.OpenDatabase(t, receiver.Ledger)
	defer db.Close()
	if _, err := db.Exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		INSERT INTO jobs (seq, received, name, project, status, finished, duration, id)
		SELECT i, i, 'n', 'p' || i % 1000, 'success', i, i, 'job ' || i FROM n`, jobs); err != nil {
		t.Fatal(err)
	}
}

// A receiver that folds a long tail is alive and not ready; a signal ends it, and takes
// nothing away.
func TestStartingReceiver(t *testing.T) {
	t.Parallel()
	const jobs = 400_000
	receiver := harness.NewReceiver(t)
	tail(t, receiver, jobs)
	for _, signalled := range []bool{true, false} {
		from := len(receiver.Log.String())
		receiver.Launch(t, exec.Command(receiver.Arguments()[0], receiver.Arguments()[1:]...))
		receiver.WaitListening(t)
		for _, path := range []string{"/-/ready", "/metrics", "/steps?name=n&project=p&status=success"} {
			if status, retryAfter := receiver.Status(t, path); status != http.StatusServiceUnavailable || retryAfter == "" {
				t.Errorf("%s: %d, Retry-After %q", path, status, retryAfter)
			}
		}
		if log := receiver.Log.String()[from:]; !strings.Contains(log, "Opening the ledger") || strings.Contains(log, "Opened") {
			t.Fatalf("it does not start slowly\n%s", log)
		}
		if !signalled {
			break
		}
		begun := time.Now()
		if err := receiver.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		code := receiver.WaitExit(t)
		if took := time.Since(begun); code != 0 || took > 5*time.Second {
			t.Errorf("exit code %d after %v\n%s", code, took, receiver.LogExcerpt())
		}
		if log := receiver.Log.String()[from:]; !strings.Contains(log, "Stopped while it was starting") || strings.Contains(log, "Opened") {
			t.Errorf("it does not say that it was stopped\n%s", log)
		}
	}
	if err := receiver.WaitReady(); err != nil {
		t.Fatalf("%v\n%s", err, receiver.LogExcerpt())
	}
	page, err := harness.Fetch(receiver.URL("/metrics/jobs"))
	if err != nil {
		t.Fatal(err)
	}
	if line := fmt.Sprintf("\ncijob_duration_seconds_count{template=\"n\",status=\"success\"} %d\n", jobs); !strings.Contains(page, line) {
		t.Errorf("/metrics lacks %s", line)
	}
	receiver.Stop(t)
}
