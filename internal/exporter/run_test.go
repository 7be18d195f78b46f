package exporter_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"ci-jobs-metrics/internal/exporter"
)

func TestSendsWhatIsWritten(t *testing.T) {
	t.Parallel()
	s := newSidecar(t, recent())
	s.run()
	s.logged("waiting")
	s.write(`{"status":"failed"}`)
	s.to.has(t, build)
	s.write("{\"status\":\"failed\"}\n{\"status\":\"success\"}\n")
	s.to.has(t, build, build+"~1")
	s.write(`{"name":"other"}`)
	s.to.has(t, build, build+"~1", "gitlab.example/77/other")
	s.logged("id=gitlab.example/77/other")
	s.term()
	s.ends(nil)
	if n := strings.Count(s.log.String(), "\n"); n != 4 {
		t.Errorf("%d lines for a start and three deliveries: %s", n, s.log.String())
	}
}

func TestHalfWrittenIsAwaited(t *testing.T) {
	t.Parallel()
	s := newSidecar(t, recent())
	s.run()
	s.write(`{"name":"a"}` + "\n" + `{"status":"fai`)
	s.to.has(t, "gitlab.example/77/a")
	s.write(`{"name":"a"}` + "\n" + `{"status":"failed"}`)
	s.to.has(t, "gitlab.example/77/a", build)
	if strings.Contains(s.log.String(), "ERROR") {
		t.Errorf("log: %s", s.log.String())
	}
}

func TestFaultIsLoggedOnceAndTheRestSent(t *testing.T) {
	t.Parallel()
	s := newSidecar(t, recent())
	s.run()
	s.write("{\"name\":\"a\"b\"}\n{\"name\":\"c\"}\n")
	s.to.has(t, "gitlab.example/77/c")
	s.write("{\"name\":\"a\"b\"}\n{\"name\":\"c\"}\n{\"name\":\"d\"}\n")
	s.to.has(t, "gitlab.example/77/c", "gitlab.example/77/d")
	if n := strings.Count(s.log.String(), "line 1"); n != 1 {
		t.Errorf("logged %d times: %s", n, s.log.String())
	}
}

func TestRetriedUntilDelivered(t *testing.T) {
	t.Parallel()
	s := newSidecar(t, recent())
	s.to.Set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	s.run()
	s.write(`{}`)
	s.logged("not delivered yet")
	s.write(`{}{"name":"late"}`)
	s.to.Set(nil)
	s.to.has(t, build, "gitlab.example/77/late")
}

// The pod is told to stop while the receiver is down: what is pending gets its
// last attempts, and what is written then is sent too.
func TestTermWhileTheReceiverIsDown(t *testing.T) {
	t.Parallel()
	s := newSidecar(t, recent())
	s.to.Set(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(429)
	})
	s.options.ShutdownTimeout = patience
	s.run()
	s.write(`{}`)
	s.logged("not delivered yet")
	s.to.Set(nil)
	s.term()
	s.to.has(t, build) // in spite of Retry-After
	s.ends(nil)
}

func TestTermLosesWhatCannotBeDelivered(t *testing.T) {
	t.Parallel()
	s := newSidecar(t, recent())
	s.to.Set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	s.options.ShutdownTimeout = 100 * time.Millisecond
	s.run()
	s.write(`{}`)
	s.logged("not delivered yet")
	s.term()
	s.ends(exporter.ErrUndelivered)
	s.logged("lost")
	s.logged(build)
}

// The answer is under way when the pod is told to stop.
func TestTermWhileAwaitingTheAnswer(t *testing.T) {
	t.Parallel()
	s := newSidecar(t, recent())
	release := make(chan struct{})
	s.to.Set(func(w http.ResponseWriter, _ *http.Request) {
		<-release
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"recorded":1,"duplicates":0}`)
	})
	s.run()
	s.write(`{}`)
	s.to.asked(t)
	s.term()
	time.Sleep(20 * time.Millisecond) // so that it doesn't end only because of what follows
	close(release)
	s.ends(nil)
}

func TestTermWithAnHangingReceiver(t *testing.T) {
	t.Parallel()
	s := newSidecar(t, recent())
	release := make(chan struct{})
	defer close(release)
	s.to.Set(func(http.ResponseWriter, *http.Request) { <-release })
	s.options.ShutdownTimeout = 100 * time.Millisecond
	s.run()
	s.write(`{}`)
	s.to.asked(t)
	s.term()
	s.ends(exporter.ErrUndelivered)
}

// What writes the file is told to stop at the same time.
func TestTermBeforeTheFile(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(s *sidecar){
		"written after":   func(s *sidecar) { s.write(`{}`) },
		"completed after": func(s *sidecar) { s.write(`{"a":`); s.write(`{"name":"build"}`) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSidecar(t, recent().with("CI_METRICS_NAME", "build"))
			s.run()
			s.logged("waiting")
			s.term()
			write(s)
			s.ends(nil)
			s.to.has(t, build)
		})
	}
}

func TestMissingFileIsReported(t *testing.T) {
	t.Parallel()
	optedIn := recent().with("CI_METRICS_NAME", "dotnet_build")
	for name, c := range map[string]struct {
		env    environ
		always bool
		text   string
		want   []string
		err    error
	}{
		"opted in":             {optedIn, false, "", []string{"gitlab.example/77/dotnet_build"}, nil},
		"by flag":              {recent(), true, "", []string{build}, nil},
		"not opted in":         {recent(), false, "", nil, nil},
		"variable":             {recent().with("CI_METRICS_NAME", "$CI_JOB_NAME"), false, "", nil, nil},
		"no project":           {bare, true, "", nil, nil},
		"half-written":         {optedIn, false, `{"status":`, []string{"gitlab.example/77/dotnet_build"}, exporter.ErrUnread},
		"empty":                {optedIn, false, "\n", []string{"gitlab.example/77/dotnet_build"}, exporter.ErrUnread},
		"another job's":        {optedIn, false, `{"job_id":1}`, []string{"gitlab.example/77/dotnet_build"}, nil},
		"only half is missing": {optedIn, false, `{}{"a":`, []string{"gitlab.example/77/dotnet_build"}, exporter.ErrUnread},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSidecar(t, c.env)
			s.options.ReportMissing = c.always
			if c.text != "" {
				s.write(c.text)
			}
			s.run()
			s.logged("waiting")
			s.term()
			s.ends(c.err)
			s.to.has(t, c.want...)
		})
	}
}

func TestTermAfterDeliveryEndsAtOnce(t *testing.T) {
	t.Parallel()
	s := newSidecar(t, recent())
	s.options.ShutdownTimeout = time.Hour
	s.run()
	s.write(`{}`)
	s.logged("delivered")
	s.term()
	s.ends(nil)
}

// A file that is emptied after it was sent loses nothing.
func TestEmptiedAfterDelivery(t *testing.T) {
	t.Parallel()
	s := newSidecar(t, recent())
	s.run()
	s.write(`{}`)
	s.logged("delivered")
	s.write("")
	s.term()
	s.ends(nil)
}

func TestRunNeverEndsByItself(t *testing.T) {
	t.Parallel()
	s := newSidecar(t, recent())
	s.run()
	s.write(`{}`)
	s.logged("delivered")
	if err := os.Remove(s.path); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-s.done:
		t.Errorf("ended with %v", err)
	case <-time.After(50 * time.Millisecond):
	}
}

func TestOnce(t *testing.T) {
	t.Parallel()
	down := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }
	refusing := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400) }
	for name, c := range map[string]struct {
		text   string
		answer http.HandlerFunc
		want   []string
		err    error
	}{
		"delivered":    {`{}{"name":"b"}`, nil, []string{build, "gitlab.example/77/b"}, nil},
		"no file":      {"", nil, nil, exporter.ErrNothing},
		"no job":       {"[]", nil, nil, exporter.ErrNothing},
		"another's":    {`{"job_id":1}`, nil, nil, exporter.ErrNothing},
		"half":         {`{}{`, nil, []string{build}, exporter.ErrUnread},
		"partly wrong": {"{x\n{}", nil, []string{build}, exporter.ErrRejected},
		"down":         {`{}`, down, nil, exporter.ErrUndelivered},
		"refused":      {`{}`, refusing, nil, exporter.ErrRejected},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSidecar(t, recent())
			s.options.ShutdownTimeout = 200 * time.Millisecond
			if c.answer == nil { // then nothing is waited for in vain
				s.options.ShutdownTimeout = patience
			}
			s.to.Set(c.answer)
			if c.text != "" {
				s.write(c.text)
			}
			if err := exporter.Once(context.Background(), s.options); !errors.Is(err, c.err) {
				t.Errorf("error %v, want %v\n%s", err, c.err, s.log.String())
			}
			s.to.has(t, c.want...)
		})
	}
	t.Run("unreadable", func(t *testing.T) {
		t.Parallel()
		s := newSidecar(t, recent())
		if err := os.Mkdir(s.path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := exporter.Once(context.Background(), s.options); !errors.Is(err, exporter.ErrUnread) {
			t.Errorf("error %v", err)
		}
	})
}

// Polling is another way to the same end.
func TestRunPolling(t *testing.T) {
	t.Parallel()
	s := newSidecar(t, recent())
	s.options.Poll = true
	s.run()
	s.logged("waiting")
	s.write(`{}`)
	s.to.has(t, build)
	s.term()
	s.write(`{}{"name":"late"}`)
	s.ends(nil)
}
