package test

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

// An item is a job as it is sent.
type item map[string]string

// A reply is what a sender gets for a request.
type reply struct {
	status               int
	contentType          string
	retryAfter           string
	Recorded, Duplicates int
	Detail               string
}

// acknowledges says whether a reply promises that all of so many jobs count.
func (r reply) acknowledges(jobs int) bool {
	return r.status == http.StatusOK && r.Recorded+r.Duplicates == jobs
}

// refusal is nil if a reply asks to send again, as it must while jobs can't be
// recorded, and says why.
func (r reply) refusal(reason *regexp.Regexp) error {
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

// A load is how a crowd sends.
type load struct {
	batch   int           // most jobs in a request
	wide    bool          // jobs are large
	rest    time.Duration // of a sender between two requests
	timeout time.Duration // after which a sender hangs up
}

var (
	modest    = load{batch: 3, rest: 5 * time.Millisecond, timeout: 2 * patience} // speed is not what it is about
	large     = load{batch: 3, rest: 5 * time.Millisecond, timeout: 2 * patience, wide: true}
	heavy     = load{batch: 60, timeout: 2 * patience, wide: true}
	quick     = load{batch: 3, timeout: 5 * time.Second}
	impatient = load{batch: 3, rest: 5 * time.Millisecond, timeout: 5 * time.Second}
)

// A crowd sends jobs, each until it is acknowledged, and remembers which were.
type crowd struct {
	load
	url    string
	client *http.Client
	stop   atomic.Bool
	gate   sync.RWMutex // held for reading by requests under way: held for writing it stops all senders
	group  sync.WaitGroup

	mu           sync.Mutex
	acknowledged map[string]string // id to "template project status"
	retries      int
	duplicates   int     // acknowledged as counted before
	refusals     int     // requests answered 503
	broken       []error // requests without an answer, or with one that may not be
}

// newCrowd is a crowd without senders yet.
func newCrowd(t *testing.T, s *service, l load) *crowd {
	c := &crowd{
		load:         l,
		url:          s.url("/steps"),
		client:       &http.Client{Timeout: l.timeout, Transport: &http.Transport{MaxIdleConnsPerHost: 100}},
		acknowledged: map[string]string{},
	}
	t.Cleanup(c.client.CloseIdleConnections)
	return c
}

// gather starts senders; they end with ctx, or after what they have on hand when
// stop is set.
func (c *crowd) gather(ctx context.Context, t *testing.T, senders int) {
	ctx, cancel := context.WithCancel(ctx)
	for i := range senders {
		c.group.Go(func() { c.send(ctx, i) })
	}
	t.Cleanup(func() {
		cancel()
		c.group.Wait()
	})
}

// send is one sender: single jobs and small batches, each job with an id.
func (c *crowd) send(ctx context.Context, sender int) {
	r := rand.New(rand.NewPCG(uint64(sender), 7))
	for n := 0; !c.stop.Load() && ctx.Err() == nil; n++ {
		var items []item
		for k := range 1 + r.IntN(c.batch) {
			items = append(items, c.item(r, fmt.Sprintf("sender-%d/%d/%d", sender, n, k)))
		}
		c.deliver(ctx, r, items)
		wait(ctx, c.rest)
	}
}

// wait is a sender's pause.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (c *crowd) item(r *rand.Rand, id string) item {
	i := item{
		"id": id, "name": fmt.Sprintf("template_%d", r.IntN(4)), "project": fmt.Sprintf("group/project-%d", r.IntN(5)),
		"status": []string{"success", "failed"}[r.IntN(2)], "duration": strconv.Itoa(r.IntN(2000)),
	}
	if c.wide {
		i["url"] = "https://gitlab.example/" + strings.Repeat("x", 900)
	}
	return i
}

// deliver sends items until they are acknowledged.
func (c *crowd) deliver(ctx context.Context, r *rand.Rand, items []item) {
	for ctx.Err() == nil {
		if answer, err := c.try(ctx, items); err == nil && answer.acknowledges(len(items)) {
			return
		}
		wait(ctx, time.Duration(5+r.IntN(20))*time.Millisecond)
	}
}

// pause returns when no request is under way; there is none until resume is called.
func (c *crowd) pause(t *testing.T) (resume func()) {
	c.gate.Lock()
	resume = sync.OnceFunc(c.gate.Unlock)
	t.Cleanup(resume)
	return resume
}

// try sends items once, and takes note of what came of it.
func (c *crowd) try(ctx context.Context, items []item) (reply, error) {
	c.gate.RLock()
	defer c.gate.RUnlock()
	answer, err := post(ctx, c.client, c.url, items)
	c.note(items, answer, err)
	return answer, err
}

func (c *crowd) note(items []item, answer reply, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.broken = append(c.broken, err)
	case answer.acknowledges(len(items)):
		for _, i := range items {
			c.acknowledged[i["id"]] = i["name"] + " " + i["project"] + " " + i["status"]
		}
		c.duplicates += answer.Duplicates
		return
	case answer.refusal(anything) == nil:
		c.refusals++
	default:
		c.broken = append(c.broken, fmt.Errorf("answered %+v", answer))
	}
	c.retries++
}

var anything = regexp.MustCompile(`.`)

func (c *crowd) counts() (acknowledged, refusals int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.acknowledged), c.refusals
}

// await waits until so many more jobs are acknowledged and requests refused.
func (c *crowd) await(t *testing.T, s *service, acknowledged, refusals int) {
	t.Helper()
	a, r := c.counts()
	if err := eventually(func() error {
		if nowA, nowR := c.counts(); nowA < a+acknowledged || nowR < r+refusals {
			return fmt.Errorf("%d jobs were acknowledged and %d requests refused, want %d and %d",
				nowA-a, nowR-r, acknowledged, refusals)
		}
		return nil
	}); err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		t.Fatalf("%v\nlast: %v\n%s", err, c.broken[max(0, len(c.broken)-3):], s.excerpt())
	}
}

// finish lets each sender end with its last job acknowledged.
func (c *crowd) finish(t *testing.T, s *service) {
	t.Helper()
	c.stop.Store(true)
	done := make(chan struct{})
	go func() { c.group.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("the senders do not come to an end\n%s", s.excerpt())
	}
}

// complain fails the test for requests that were answered neither 200 nor 503, unless
// the error has one of the given texts.
func (c *crowd) complain(t *testing.T, unless ...string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var bad []error
	for _, err := range c.broken {
		if !slices.ContainsFunc(unless, func(text string) bool { return strings.Contains(err.Error(), text) }) {
			bad = append(bad, err)
		}
	}
	if n := len(bad); n > 0 {
		t.Errorf("%d requests were not answered as they must be, the first: %v", n, bad[0])
	}
}

// post sends items as one request.
func post(ctx context.Context, client *http.Client, url string, items []item) (reply, error) {
	body, err := json.Marshal(items)
	if err != nil {
		return reply{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	return do(client, request)
}

// get sends an item as curl would.
func get(ctx context.Context, client *http.Client, address string, i item) (reply, error) {
	query := url.Values{}
	for field, value := range i {
		query.Set(field, value)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"?"+query.Encode(), nil)
	if err != nil {
		return reply{}, err
	}
	return do(client, request)
}

func do(client *http.Client, request *http.Request) (reply, error) {
	response, err := client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	r := reply{
		status:      response.StatusCode,
		contentType: response.Header.Get("Content-Type"),
		retryAfter:  response.Header.Get("Retry-After"),
	}
	if err := json.NewDecoder(response.Body).Decode(&r); err != nil {
		return reply{}, errors.Join(fmt.Errorf("the body of status %d", r.status), err)
	}
	return r, nil
}
