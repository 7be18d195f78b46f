package main_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ci-jobs-metrics/internal/logtest"
	"ci-jobs-metrics/internal/steps/stepstest"
)

// program is the real one, built once.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "exporter")
	if err != nil {
		panic(err)
	}
	_ = os.Chmod(dir, 0o755) // some tests run it as another user
	program = filepath.Join(dir, "exporter")
	if out, err := exec.Command("../../scripts/build", dir, "exporter").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

const (
	patience = 15 * time.Second // how long something that must come is waited for
	build    = "gitlab.example/77/build"
)

// jobEnv is the environment of a job's service container, which is all it has.
func jobEnv(more ...string) []string {
	return append([]string{
		"CI_SERVER_HOST=gitlab.example", "CI_JOB_ID=77", "CI_JOB_NAME=build", "CI_PROJECT_PATH=group/app",
		"CI_JOB_STARTED_AT=" + time.Now().Add(-time.Minute).UTC().Format(time.RFC3339), "HOSTNAME=pod",
	}, more...)
}

// A process is a running exporter.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  logtest.Buffer
	done chan struct{} // closed when it has ended
}

// start runs the program in the environment.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	return startCommand(t, env, exec.Command(program, args...))
}

func startCommand(t *testing.T, env []string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, done: make(chan struct{})}
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &p.log, &p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.done
	})
	return p
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) ends(code int) {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("did not end\n%s", p.log.String())
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("exit code %d, want %d\n%s", got, code, p.log.String())
	}
}

// term is what happens to the pod.
func (p *process) term(code int) {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	p.ends(code)
}

func (p *process) running() {
	p.t.Helper()
	select {
	case <-p.done:
		p.t.Fatalf("ended by itself\n%s", p.log.String())
	case <-time.After(50 * time.Millisecond):
	}
}

func (p *process) logs(want string) {
	p.t.Helper()
	p.until(func() bool { return strings.Contains(p.log.String(), want) }, "log "+want)
}

func (p *process) until(ok func() bool, what string) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(3 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("never: %s\n%s", what, p.log.String())
		}
	}
}

// A pod is a directory, a receiver and an exporter between them.
type pod struct {
	*process
	dir  string
	path string
	to   *stepstest.Receiver
}

// newPod starts an exporter that waits for m/metrics.json.
func newPod(t *testing.T, env []string, args ...string) *pod {
	t.Helper()
	p := &pod{dir: t.TempDir(), to: stepstest.New(t)}
	p.path = filepath.Join(p.dir, "m", "metrics.json")
	p.process = start(t, env, append([]string{p.path, p.to.URL}, args...)...)
	p.logs("waiting")
	return p
}

func (p *pod) do(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *pod) mkdir() { p.t.Helper(); p.do(os.MkdirAll(filepath.Dir(p.path), 0o755)) }

func (p *pod) write(text string) {
	p.t.Helper()
	p.mkdir()
	p.do(os.WriteFile(p.path, []byte(text), 0o644))
}

func (p *pod) append(text string) {
	p.t.Helper()
	f, err := os.OpenFile(p.path, os.O_APPEND|os.O_WRONLY, 0)
	p.do(err)
	_, err = io.WriteString(f, text)
	p.do(err)
	p.do(f.Close())
}

// sent waits until exactly these ids have arrived.
func (p *pod) sent(ids ...string) {
	p.t.Helper()
	want := strings.Join(ids, " ")
	p.until(func() bool { return p.to.IDs() == want }, "sent "+want)
}

func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}
