package api_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ci-jobs-metrics/internal/api"
	"ci-jobs-metrics/internal/logtest"
	"ci-jobs-metrics/internal/problems"
	"ci-jobs-metrics/internal/query"
)

// unavailable wants the answer that something is to be asked again.
func unavailable(t *testing.T, response *http.Response, body []byte, want string) {
	t.Helper()
	if response.StatusCode != 503 || response.Header.Get("Retry-After") == "" || response.Header.Get("ETag") != "" ||
		response.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(string(body), want) || parse(t, body)["remedy"] == "" {
		t.Errorf("%s %v: %s\nwant %s", response.Status, response.Header, body, want)
	}
}

// A question that takes too long is given up on.
func TestTimeout(t *testing.T) {
	var log logtest.Buffer
	s := serve(t, "UTC", func(o *api.Options) {
		o.Timeout, o.Logger = time.Nanosecond, slog.New(slog.NewTextHandler(&log, nil))
	})
	record(t, s.ledger, jobsOf(10)...)
	for _, question := range everything {
		response, body := s.ask(t, "GET", query.Path+question)
		unavailable(t, response, body, "within 1ns")
	}
	response, body := s.ask(t, "GET", "/api/v1/overview?last=x") // what is wrong stays so
	if response.StatusCode != 400 {
		t.Errorf("%s: %s", response.Status, body)
	}
	if !strings.Contains(log.String(), "query=overview") {
		t.Errorf("the log is %s", log.String())
	}
}

// A blocked question is answered when it is told to be, and counts itself.
type blocked struct {
	release chan struct{}
	running atomic.Int32
	ended   atomic.Int32
}

func (b *blocked) problems(ctx context.Context) ([]problems.Problem, error) {
	b.running.Add(1)
	defer b.ended.Add(1)
	defer b.running.Add(-1)
	select {
	case <-b.release:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

// Half of the processors answer questions; others wait, and what is wrong or known is told
// meanwhile.
func TestSlots(t *testing.T) {
	turns := int32(max(1, runtime.GOMAXPROCS(0)/2))
	b := &blocked{release: make(chan struct{})}
	s := serve(t, "UTC", func(o *api.Options) { o.Problems = b.problems })
	first, _ := s.ask(t, "GET", "/api/v1/overview")
	answers := make(chan int, 100)
	count := int(turns) + 5
	for range count {
		go func() {
			response, _, err := s.send(t.Context(), "GET", "/api/v1/problems")
			if err != nil {
				answers <- 0
				return
			}
			answers <- response.StatusCode
		}()
	}
	eventually(t, "none is computed", func() bool { return b.running.Load() == turns })
	time.Sleep(100 * time.Millisecond)
	if n := b.running.Load(); n != turns {
		t.Errorf("%d questions are computed at a time, want %d", n, turns)
	}
	for path, want := range map[string]int{"overview?last=x": 400, "openapi.json": 200, "x": 404} {
		if response, _ := s.ask(t, "GET", query.Path+path); response.StatusCode != want {
			t.Errorf("%s: %s", path, response.Status)
		}
	}
	if response, _ := s.ask(t, "GET", "/api/v1/overview", "If-None-Match", first.Header.Get("ETag")); response.StatusCode != 304 {
		t.Errorf("what is known: %s", response.Status)
	}
	close(b.release)
	for range count {
		if status := <-answers; status != 200 {
			t.Errorf("%d", status)
		}
	}
}

// Who waits too long for a turn is told so.
func TestNoSlot(t *testing.T) {
	b := &blocked{release: make(chan struct{})}
	s := serve(t, "UTC", func(o *api.Options) {
		o.Timeout = 300 * time.Millisecond
		o.Problems = func(context.Context) ([]problems.Problem, error) { return b.problems(context.Background()) } // it holds its turn
	})
	for range max(1, runtime.GOMAXPROCS(0)/2) {
		go func() { _, _, _ = s.send(context.Background(), "GET", "/api/v1/problems") }()
	}
	eventually(t, "none is computed", func() bool { return b.running.Load() > 0 })
	response, body := s.ask(t, "GET", "/api/v1/overview")
	unavailable(t, response, body, "no free slot")
	close(b.release)
	eventually(t, "its turn never comes", func() bool {
		response, _ := s.ask(t, "GET", "/api/v1/overview")
		return response.StatusCode == 200
	})
}

// A client that hangs up frees its place, whether it waits or is being answered.
func TestHangUp(t *testing.T) {
	b := &blocked{release: make(chan struct{})}
	s := serve(t, "UTC", func(o *api.Options) { o.Problems, o.Timeout = b.problems, time.Minute })
	ctx, hangUp := context.WithCancel(t.Context())
	gone := make(chan error, 100)
	for range 20 {
		go func() {
			_, _, err := s.send(ctx, "GET", "/api/v1/problems")
			gone <- err
		}()
	}
	eventually(t, "none is computed", func() bool { return b.running.Load() > 0 })
	hangUp()
	for range 20 {
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	eventually(t, "it goes on", func() bool { return b.running.Load() == 0 })
	if response, body := s.ask(t, "GET", "/api/v1/overview"); response.StatusCode != 200 {
		t.Errorf("%s: %s", response.Status, body)
	}
	if n := int(b.ended.Load()); n == 20 {
		t.Errorf("all %d were computed, those too that waited when they were broken off", n)
	}
}

// However clients hang up, no turn is lost.
func TestNoSlotIsLost(t *testing.T) {
	turns := int32(max(1, runtime.GOMAXPROCS(0)/2))
	var b atomic.Pointer[blocked]
	b.Store(&blocked{release: make(chan struct{})})
	s := serve(t, "UTC", func(o *api.Options) {
		o.Problems = func(ctx context.Context) ([]problems.Problem, error) { return b.Load().problems(ctx) }
	})
	for range 30 {
		ctx, hangUp := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		for range turns + 3 {
			clients.Go(func() { _, _, _ = s.send(ctx, "GET", "/api/v1/problems") })
		}
		held := b.Load()
		eventually(t, "no turn is left", func() bool { return held.running.Load() == turns })
		b.Store(&blocked{release: make(chan struct{})})
		go hangUp()
		close(held.release)
		clients.Wait()
		eventually(t, "it goes on", func() bool { return held.running.Load() == 0 && b.Load().running.Load() == 0 })
	}
}

// If the ledger can't be read there is no answer, and never an old one.
func TestLedgerGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	var log logtest.Buffer
	s := &service{ledger: openLedger(t, path, "UTC")}
	s.start(t, api.Options{Ledger: s.ledger, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Problems: func(context.Context) ([]problems.Problem, error) { return nil, nil }})
	record(t, s.ledger, jobsOf(10)...)
	first, _ := s.ask(t, "GET", "/api/v1/overview")
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	for _, question := range everything {
		response, body := s.ask(t, "GET", query.Path+question, "If-None-Match", first.Header.Get("ETag"))
		unavailable(t, response, body, "bring it back")
	}
	if !strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("the log is %s", log.String())
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	if response, body := s.ask(t, "GET", "/api/v1/overview"); response.StatusCode != 200 {
		t.Errorf("%s: %s", response.Status, body)
	}
}

// Errors of whoever knows the problems are no different.
func TestProblemsFail(t *testing.T) {
	s := serve(t, "UTC", func(o *api.Options) {
		o.Problems = func(context.Context) ([]problems.Problem, error) { return nil, fmt.Errorf("the disk fails") }
	})
	response, body := s.ask(t, "GET", "/api/v1/problems")
	unavailable(t, response, body, "the disk fails")
}
