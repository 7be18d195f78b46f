package overload_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"ci-jobs-metrics/test/internal/harness"
)

// bad is a client that means no good, or is badly off. It ends with the context.
type client func(ctx context.Context, c net.Conn)

var hostileClients = map[string]client{
	"sends its header a byte at a time": func(ctx context.Context, c net.Conn) {
		trickle(ctx, c, "GET /steps?name=slow&project=p&status=success HTTP/1.1\r\nHost: x\r\n")
	},
	"sends its body a byte at a time": func(ctx context.Context, c net.Conn) {
		fmt.Fprint(c, "POST /steps HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n")
		trickle(ctx, c, strings.Repeat(" ", 1000))
	},
	"falls silent in the header": func(ctx context.Context, c net.Conn) {
		fmt.Fprint(c, "GET /steps?name=half&project=p&status=succ")
		<-ctx.Done()
	},
	"falls silent before the end of a large body": func(ctx context.Context, c net.Conn) {
		body := strings.Repeat(`{"name":"half","project":"p","status":"success"}`+"\n", 20_000)
		fmt.Fprintf(c, "POST /steps HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n%s", len(body)+10, body)
		<-ctx.Done()
	},
	"never reads an answer": func(ctx context.Context, c net.Conn) {
		for ctx.Err() == nil {
			if _, err := fmt.Fprint(c, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				return
			}
			harness.Sleep(ctx, time.Second)
		}
	},
	"has a header without end": func(ctx context.Context, c net.Conn) {
		fmt.Fprint(c, "GET /-/healthy HTTP/1.1\r\nHost: x\r\n")
		for ctx.Err() == nil {
			if _, err := fmt.Fprintf(c, "X-Long: %s\r\n", strings.Repeat("x", 1000)); err != nil {
				return
			}
			harness.Sleep(ctx, 10*time.Millisecond)
		}
	},
	"has a body without end": func(ctx context.Context, c net.Conn) {
		fmt.Fprint(c, "POST /steps HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
		for ctx.Err() == nil {
			if _, err := fmt.Fprintf(c, "1000\r\n%s\r\n", strings.Repeat(" ", 0x1000)); err != nil {
				return
			}
			harness.Sleep(ctx, 10*time.Millisecond)
		}
	},
	"leaves its connection idle": func(ctx context.Context, c net.Conn) {
		fmt.Fprint(c, "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
		_, _ = io.Copy(io.Discard, c) // until it is closed
	},
	"says nothing": func(ctx context.Context, _ net.Conn) { <-ctx.Done() },
}

func trickle(ctx context.Context, c net.Conn, text string) {
	for i := 0; i < len(text) && ctx.Err() == nil; i++ {
		if _, err := c.Write([]byte{text[i]}); err != nil {
			return
		}
		harness.Sleep(ctx, 100*time.Millisecond)
	}
}

// Hundreds of each kind of bad client at the same time, more than may be connected: all
// others are served, at once, within bounded memory, and what was acknowledged counts.
// They are slow rather than fast, for they share the machine with those they are to
// hold up.
func TestBadClients(t *testing.T) {
	const each, bound = 200, 350 // clients of a kind; MB
	receiver := harness.NewReceiver(t)
	receiver.Start(t, "env", "CI_METRICS_RECEIVER_WEB_MAX_CONNECTIONS=1500")
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	t.Cleanup(clients.Wait)
	t.Cleanup(cancel)
	for _, behave := range hostileClients {
		for range each {
			clients.Go(func() {
				for ctx.Err() == nil { // who is cut off comes again
					c, err := receiver.Dial(t)
					if err == nil {
						behaving(ctx, c, behave)
					}
					harness.Sleep(ctx, 100*time.Millisecond)
				}
			})
		}
	}
	watch := &harness.CounterWatch{}
	senders := harness.NewSenders(t, receiver, harness.Modest)
	senders.Start(t.Context(), t, 8)
	slowest := time.Duration(0)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); { // longer than a request may take
		watch.Scrape(t, receiver)
		begin := time.Now()
		if _, err := harness.Fetch(receiver.URL("/-/ready")); err != nil {
			t.Error(err)
		}
		slowest = max(slowest, time.Since(begin))
	}
	senders.Finish(t, receiver)
	senders.ReportErrors(t, "server closed idle connection", "connection reset by peer", "EOF") // to make room: it came again
	peak := receiver.PeakMemory(t)
	cancel()
	clients.Wait()
	if peak > bound {
		t.Errorf("it took %.0f MB", peak)
	}
	jobs, refusals := senders.Counts()
	if slowest > 5*time.Second || jobs < 100 {
		t.Errorf("the slowest answer took %v, %d jobs were acknowledged: others were held up", slowest, jobs)
	}
	if err := harness.Eventually(func() error {
		page, err := harness.Fetch(receiver.URL("/metrics/self"))
		_, rest, _ := strings.Cut(page, "\ncijob_receiver_connections ")
		var open int
		if fmt.Sscan(rest, &open); open > 20 {
			return fmt.Errorf("%d connections are left", open)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	t.Logf("%d bad clients of %d kinds for 20 s: %d jobs acknowledged meanwhile, %d requests refused, slowest answer %v, %.0f MB at most",
		each*len(hostileClients), len(hostileClients), jobs, refusals, slowest.Round(time.Millisecond), peak)
	harness.CheckEachJobCountsOnce(t, receiver, senders, watch)
}

// behaving lets a client behave until the context ends or its connection does.
func behaving(ctx context.Context, c net.Conn, behave client) {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	defer c.Close()
	behave(ctx, c)
}
