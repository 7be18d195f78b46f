package exporter_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ci-jobs-metrics/internal/exporter"
	"ci-jobs-metrics/internal/logtest"
	"ci-jobs-metrics/internal/steps/client"
	"ci-jobs-metrics/internal/steps/stepstest"
)

const patience = 30 * time.Second // how long something that must come is waited for

// A receiver is waited for.
type receiver struct{ *stepstest.Receiver }

// has waits until jobs with these ids were sent, and no others.
func (r receiver) has(t *testing.T, ids ...string) {
	t.Helper()
	want := strings.Join(ids, " ")
	eventually(t, func() bool { return r.IDs() == want },
		func() string { return "ids " + r.IDs() + ", want " + want })
}

func (r receiver) asked(t *testing.T) {
	t.Helper()
	eventually(t, func() bool { return len(r.Requests()) > 0 }, func() string { return "no request" })
}

func eventually(t *testing.T, ok func() bool, otherwise func() string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(otherwise())
		}
	}
}

// A sidecar is an exporter that runs in the test.
type sidecar struct {
	t       *testing.T
	path    string
	to      receiver
	log     logtest.Buffer
	options exporter.Options
	term    context.CancelFunc // the pod's SIGTERM
	done    chan error
}

func newSidecar(t *testing.T, env environ) *sidecar {
	s := &sidecar{t: t, to: receiver{stepstest.New(t)}, path: filepath.Join(t.TempDir(), "metrics.json"), done: make(chan error, 1)}
	c, err := client.New(s.to.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	s.options = exporter.Options{
		Path: s.path, Send: c.Send, Receiver: c.Target(), Environ: env.lookup,
		Log:     slog.New(slog.NewTextHandler(&s.log, nil)),
		Backoff: func(int) time.Duration { return 5 * time.Millisecond },
	}
	return s
}

func (s *sidecar) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.done <- exporter.Run(ctx, s.options)
	}()
	s.term = cancel
	s.t.Cleanup(func() {
		cancel()
		<-ended
	})
}

func (s *sidecar) write(text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// ends waits for the end and compares its error.
func (s *sidecar) ends(want error) {
	s.t.Helper()
	select {
	case err := <-s.done:
		if !errors.Is(err, want) {
			s.t.Errorf("ended with %v, want %v\n%s", err, want, s.log.String())
		}
	case <-time.After(patience):
		s.t.Fatalf("did not end\n%s", s.log.String())
	}
}

func (s *sidecar) logged(want string) {
	s.t.Helper()
	eventually(s.t, func() bool { return strings.Contains(s.log.String(), want) },
		func() string { return "no " + want + " in the log: " + s.log.String() })
}

const build = "gitlab.example/77/build"

// recent is a GitLab job that started just now, as those that write files do.
func recent() environ {
	return gitlab.with("CI_JOB_STARTED_AT", time.Now().Add(-time.Minute).UTC().Format(time.RFC3339))
}
