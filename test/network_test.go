package test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Addresses of a network. Each network is on its own, so all have the same.
const (
	receiverHost = "10.88.0.1"
	exporterHost = "10.88.0.100"
	nowhere      = "10.88.0.200" // and the ten that follow: whatever is sent there disappears
	receiverName = "receiver.example"
)

// A network has two hosts, each in a network namespace of its own, with a cable
// between: one for the receiver, one for its exporters.
type network struct {
	t         *testing.T
	receivers string // the namespaces
	exporters string
	dir       string
	names     *names
}

var networks atomic.Int32

func newNetwork(t *testing.T) *network {
	t.Helper()
	needRoot(t)
	need(t, "ip")
	need(t, "unshare")
	id := fmt.Sprintf("cjm%d-%d", os.Getpid()%10000, networks.Add(1))
	n := &network{t: t, receivers: id + "r", exporters: id + "e", dir: t.TempDir()}
	if err := os.Chmod(n.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, namespace := range []string{n.receivers, n.exporters} {
		if out, err := exec.Command("ip", "netns", "add", namespace).CombinedOutput(); err != nil {
			missing(t, fmt.Sprintf("ip netns add: %v: %s", err, out))
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", namespace).Run() })
	}
	n.ip(n.receivers, "link add r0 type veth peer name e0 netns "+n.exporters)
	n.ip(n.receivers, "link set lo up")
	n.ip(n.receivers, "addr add "+receiverHost+"/24 dev r0")
	n.ip(n.receivers, "link set r0 up")
	n.ip(n.exporters, "link set lo up")
	n.ip(n.exporters, "addr add "+exporterHost+"/24 dev e0")
	n.ip(n.exporters, "link set e0 up")
	for i := range 10 { // a known neighbour that isn't there: nobody says that it is unreachable
		n.ip(n.exporters, fmt.Sprintf("neigh add %s lladdr 02:00:00:00:00:99 dev e0 nud permanent", nowhereElse(i)))
	}
	n.names = newNames(t, n)
	if err := os.WriteFile(filepath.Join(n.dir, "resolv.conf"), []byte("nameserver "+receiverHost+"\noptions timeout:1 attempts:1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return n
}

func nowhereElse(i int) string { return fmt.Sprint("10.88.0.", 200+i) }

// ip runs ip(8) in a namespace.
func (n *network) ip(namespace, arguments string) {
	n.t.Helper()
	args := append([]string{"-n", namespace}, strings.Fields(arguments)...)
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

// silence lets nothing come back from the receivers' host, or ends that.
func (n *network) silence(on bool) {
	n.t.Helper()
	if on {
		n.ip(n.receivers, "route add blackhole "+exporterHost+"/32")
	} else {
		n.ip(n.receivers, "route del blackhole "+exporterHost+"/32")
	}
}

// within calls f on a thread that is in the namespace: sockets that f makes are there.
func (n *network) within(namespace string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		space, err := os.Open("/run/netns/" + namespace)
		if err == nil {
			defer space.Close()
			err = unix.Setns(int(space.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// listenAt listens on the receivers' host.
func (n *network) listenAt(address string) net.Listener {
	n.t.Helper()
	var l net.Listener
	if err := n.within(n.receivers, func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	}); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = l.Close() })
	return l
}

// dial connects from the receivers' host, where faults don't matter.
func (n *network) dial(address string) (conn net.Conn, err error) {
	err = n.within(n.receivers, func() (err error) {
		conn, err = net.DialTimeout("tcp", address, time.Second)
		return err
	})
	return conn, err
}

// fetch gets a page of the receiver.
func (n *network) fetch(url string) (string, error) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(_ context.Context, _, address string) (net.Conn, error) { return n.dial(address) },
	}}
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return string(body), err
}

// names is the name server of a network. It knows one name.
type names struct {
	mu        sync.Mutex
	addresses []string
	failure   int // 0: none; -1: no answer; else the answer's code
}

func newNames(t *testing.T, n *network) *names {
	t.Helper()
	s := &names{addresses: []string{receiverHost}}
	var conn net.PacketConn
	if err := n.within(n.receivers, func() (err error) {
		conn, err = net.ListenPacket("udp", receiverHost+":53")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		query := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(query)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil && size > 16 {
				if reply := s.reply(query[:size]); reply != nil {
					_, _ = conn.WriteTo(reply, from)
				}
			}
		}
	}()
	return s
}

func (s *names) set(failure int, addresses ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure, s.addresses = failure, addresses
}

// reply answers a query for the addresses of the name, whatever it is.
func (s *names) reply(query []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure < 0 {
		return nil
	}
	end := 12
	for end < len(query) && query[end] != 0 {
		end += int(query[end]) + 1
	}
	if end += 5; end > len(query) {
		return nil
	}
	kind := binary.BigEndian.Uint16(query[end-4:])
	reply := append([]byte(nil), query[:end]...)
	reply[2], reply[3] = 0x84|query[2]&1, byte(0x80|s.failure)
	copy(reply[6:12], make([]byte, 6))
	if s.failure != 0 || kind != 1 { // A
		return reply
	}
	for _, address := range s.addresses {
		reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		reply = append(reply, net.ParseIP(address).To4()...)
	}
	binary.BigEndian.PutUint16(reply[6:], uint16(len(s.addresses)))
	return reply
}
