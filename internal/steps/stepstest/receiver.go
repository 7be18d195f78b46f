// Package stepstest has a receiver for tests of what sends to one. It keeps what it
// is sent in memory, and can be told to answer in any other way.
package stepstest

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"ci-jobs-metrics/internal/steps"
)

// A Receiver stands in for the real one. Its methods may be called from several
// goroutines.
type Receiver struct {
	*httptest.Server // nil if the Receiver is served by the test itself

	mu       sync.Mutex
	answer   http.HandlerFunc
	jobs     []map[string]any
	requests []*http.Request
}

// New starts a Receiver that runs until the test ends.
func New(t *testing.T) *Receiver { return start(t, (*httptest.Server).Start) }

// NewTLS starts a Receiver that speaks TLS.
func NewTLS(t *testing.T) *Receiver { return start(t, (*httptest.Server).StartTLS) }

func start(t *testing.T, how func(*httptest.Server)) *Receiver {
	r := &Receiver{}
	r.Server = httptest.NewUnstartedServer(r)
	r.Config.ErrorLog = log.New(io.Discard, "", 0) // of clients that don't trust it
	how(r.Server)
	t.Cleanup(r.Close)
	return r
}

// ServeHTTP records the jobs of a request, or answers as it was told.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	var jobs []map[string]any
	err := json.NewDecoder(request.Body).Decode(&jobs)
	r.mu.Lock()
	r.requests = append(r.requests, request)
	answer := r.answer
	if answer == nil && err == nil && request.URL.Path == steps.Path {
		r.jobs = append(r.jobs, jobs...)
	}
	r.mu.Unlock()
	if answer != nil {
		answer(w, request)
		return
	}
	w.Header().Set("Content-Type", steps.TypeJSON)
	_ = json.NewEncoder(w).Encode(steps.Answer{Recorded: len(jobs)})
}

// Set has requests answered by the handler from now on, and nothing recorded; nil
// records again.
func (r *Receiver) Set(answer http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// Jobs are the recorded ones, in the order in which they came.
func (r *Receiver) Jobs() []map[string]any {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]map[string]any(nil), r.jobs...)
}

// IDs are those of the recorded jobs, with a space between.
func (r *Receiver) IDs() string {
	var ids []string
	for _, job := range r.Jobs() {
		id, _ := job["id"].(string)
		ids = append(ids, id)
	}
	return strings.Join(ids, " ")
}

// Requests are all that came, recorded or not.
func (r *Receiver) Requests() []*http.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*http.Request(nil), r.requests...)
}
