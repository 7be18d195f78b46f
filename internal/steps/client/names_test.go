package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

// nameServer listens at a loopback address and answers each query after a time; a
// negative one: never. All names are at 127.9.6.1.
func nameServer(t *testing.T, after time.Duration) (at string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	t.Cleanup(func() {
		_ = conn.Close()
		<-over
	})
	go func() {
		defer close(over)
		query := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(query)
			if err != nil {
				return
			}
			if after < 0 {
				continue
			}
			reply := answerQuery(query[:size])
			time.AfterFunc(after, func() { _, _ = conn.WriteTo(reply, from) })
		}
	}()
	return conn.LocalAddr().String()
}

func answerQuery(query []byte) []byte {
	end := 12
	for query[end] != 0 {
		end += int(query[end]) + 1
	}
	end += 5
	reply := append([]byte(nil), query[:end]...)
	reply[2], reply[3] = 0x84|query[2]&1, 0x80
	copy(reply[6:12], make([]byte, 6))
	if binary.BigEndian.Uint16(query[end-4:]) == 1 { // A
		reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 9, 6, 1)
		reply[7] = 1
	}
	return reply
}

// asking has a dialer's queries, A and AAAA at once, go to the servers in turn.
func asking(d *dialer, servers ...string) {
	var queries atomic.Int32
	connect := d.names.connect
	d.names.connect = func(ctx context.Context, network, _ string) (net.Conn, error) {
		turn := int(queries.Add(1)-1) / 2
		return connect(ctx, network, servers[turn%len(servers)])
	}
}

// A name server that is silent is left for the next one, long before connecting must be over.
func TestSilentNameServer(t *testing.T) {
	t.Parallel()
	_, port, _ := net.SplitHostPort(listen(t, "127.9.6.1", "0"))
	d := newDialer()
	asking(d, nameServer(t, -1), nameServer(t, 0))
	start := time.Now()
	conn, err := d.dial(t.Context(), "tcp", "receiver.example.:"+port)
	if err != nil {
		t.Fatalf("after %v: %v", time.Since(start), err)
	}
	_ = conn.Close()
	if took := time.Since(start); took > firstNameServer*2 {
		t.Errorf("connected after %v", took)
	}
}

// Slow ones get their time in the end.
func TestSlowNameServer(t *testing.T) {
	t.Parallel()
	d := newDialer()
	asking(d, nameServer(t, firstNameServer*13/10))
	var failure *net.DNSError
	if _, err := d.lookUp(t.Context(), "ip", "receiver.example."); !errors.As(err, &failure) || !failure.IsTimeout {
		t.Fatalf("error %v, want a timeout", err)
	}
	ips, err := d.lookUp(t.Context(), "ip", "receiver.example.")
	if err != nil || fmt.Sprint(ips) != "[127.9.6.1]" {
		t.Errorf("found %v, error %v", ips, err)
	}
}

// The time for connecting begins when the addresses are known.
func TestLookUpHasItsOwnTime(t *testing.T) {
	t.Parallel()
	_, port, _ := net.SplitHostPort(listen(t, "127.9.6.2", "0"))
	d := newDialer()
	d.lookUp = func(ctx context.Context, _, _ string) ([]netip.Addr, error) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(dialTimeout * 21 / 20):
		}
		return []netip.Addr{netip.MustParseAddr("127.9.6.2")}, nil
	}
	connect(t, d, port)
}
