package exporter_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ci-jobs-metrics/internal/logtest"
	"ci-jobs-metrics/test/internal/harness"
)

// reportJob is what the README's after_script does.
const reportJob = `mkdir -p "$DIR"
echo '{"job_id":"'"$CI_JOB_ID"'","name":"'"$CI_JOB_NAME"'","status":"'"$CI_JOB_STATUS"'"}' > "$DIR/metrics.json.new"
mv "$DIR/metrics.json.new" "$DIR/metrics.json"
`

// An ending is one way in which a job ends, and what happens to its pod then.
type ending struct {
	name   string
	script string // CI_JOB_STATUS in the after_script; empty: it doesn't run
	late   bool   // it runs only after SIGTERM
	before time.Duration
	kill   time.Duration // after SIGTERM; 0: when it likes
	noTerm bool          // docker: no SIGTERM, SIGKILL at once
	status string        // that is recorded
	silent bool          // the job did not opt in, and is not recorded if nobody says how it ended
}

// Every way in which a job of GitLab ends, with the time that pods have: the DELETE
// comes 0.6 s after the after_script wrote its file.
func TestEveryEndOfAJobIsCounted(t *testing.T) {
	t.Parallel()
	receiver := harness.NewReceiver(t)
	receiver.Start(t)
	endings := []ending{
		{name: "success", script: "success", before: 600 * time.Millisecond, status: "success"},
		{name: "script_failed", script: "failed", before: 600 * time.Millisecond, status: "failed"},
		{name: "cancelled_in_the_ui", script: "canceled", before: 600 * time.Millisecond, status: "canceled"},
		{name: "script_timeout", script: "timedout", before: 600 * time.Millisecond, status: "timedout"},
		{name: "old_runner_says_running", script: "running", before: 600 * time.Millisecond, status: "unknown"},
		{name: "job_timeout", status: "unknown"},
		{name: "forced_cancel", status: "unknown"},
		{name: "download_failed", status: "unknown"},
		{name: "pod_evicted_no_grace", kill: 2 * time.Second, status: "unknown"},
		{name: "evicted_then_after_script", script: "failed", late: true, status: "failed"},
		{name: "grace_period_zero", script: "success", kill: 2 * time.Second, status: "success"},
		{name: "docker_executor", script: "success", before: 600 * time.Millisecond, noTerm: true, status: "success"},
		{name: "not_opted_in_timeout", silent: true},
		{name: "not_opted_in_success", script: "success", silent: true, status: "success"},
	}
	t.Run("endings", func(t *testing.T) {
		for i, e := range endings {
			t.Run(e.name, func(t *testing.T) {
				t.Parallel()
				playEnding(t, receiver, e, i+1)
			})
		}
	})
	page, err := harness.Fetch(receiver.URL("/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	for _, e := range endings {
		got := countsOf(page, e.name)
		fmt.Fprintf(&table, "%-28s %s\n", e.name, got)
		want := ""
		if e.status != "" {
			want = fmt.Sprintf(`{project="group/app",status="%s"} 1`, e.status)
		}
		if got != want {
			t.Errorf("%s: recorded %s, want %s", e.name, got, want)
		}
	}
	t.Logf("how jobs ended:\n%s", table.String())
}

// countsOf is what the metrics say of jobs of a name.
func countsOf(page, name string) string {
	var counts []string
	for line := range strings.Lines(page) {
		if rest, ok := strings.CutPrefix(line, "ci_"+name+"_total"); ok {
			counts = append(counts, strings.TrimSpace(rest))
		}
	}
	return strings.Join(counts, " ")
}

// playEnding plays one job's pod.
func playEnding(t *testing.T, receiver *harness.Receiver, e ending, id int) {
	dir := filepath.Join(t.TempDir(), ".metrics")
	var log logtest.Buffer
	started := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	env := []string{"CI_SERVER_HOST=gitlab.example", fmt.Sprint("CI_JOB_ID=", id), "CI_JOB_NAME=" + e.name,
		"CI_PROJECT_PATH=group/app", "CI_JOB_STARTED_AT=" + started, "PATH=" + os.Getenv("PATH")}
	exporter := exec.Command(harness.Program(t, "exporter"), filepath.Join(dir, "metrics.json"), receiver.Address)
	exporter.Env, exporter.Stderr = slices.Concat(env, []string{"CI_JOB_STATUS=running", "HOSTNAME=pod"}), &log
	if !e.silent {
		exporter.Env = append(exporter.Env, "CI_METRICS_NAME="+e.name)
	}
	if err := exporter.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = exporter.Wait()
		close(ended)
	}()
	defer func() {
		_ = exporter.Process.Kill()
		<-ended
	}()
	if err := harness.Eventually(func() error {
		if !strings.Contains(log.String(), "waiting") {
			return fmt.Errorf("log: %s", &log)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	afterScript := func() {
		script := exec.Command("sh", "-c", reportJob)
		script.Env = slices.Concat(env, []string{"CI_JOB_STATUS=" + e.script, "DIR=" + dir})
		if out, err := script.CombinedOutput(); err != nil {
			t.Fatalf("after_script: %v: %s", err, out)
		}
	}
	if e.script != "" && !e.late {
		afterScript()
	}
	time.Sleep(e.before)
	if !e.noTerm {
		_ = exporter.Process.Signal(syscall.SIGTERM)
	}
	if e.late {
		afterScript()
	}
	if e.noTerm {
		_ = exporter.Process.Kill()
		<-ended
		return
	}
	limit := harness.Patience
	if e.kill > 0 {
		limit = e.kill
	}
	select {
	case <-ended:
		if code := exporter.ProcessState.ExitCode(); code != 0 {
			t.Errorf("exit code %d\n%s", code, &log)
		}
	case <-time.After(limit):
		t.Errorf("it did not end within %v\n%s", limit, &log)
	}
}
