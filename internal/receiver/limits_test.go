package receiver_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// dial opens a connection on which the test does what no client library would.
func (r *running) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", r.Addresses()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// A header that never ends, in bytes or in time, costs a connection and no more.
func TestHeaderLimits(t *testing.T) {
	t.Parallel()
	r := start(t, options(ledgerPath(t), "127.0.0.1:0"))

	huge := r.dial(t)
	go func() { // it is cut off on the way
		fmt.Fprintf(huge, "GET /steps?name=%s", strings.Repeat("n", 200<<10))
	}()
	response, err := http.ReadResponse(bufio.NewReader(huge), nil)
	if err != nil || response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("huge header: %v, %v", response, err)
	}

	slow := r.dial(t)
	fmt.Fprint(slow, "GET /steps?name=n HTTP/1.1\r\nHost: x\r\n")
	begun := time.Now()
	if _, err := io.ReadAll(slow); err != nil {
		t.Errorf("slow header: %v", err)
	}
	if waited := time.Since(begun); waited < 5*time.Second {
		t.Errorf("a slow header was cut after %v: slow networks need more", waited)
	}
	r.want(t, "/-/healthy", 200)
}

// Every field at its limit, in the longest way to write it, fits a GET.
func TestLargestGet(t *testing.T) {
	t.Parallel()
	r := start(t, options(ledgerPath(t), "127.0.0.1:0"))
	query := "/steps?status=success&id=" + strings.Repeat("%F0%9F%98%80", 200)
	for _, field := range []string{"name", "project", "version", "job", "stage", "ref", "sha", "pipeline", "runner", "source"} {
		query += "&" + field + "=" + strings.Repeat("%F0%9F%98%80", 255)
	}
	query += "&url=https://x/" + strings.Repeat("%F0%9F%98%80", 980)
	r.want(t, query, 200, `"recorded":1`)
}

// Somebody who never ends a request does not keep the ledger from being closed in
// order.
func TestStopWithASlowClient(t *testing.T) {
	t.Parallel()
	path := ledgerPath(t)
	r := start(t, options(path, "127.0.0.1:0"))
	r.want(t, "/steps?name=n&project=p&status=success", 200)
	slow := r.dial(t)
	fmt.Fprint(slow, "POST /steps HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	time.Sleep(100 * time.Millisecond) // until it is read; too early, and the test shows less
	r.stop(t)                          // fails if it can't
	again := start(t, options(path, "127.0.0.1:0"))
	again.want(t, "/metrics", 200, `ci_n_total{project="p",status="success"} 1`)
}

// Jobs are kept as long as the options say, and what counts as too old goes by that.
func TestRetention(t *testing.T) {
	t.Parallel()
	path := ledgerPath(t)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	o := options(path, "127.0.0.1:0") // a day
	o.Now = func() time.Time { return now }
	r := start(t, o)
	r.want(t, "/steps?name=n&project=p&status=success&id=1&finished=2026-02-28T13:00:00Z", 200, `"warnings":[]`)
	r.want(t, "/steps?name=n&project=p&status=success&id=2&finished=2026-02-28T11:00:00Z", 200, "finished_too_old", "within 24h")
	r.stop(t)
	o.PruneEvery = time.Millisecond
	later := func(by time.Duration) *running {
		at := now.Add(by)
		o.Now = func() time.Time { return at }
		return start(t, o)
	}
	r = later(23 * time.Hour)
	time.Sleep(200 * time.Millisecond) // some prunings
	r.want(t, "/steps?name=n&project=p&status=success&id=1", 200, `"duplicates":1`)
	r.stop(t)
	r = later(25 * time.Hour)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, body := r.get(t, "/steps?name=n&project=p&status=success&id=1")
		if strings.Contains(body, `"recorded":1`) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the id is not forgotten: %s", body)
		}
	}
}
