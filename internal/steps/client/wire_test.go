package client_test

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/steps"
	"ci-jobs-metrics/internal/steps/client"
)

// Client and handler understand each other: the real one answers.
func TestAgainstTheHandler(t *testing.T) {
	t.Parallel()
	var failure error
	server := httptest.NewServer(steps.Handler(steps.Options{
		Record: func(_ time.Time, jobs []job.Job) (int, error) { return len(jobs), failure },
		Now:    time.Now, Retention: 24 * time.Hour,
	}))
	defer server.Close()
	const (
		good = `{"name":"build","project":"group/app","status":"success","id":1}`
		odd  = `{"name":"build","project":"group/app","status":"odd","id":2}`
		bad  = `{"project":"group/app","status":"success"}`
	)
	c := newClient(t, server.URL, client.Options{})
	sendAll := func(items ...string) (steps.Answer, error) {
		var raw []json.RawMessage
		for _, item := range items {
			raw = append(raw, json.RawMessage(item))
		}
		return c.Send(t.Context(), raw)
	}
	answer, err := sendAll(good, odd, bad)
	if err != nil || answer.Recorded != 2 || len(answer.Warnings) != 1 || answer.Warnings[0].Index != 1 ||
		len(answer.Rejected) != 1 || answer.Rejected[0].Index != 2 {
		t.Errorf("answer %+v, %v", answer, err)
	}
	var refusal *client.Error
	if _, err := sendAll(bad); !errors.As(err, &refusal) || !refusal.Final() || len(refusal.Rejected) != 1 {
		t.Errorf("all bad: %v", err)
	}
	failure = errors.New("the queue is full")
	if _, err := sendAll(good); !errors.As(err, &refusal) || refusal.Final() || refusal.RetryAfter == 0 {
		t.Errorf("busy: %#v", err)
	}
}
