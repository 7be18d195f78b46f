package exporter_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ci-jobs-metrics/internal/exporter"
	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/steps"
	"ci-jobs-metrics/internal/steps/client"
)

// A rig runs a Delivery in a bubble, where time passes only when everyone waits.
type rig struct {
	*exporter.Delivery
	log      bytes.Buffer
	start    time.Time
	mu       sync.Mutex
	attempts []attempt
	up       bool                              // for answer
	answer   func(n int) (steps.Answer, error) // of the n-th attempt, from 1
	stop     func()
}

type attempt struct {
	after time.Duration
	items int
	bytes int
}

func newRig(answer func(n int) (steps.Answer, error)) *rig {
	r := &rig{start: time.Now(), answer: answer}
	send := func(ctx context.Context, items []json.RawMessage) (steps.Answer, error) {
		size := 0
		for _, item := range items {
			size += len(item)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.attempts = append(r.attempts, attempt{time.Since(r.start), len(items), size})
		return r.answer(len(r.attempts))
	}
	r.Delivery = exporter.NewDelivery(send, exporter.Backoff, slog.New(slog.NewTextHandler(&r.log, nil)))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Run(ctx)
	}()
	r.stop = func() {
		cancel()
		<-ended
	}
	return r
}

// sent returns the attempts so far.
func (r *rig) sent() []attempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.attempts)
}

func (r *rig) idle() bool {
	select {
	case <-r.Idle():
		return true
	default:
		return false
	}
}

func items(n int) []exporter.Item {
	all := make([]exporter.Item, n)
	for i := range all {
		all[i] = exporter.Item{ID: fmt.Sprint("id", i), Name: "build", JSON: json.RawMessage(`{"a":1}`)}
	}
	return all
}

var refused = &client.Error{Status: 500, Reason: "broken"}

func always(err error) func(int) (steps.Answer, error) {
	return func(int) (steps.Answer, error) { return steps.Answer{}, err }
}

func failing(times int, err error) func(int) (steps.Answer, error) {
	return func(n int) (steps.Answer, error) {
		if n <= times {
			return steps.Answer{}, err
		}
		return steps.Answer{Recorded: 1}, nil
	}
}

func TestDeliversAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(always(nil))
		defer r.stop()
		if !r.idle() {
			t.Error("not idle at first")
		}
		r.Add()
		r.Add(items(2)...)
		if r.idle() {
			t.Error("idle with something pending")
		}
		<-r.Idle()
		if a := r.sent(); len(a) != 1 || a[0].items != 2 || a[0].after != 0 || !r.idle() {
			t.Errorf("attempts %v, idle %v", a, r.idle())
		}
	})
}

func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(always(nil))
		r.Add(items(2500)...)
		large := items(3)
		for i := range large {
			large[i].JSON = json.RawMessage(`{"a":"` + strings.Repeat("x", 300<<10) + `"}`)
		}
		r.Add(large...)
		<-r.Idle()
		r.stop()
		total := 0
		for _, a := range r.attempts {
			if total += a.items; a.items > 1000 || a.bytes > 512<<10 {
				t.Errorf("a batch of %d items, %d bytes", a.items, a.bytes)
			}
		}
		if total != 2503 {
			t.Errorf("%d items were sent", total)
		}
	})
}

// The receiver may be away for a day: attempts get rarer, but never end, and the
// log gets about a line a minute.
func TestRetriesForAsLongAsItLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *rig
		r = newRig(func(int) (steps.Answer, error) {
			if !r.up {
				return steps.Answer{}, errors.New("connection refused")
			}
			return steps.Answer{Recorded: 1}, nil
		})
		r.Add(items(1)...)
		time.Sleep(time.Minute)
		early := len(r.sent())
		time.Sleep(24 * time.Hour)
		attempts := r.sent()
		for i := range attempts[1:] {
			if gap := attempts[i+1].after - attempts[i].after; gap > 10*time.Second {
				t.Fatalf("a gap of %v", gap)
			}
		}
		if n := len(attempts); early < 8 || n < 24*60*6 || n > 24*60*24 {
			t.Errorf("%d attempts in the first minute, %d in a day", early, n)
		}
		r.mu.Lock()
		r.up = true
		r.mu.Unlock()
		<-r.Idle()
		r.stop()
		if lines := strings.Count(r.log.String(), "\n"); lines < 24*50 || lines > 24*60+10 {
			t.Errorf("%d log lines", lines)
		}
		if log := r.log.String(); !strings.Contains(log[strings.LastIndex(strings.TrimSpace(log), "\n"):], "failed_attempts") {
			t.Error("the delivery doesn't say how many attempts failed")
		}
	})
}

func TestBackoffIsJittered(t *testing.T) {
	t.Parallel()
	for failed, most := range map[int]time.Duration{0: 100 * time.Millisecond, 1: 100 * time.Millisecond,
		2: 200 * time.Millisecond, 7: 6400 * time.Millisecond, 8: 10 * time.Second, 1000: 10 * time.Second} {
		small, large := most, time.Duration(0)
		for range 1000 {
			pause := exporter.Backoff(failed)
			small, large = min(small, pause), max(large, pause)
		}
		if small < 0 || small > most/10 || large > most || large < most*9/10 {
			t.Errorf("after %d: pauses from %v to %v, want up to %v", failed, small, large, most)
		}
	}
}

func TestRetryAfterIsHeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for asked, want := range map[time.Duration]time.Duration{30 * time.Second: 30 * time.Second, time.Hour: time.Minute} {
			r := newRig(failing(1, &client.Error{Status: 429, RetryAfter: asked}))
			r.Add(items(1)...)
			<-r.Idle()
			r.stop()
			if at := r.attempts[1].after; at != want {
				t.Errorf("asked for %v: next attempt after %v", asked, at)
			}
		}
	})
}

// What comes while an older item is retried goes with the next attempt.
func TestItemsJoinARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(failing(1, &client.Error{Status: 503, RetryAfter: 10 * time.Second}))
		r.Add(items(1)...)
		time.Sleep(time.Second)
		r.Add(items(2)...)
		<-r.Idle()
		r.stop()
		if len(r.attempts) != 2 || r.attempts[1].items != 3 || r.attempts[1].after != 10*time.Second {
			t.Errorf("attempts %v", r.attempts)
		}
	})
}

// Before the pod ends the next attempt starts at once, and Retry-After does not
// outlast the deadline.
func TestHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(always(&client.Error{Status: 503, RetryAfter: time.Minute}))
		r.Add(items(1)...)
		time.Sleep(7 * time.Second)
		r.Hurry(time.Now().Add(5 * time.Second))
		time.Sleep(5 * time.Second)
		r.stop()
		if n := len(r.attempts); n < 4 || n > 40 || r.attempts[1].after != 7*time.Second {
			t.Errorf("attempts %v", r.attempts)
		}
		if n := r.Close(); n != 1 {
			t.Errorf("%d undelivered", n)
		}
		if log := r.log.String(); !strings.Contains(log, "lost") || !strings.Contains(log, "id0") || !strings.Contains(log, "503") {
			t.Errorf("log: %s", log)
		}
	})
}

func TestFinalRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, status := range []int{400, 413, 415} {
			r := newRig(failing(1, &client.Error{Status: status, Reason: "nothing good",
				Rejected: []job.Problem{{Index: 1, Field: "name", Reason: job.Missing, Remedy: "send it"}}}))
			r.Add(items(2)...)
			<-r.Idle()
			r.stop()
			log := r.log.String()
			if len(r.attempts) != 1 || r.Lost() != 2 || r.Close() != 0 {
				t.Errorf("%d: attempts %v, lost %d", status, r.attempts, r.Lost())
			}
			if !strings.Contains(log, "nothing good") || !strings.Contains(log, "id=id1") || !strings.Contains(log, "send it") {
				t.Errorf("%d: log: %s", status, log)
			}
		}
	})
}

func TestOtherRefusalsAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, status := range []int{200, 301, 401, 403, 404, 405, 408, 429, 500, 502, 503, 504} {
			r := newRig(failing(3, &client.Error{Status: status}))
			r.Add(items(1)...)
			<-r.Idle()
			r.stop()
			if len(r.attempts) != 4 || r.Lost() != 0 {
				t.Errorf("%d: attempts %v", status, r.attempts)
			}
		}
	})
}

func TestProblemsAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		problem := func(i int, remedy string) job.Problem {
			return job.Problem{Index: i, Field: "status", Reason: job.UnknownStatus, Value: "odd", Remedy: remedy}
		}
		answer := steps.Answer{Recorded: 1, Warnings: []job.Problem{problem(0, "mend it")},
			Rejected: []job.Problem{problem(1, "one"), problem(1, "two"), problem(99, "strange"), problem(-1, "index")}}
		r := newRig(func(int) (steps.Answer, error) { return answer, nil })
		r.Add(items(2)...)
		<-r.Idle()
		r.stop()
		log := r.log.String()
		for _, want := range []string{"delivered", "rejected=", "id=id0", "mend it", "id=id1", "one", "two", "strange"} {
			if !strings.Contains(log, want) {
				t.Errorf("no %q in the log: %s", want, log)
			}
		}
		if r.Lost() != 1 {
			t.Errorf("%d items count as lost, want 1", r.Lost())
		}
	})
}

// A different failure is news, the same with another port of ours is not.
func TestFailuresAreLoggedWhenTheyChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(func(n int) (steps.Answer, error) {
			switch {
			case n <= 10:
				return steps.Answer{}, refused
			case n <= 15:
				return steps.Answer{}, errors.New("reset")
			}
			return steps.Answer{}, nil
		})
		r.Add(items(1)...)
		<-r.Idle()
		r.stop()
		if n := strings.Count(r.log.String(), "not delivered yet"); n < 2 || n > 5 {
			t.Errorf("log: %s", r.log.String())
		}
	})
}

// Nor is it news what time it was when a certificate had expired, or what number a
// refused request got.
func TestSameFailureInOtherWords(t *testing.T) {
	for name, failure := range map[string]func(n int) error{
		"certificate": func(int) error {
			return &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{
				Reason: x509.Expired, Detail: "current time " + time.Now().Format(time.RFC3339Nano) + " is after 2020-01-01T00:00:00Z",
			}}
		},
		"refusal": func(n int) error { return &client.Error{Status: 502, Reason: fmt.Sprint("request ", n)} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				r := newRig(func(n int) (steps.Answer, error) {
					if time.Since(start) < 40*time.Second {
						return steps.Answer{}, failure(n)
					}
					return steps.Answer{}, nil
				})
				r.Add(items(1)...)
				<-r.Idle()
				r.stop()
				if n := len(r.sent()); n < 3 || time.Since(start) > time.Minute {
					t.Fatalf("%d attempts in %v", n, time.Since(start))
				}
				if n := strings.Count(r.log.String(), "not delivered yet"); n != 1 {
					t.Errorf("%d lines: %s", n, r.log.String())
				}
			})
		})
	}
}

// A file that is written over and over while the receiver is away must not fill
// the memory.
func TestPendingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(always(refused))
		for range 5 {
			r.Add(items(3000)...)
		}
		r.stop()
		if n := r.Close(); n != 10_000 || r.Lost() != 5000 {
			t.Errorf("%d pending, %d lost", n, r.Lost())
		}
	})
}

// What is refused as a whole, for one of many or for their size, is sent again in smaller
// parts until what can be recorded is: jobs of others come with it.
func TestOneIsRefused(t *testing.T) {
	final := func(status int) error { return &client.Error{Status: status, Reason: "no"} }
	for name, test := range map[string]struct {
		refuse func(items []json.RawMessage) error
		lost   int
	}{
		"one": {func(items []json.RawMessage) error {
			if slices.ContainsFunc(items, func(i json.RawMessage) bool { return string(i) == `{"n":777}` }) {
				return final(400)
			}
			return nil
		}, 1},
		"too many together": {func(items []json.RawMessage) error {
			if len(items) > 300 {
				return final(413)
			}
			return nil
		}, 0},
		"all": {func([]json.RawMessage) error { return final(415) }, 2500},
	} {
		t.Run(name, func(t *testing.T) {
			requests, recorded := 0, 0
			send := func(_ context.Context, items []json.RawMessage) (steps.Answer, error) {
				requests++
				if err := test.refuse(items); err != nil {
					return steps.Answer{}, err
				}
				recorded += len(items)
				return steps.Answer{Recorded: len(items)}, nil
			}
			d := exporter.NewDelivery(send, exporter.Backoff, slog.New(slog.DiscardHandler))
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				d.Run(ctx)
			}()
			var all []exporter.Item
			for n := range 2500 {
				all = append(all, exporter.Item{ID: fmt.Sprint(n), JSON: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n))})
			}
			d.Add(all...)
			<-d.Idle()
			cancel()
			<-ended
			if d.Lost() != test.lost || recorded != 2500-test.lost {
				t.Errorf("%d recorded, %d lost, want %d", recorded, d.Lost(), test.lost)
			}
			if requests > 2*2500 || test.lost < 2 && requests > 60 {
				t.Errorf("%d requests", requests)
			}
		})
	}
}

// An attempt that hangs when the pod ends leaves time for others.
func TestHurryEndsAnAttemptThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		send := func(ctx context.Context, items []json.RawMessage) (steps.Answer, error) {
			if attempts++; attempts <= 2 {
				<-ctx.Done()
				return steps.Answer{}, context.Cause(ctx)
			}
			return steps.Answer{Recorded: len(items)}, nil
		}
		var log bytes.Buffer
		d := exporter.NewDelivery(send, func(int) time.Duration { return 0 }, slog.New(slog.NewTextHandler(&log, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			d.Run(ctx)
		}()
		d.Add(exporter.Item{ID: "x", JSON: json.RawMessage("{}")})
		time.Sleep(time.Hour) // it may hang for as long as the sender allows
		start := time.Now()
		d.Hurry(start.Add(4 * time.Second))
		<-d.Idle()
		if took := time.Since(start); took != 2500*time.Millisecond { // the last chance, then half of the other 3
			t.Errorf("delivered after %v", took)
		}
		if !strings.Contains(log.String(), "no answer for too much of the time") {
			t.Errorf("the log does not say why: %s", log.String())
		}
		cancel()
		<-ended
	})
}
