package receiver_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// keepOpen makes a request and leaves the connection open.
func (r *running) keepOpen(t *testing.T) net.Conn {
	t.Helper()
	c := r.dial(t)
	fmt.Fprint(c, "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
	if response, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", response, err)
	}
	return c
}

func (r *running) metric(t *testing.T, name string) (value float64) {
	t.Helper()
	_, page := r.get(t, "/metrics/self")
	_, rest, _ := strings.Cut(page, "\n"+name+" ")
	if _, err := fmt.Sscan(rest, &value); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return value
}

// However many connections wait for nothing, whoever has a request is served.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	o := options(ledgerPath(t), "127.0.0.1:0")
	o.MaxConnections = 200
	r := start(t, o)
	for range 1000 {
		r.keepOpen(t)
		if n := r.metric(t, "cijob_receiver_connections"); n > 251 {
			t.Fatalf("%v connections are open", n)
		}
	}
	r.want(t, "/steps?name=n&project=p&status=success", 200, `"recorded":1`)
	if n := r.metric(t, "cijob_receiver_connections_refused_total"); n > 0 {
		t.Errorf("%v were turned away", n)
	}
}

// Connections in the middle of a request are not closed for others, so there is an end
// to them, until their time is over.
func TestBusyConnections(t *testing.T) {
	t.Parallel()
	o := options(ledgerPath(t), "127.0.0.1:0")
	o.MaxConnections = 20
	r := start(t, o)
	slow := make([]net.Conn, 40)
	for i := range slow {
		slow[i] = r.dial(t)
		fmt.Fprint(slow[i], "POST /steps HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	}
	answered, cut := 0, 0
	for _, c := range slow { // 25 may stay, and are answered when their time is over
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		switch {
		case err != nil:
			cut++
		case response.StatusCode == http.StatusRequestTimeout:
			answered++
		default:
			t.Errorf("answered %s", response.Status)
		}
	}
	if answered != 25 || cut != 15 {
		t.Errorf("%d answered, %d cut off", answered, cut)
	}
	// The server closes a connection half a second after the answer to an unfinished request.
	// Until then it refuses this test's own connection too.
	refused := cut
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		response, err := r.client.Get(r.url + "/-/healthy")
		if err != nil {
			refused++
		} else if response.Body.Close(); r.metric(t, "cijob_receiver_connections") <= 3 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("connections are left")
		}
	}
	r.want(t, "/steps?name=n&project=p&status=success", 200, `"recorded":1`)
	if n := r.metric(t, "cijob_receiver_connections_refused_total"); n != float64(refused) {
		t.Errorf("%v were turned away, want %d", n, refused)
	}
}

// A body that never ends costs its sender the connection, and one of a form that can't
// be read is refused before it is read.
func TestEndlessAndEncodedBodies(t *testing.T) {
	t.Parallel()
	r := start(t, options(ledgerPath(t), "127.0.0.1:0"))
	endless := r.dial(t)
	go func() {
		fmt.Fprint(endless, "POST /steps HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")
		chunk := fmt.Sprintf("1000\r\n%s\r\n", strings.Repeat(" ", 0x1000))
		for {
			if _, err := endless.Write([]byte(chunk)); err != nil {
				return // cut off, at last
			}
		}
	}()
	response, err := http.ReadResponse(bufio.NewReader(endless), nil)
	if err != nil || response.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("endless: %v, %v", response, err)
	}

	encoded := r.dial(t)
	fmt.Fprint(encoded, "POST /steps HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 1000000000\r\n\r\n\x1f\x8b")
	response, err = http.ReadResponse(bufio.NewReader(encoded), nil)
	if err != nil || response.StatusCode != http.StatusUnsupportedMediaType || response.Header.Get("Accept-Encoding") != "identity" {
		t.Errorf("gzip: %v, %v", response, err)
	}
	r.want(t, "/steps?name=n&project=p&status=success", 200, `"recorded":1`)
}

// Who sends requests and never reads the answers is cut off by time, and holds nobody up
// until then.
func TestDeafClient(t *testing.T) {
	t.Parallel()
	r := start(t, options(ledgerPath(t), "127.0.0.1:0"))
	deaf := r.dial(t)
	if err := deaf.(*net.TCPConn).SetReadBuffer(1024); err != nil {
		t.Fatal(err)
	}
	var sent int
	for line := "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"; ; sent++ {
		if err := deaf.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprint(deaf, line); err != nil {
			break // the receiver takes no more of them
		}
		if sent > 1_000_000 {
			t.Fatal("it reads on and on")
		}
	}
	r.want(t, "/steps?name=n&project=p&status=success", 200, `"recorded":1`)
}
