package client

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// listen accepts connections at a loopback address and never answers.
func listen(t *testing.T, ip, port string) (at string) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
		}
	}()
	return l.Addr().String()
}

// behind is a dialer for which every name has these addresses.
func behind(ips ...string) *dialer {
	d := newDialer()
	d.lookUp = func(context.Context, string, string) (all []netip.Addr, err error) {
		for _, ip := range ips {
			all = append(all, netip.MustParseAddr(ip))
		}
		return all, nil
	}
	return d
}

func connect(t *testing.T, d *dialer, port string) (to string, took time.Duration) {
	t.Helper()
	start := time.Now()
	conn, err := d.dial(t.Context(), "tcp", "receiver:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
	return host, time.Since(start)
}

// An address that refuses costs nothing, and comes last the next time.
func TestRefusingAddresses(t *testing.T) {
	t.Parallel()
	_, port, _ := net.SplitHostPort(listen(t, "127.9.0.5", "0"))
	d := behind("127.9.0.1", "127.9.0.2", "127.9.0.3", "127.9.0.4", "127.9.0.5")
	for range 2 {
		if to, took := connect(t, d, port); to != "127.9.0.5" || took > stagger {
			t.Errorf("connected to %s after %v", to, took)
		}
	}
	if got := d.order([]string{"127.9.0.1:" + port, "127.9.0.5:" + port}); got[0] != "127.9.0.5:"+port {
		t.Errorf("the next order is %v", got)
	}
}

// What did not deliver is tried last, until the others fail too.
func TestBlame(t *testing.T) {
	t.Parallel()
	_, port, _ := net.SplitHostPort(listen(t, "127.9.1.1", "0"))
	listen(t, "127.9.1.2", port)
	d := behind("127.9.1.1", "127.9.1.2")
	var visited []string
	for range 4 {
		to, _ := connect(t, d, port)
		visited = append(visited, to[len(to)-1:])
		if !d.blame() {
			t.Error("no others")
		}
	}
	if got := strings.Join(visited, ""); got != "1212" {
		t.Errorf("visited %s", got)
	}
	one := behind("127.9.1.1")
	connect(t, one, port)
	if one.blame() {
		t.Error("there are no others")
	}
}

func TestFamiliesAlternate(t *testing.T) {
	t.Parallel()
	var ips []netip.Addr
	for _, ip := range []string{"2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2"} {
		ips = append(ips, netip.MustParseAddr(ip))
	}
	var got []string
	for _, ip := range alternate(ips) {
		got = append(got, ip.String())
	}
	if want := "2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 2001:db8::3"; strings.Join(got, " ") != want {
		t.Errorf("got %v", got)
	}
	if len(alternate(nil)) != 0 {
		t.Error("something from nothing")
	}
}

func TestDialErrors(t *testing.T) {
	t.Parallel()
	if _, err := behind().dial(t.Context(), "tcp", "receiver:1"); err == nil || !strings.Contains(err.Error(), "no addresses") {
		t.Errorf("error %v", err)
	}
	if _, err := behind().dial(t.Context(), "tcp", "receiver"); err == nil {
		t.Error("no port, no error")
	}
	d := newDialer()
	d.lookUp = func(context.Context, string, string) ([]netip.Addr, error) { return nil, errors.New("no DNS") }
	if _, err := d.dial(t.Context(), "tcp", "receiver:1"); err == nil || err.Error() != "no DNS" {
		t.Errorf("error %v", err)
	}
	if _, err := behind("127.9.2.1", "127.9.2.2").dial(t.Context(), "tcp", "receiver:1"); err == nil ||
		!strings.Contains(err.Error(), "127.9.2.1:1: connect: connection refused") {
		t.Errorf("error %v, want the first", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := behind("127.9.3.1").dial(ctx, "tcp", "receiver:1"); err == nil {
		t.Error("connected though it was cancelled")
	}
}

// What wasn't tried because the time was over did not fail.
func TestNoneIsTriedWhenTheTimeIsOver(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	d := behind("127.9.7.1", "127.9.7.2", "127.9.7.3")
	var mu sync.Mutex
	var tried []string
	d.ControlContext = func(ctx context.Context, _, address string, _ syscall.RawConn) error {
		mu.Lock()
		tried = append(tried, address)
		mu.Unlock()
		time.AfterFunc(stagger/5, cancel) // before the next one's turn
		<-ctx.Done()
		return ctx.Err()
	}
	if _, err := d.dial(ctx, "tcp", "receiver:1"); err == nil {
		t.Error("connected though it was cancelled")
	}
	mu.Lock()
	defer mu.Unlock()
	if want := "[127.9.7.1:1]"; fmt.Sprint(tried) != want || fmt.Sprint(d.failed) != want {
		t.Errorf("tried %v, failed %v; want %s", tried, d.failed, want)
	}
}

// Where there are several addresses, one that doesn't answer soon is left for the next;
// but when all are slow they get their time.
func TestSlowAddresses(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var hosts []string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		mu.Lock()
		hosts = append(hosts, at.(*net.TCPAddr).IP.String())
		mu.Unlock()
		time.Sleep(firstChance * 13 / 10)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"recorded":1,"duplicates":0}`))
	}))
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	c, err := New(fmt.Sprintf("receiver:%d", l.Addr().(*net.TCPAddr).Port), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.dialer.lookUp = behind("127.9.4.1", "127.9.4.2").lookUp
	small, large := []json.RawMessage{[]byte(`{}`)}, []json.RawMessage{[]byte(`{"a":"` + strings.Repeat("x", smallRequest) + `"}`)}
	for i, step := range []struct {
		items []json.RawMessage
		want  error
	}{{small, errLate}, {small, nil}, {large, nil}, {small, errLate}} {
		if _, err := c.Send(t.Context(), step.items); !errors.Is(err, step.want) {
			t.Errorf("attempt %d: error %v, want %v", i+1, err, step.want)
		}
	}
	server.Close() // all handlers are over
	if got := strings.Join(hosts, " "); got != "127.9.4.1 127.9.4.2 127.9.4.2 127.9.4.2" {
		t.Errorf("asked %s", got)
	}
}

// So is one that takes the connection and doesn't even speak TLS.
func TestAddressWithoutHandshake(t *testing.T) {
	t.Parallel()
	_, port, _ := net.SplitHostPort(listen(t, "127.9.5.1", "0"))
	l, err := net.Listen("tcp", net.JoinHostPort("127.9.5.2", port))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"recorded":1,"duplicates":0}`))
	}))
	_ = server.Listener.Close()
	server.Listener = l
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := New("https://example.com:"+port, Options{CAFile: ca})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.dialer.lookUp = behind("127.9.5.1", "127.9.5.2").lookUp
	start := time.Now()
	items := []json.RawMessage{[]byte(`{}`)}
	if _, err := c.Send(t.Context(), items); !errors.Is(err, errLate) {
		t.Errorf("error %v, want %v", err, errLate)
	}
	if _, err := c.Send(t.Context(), items); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 2*firstChance {
		t.Errorf("delivered after %v", took)
	}
}
