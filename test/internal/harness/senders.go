package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// AcknowledgedIDs returns the ids that are acknowledged so far.
func (s *Senders) AcknowledgedIDs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for id := range s.Acknowledged {
		ids = append(ids, id)
	}
	return ids
}

// An Item is a job as it is sent.
type Item map[string]string

// A Reply is the answer to a request of jobs.
type Reply struct {
	status               int
	contentType          string
	retryAfter           string
	Recorded, Duplicates int
	Detail               string
}

// Acknowledges reports whether the reply promises that all of so many jobs count.
func (r Reply) Acknowledges(jobs int) bool {
	return r.status == http.StatusOK && r.Recorded+r.Duplicates == jobs
}

// CheckRefusal returns nil for a refusal as it must be while jobs can't be recorded: status
// 503, when to send again, and a detail that matches the reason.
func (r Reply) CheckRefusal(reason *regexp.Regexp) error {
	if r.status != http.StatusServiceUnavailable || r.contentType != "application/problem+json" {
		return fmt.Errorf("status %d, %s, want 503 and a problem document", r.status, r.contentType)
	}
	if seconds, err := strconv.Atoi(r.retryAfter); err != nil || seconds < 1 {
		return fmt.Errorf("Retry-After is %q, want seconds", r.retryAfter)
	}
	if !reason.MatchString(r.Detail) {
		return fmt.Errorf("the detail is %q, want something with %q", r.Detail, reason)
	}
	return nil
}

// A Load is a way of sending jobs.
type Load struct {
	batch   int           // most jobs in a request
	wide    bool          // jobs are large
	rest    time.Duration // of a sender between two requests
	timeout time.Duration // after which a sender hangs up
}

// The loads differ in the size of requests and jobs, the pause between requests, and how long
// senders wait for an answer.
var (
	Modest    = Load{batch: 3, rest: 5 * time.Millisecond, timeout: 2 * Patience} // for tests that are not about speed
	Large     = Load{batch: 3, rest: 5 * time.Millisecond, timeout: 2 * Patience, wide: true}
	Heavy     = Load{batch: 60, timeout: 2 * Patience, wide: true}
	Quick     = Load{batch: 3, timeout: 5 * time.Second}
	Impatient = Load{batch: 3, rest: 5 * time.Millisecond, timeout: 5 * time.Second}
)

// Senders send jobs, each until it is acknowledged, and remember which were acknowledged.
// Any goroutine may call the methods. The exported counts are final after Finish.
type Senders struct {
	Load
	url      string
	client   *http.Client
	Stopping atomic.Bool  // each sender ends after the request that it is sending
	gate     sync.RWMutex // held for reading by requests under way: held for writing it stops all senders
	group    sync.WaitGroup

	mu           sync.Mutex
	Acknowledged map[string]string // id to "template project status"
	Retries      int               // requests that were not acknowledged
	Duplicates   int               // acknowledged as counted before
	Refusals     int               // requests answered 503
	broken       []error           // requests without an answer, or with one that may not be
}

// NewSenders returns Senders of which none is started yet.
func NewSenders(t *testing.T, receiver *Receiver, l Load) *Senders {
	senders := &Senders{
		Load:         l,
		url:          receiver.URL("/steps"),
		client:       &http.Client{Timeout: l.timeout, Transport: &http.Transport{MaxIdleConnsPerHost: 100}},
		Acknowledged: map[string]string{},
	}
	t.Cleanup(senders.client.CloseIdleConnections)
	return senders
}

// Start starts so many senders. They end with ctx, or after their current request when
// Stopping is set.
func (s *Senders) Start(ctx context.Context, t *testing.T, senders int) {
	ctx, cancel := context.WithCancel(ctx)
	for i := range senders {
		s.group.Go(func() { s.send(ctx, i) })
	}
	t.Cleanup(func() {
		cancel()
		s.group.Wait()
	})
}

// send sends single jobs and small batches, each job with an id.
func (s *Senders) send(ctx context.Context, sender int) {
	r := rand.New(rand.NewPCG(uint64(sender), 7))
	for n := 0; !s.Stopping.Load() && ctx.Err() == nil; n++ {
		var items []Item
		for k := range 1 + r.IntN(s.batch) {
			items = append(items, s.item(r, fmt.Sprintf("sender-%d/%d/%d", sender, n, k)))
		}
		s.deliver(ctx, r, items)
		Sleep(ctx, s.rest)
	}
}

// Sleep waits for d or for the end of the context.
func Sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (s *Senders) item(r *rand.Rand, id string) Item {
	i := Item{
		"id": id, "name": fmt.Sprintf("template_%d", r.IntN(4)), "project": fmt.Sprintf("group/project-%d", r.IntN(5)),
		"status": []string{"success", "failed"}[r.IntN(2)], "duration": strconv.Itoa(r.IntN(2000)),
	}
	if s.wide {
		i["url"] = "https://gitlab.example/" + strings.Repeat("x", 900)
	}
	return i
}

// deliver sends items until they are acknowledged.
func (s *Senders) deliver(ctx context.Context, r *rand.Rand, items []Item) {
	for ctx.Err() == nil {
		if answer, err := s.Try(ctx, items); err == nil && answer.Acknowledges(len(items)) {
			return
		}
		Sleep(ctx, time.Duration(5+r.IntN(20))*time.Millisecond)
	}
}

// Pause stops all requests and returns when none is under way. resume lets them go on.
func (s *Senders) Pause(t *testing.T) (resume func()) {
	s.gate.Lock()
	resume = sync.OnceFunc(s.gate.Unlock)
	t.Cleanup(resume)
	return resume
}

// Try sends items once and records the result.
func (s *Senders) Try(ctx context.Context, items []Item) (Reply, error) {
	s.gate.RLock()
	defer s.gate.RUnlock()
	answer, err := post(ctx, s.client, s.url, items)
	s.note(items, answer, err)
	return answer, err
}

func (s *Senders) note(items []Item, answer Reply, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
		s.broken = append(s.broken, err)
	case answer.Acknowledges(len(items)):
		for _, i := range items {
			s.Acknowledged[i["id"]] = i["name"] + " " + i["project"] + " " + i["status"]
		}
		s.Duplicates += answer.Duplicates
		return
	case answer.CheckRefusal(anyReason) == nil:
		s.Refusals++
	default:
		s.broken = append(s.broken, fmt.Errorf("answered %+v", answer))
	}
	s.Retries++
}

var anyReason = regexp.MustCompile(`.`)

// Counts returns how many jobs are acknowledged and how many requests refused so far.
func (s *Senders) Counts() (acknowledged, refusals int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.Acknowledged), s.Refusals
}

// Await waits until so many more jobs are acknowledged and so many more requests refused.
func (s *Senders) Await(t *testing.T, receiver *Receiver, acknowledged, refusals int) {
	t.Helper()
	a, r := s.Counts()
	if err := Eventually(func() error {
		if nowA, nowR := s.Counts(); nowA < a+acknowledged || nowR < r+refusals {
			return fmt.Errorf("%d jobs were acknowledged and %d requests refused, want %d and %d",
				nowA-a, nowR-r, acknowledged, refusals)
		}
		return nil
	}); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		t.Fatalf("%v\nlast: %v\n%s", err, s.broken[max(0, len(s.broken)-3):], receiver.LogExcerpt())
	}
}

// Finish ends the senders, each after its last job is acknowledged.
func (s *Senders) Finish(t *testing.T, receiver *Receiver) {
	t.Helper()
	s.Stopping.Store(true)
	done := make(chan struct{})
	go func() { s.group.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(Patience):
		t.Fatalf("the senders do not end\n%s", receiver.LogExcerpt())
	}
}

// ReportErrors fails the test for requests that were answered neither 200 nor 503. Errors with
// one of the given texts are allowed.
func (s *Senders) ReportErrors(t *testing.T, unless ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var bad []error
	for _, err := range s.broken {
		if !slices.ContainsFunc(unless, func(text string) bool { return strings.Contains(err.Error(), text) }) {
			bad = append(bad, err)
		}
	}
	if n := len(bad); n > 0 {
		t.Errorf("%d requests were not answered as they must be, the first: %v", n, bad[0])
	}
}

// ForgetErrors forgets the errors so far, which ReportErrors would report.
func (s *Senders) ForgetErrors() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = nil
}

// post sends items as one request.
func post(ctx context.Context, client *http.Client, url string, items []Item) (Reply, error) {
	body, err := json.Marshal(items)
	if err != nil {
		return Reply{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return Reply{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	return do(client, request)
}

// get sends an item as a query string.
func get(ctx context.Context, client *http.Client, address string, i Item) (Reply, error) {
	query := url.Values{}
	for field, value := range i {
		query.Set(field, value)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"?"+query.Encode(), nil)
	if err != nil {
		return Reply{}, err
	}
	return do(client, request)
}

func do(client *http.Client, request *http.Request) (Reply, error) {
	response, err := client.Do(request)
	if err != nil {
		return Reply{}, err
	}
	defer response.Body.Close()
	r := Reply{
		status:      response.StatusCode,
		contentType: response.Header.Get("Content-Type"),
		retryAfter:  response.Header.Get("Retry-After"),
	}
	if err := json.NewDecoder(response.Body).Decode(&r); err != nil {
		return Reply{}, errors.Join(fmt.Errorf("the body of status %d", r.status), err)
	}
	return r, nil
}
