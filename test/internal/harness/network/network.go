// Package network builds networks of two hosts that tests can break: one for a receiver, one
// for its exporters, each in a network namespace. It needs root, ip and unshare.
//
//	n := network.New(t)
//	n.DropReplies(true)
//	n.Names.Set(0, network.Unreachable, network.ReceiverHost)
package network

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

	"ci-jobs-metrics/test/internal/harness"
)

// All networks have the same addresses. No network reaches another.
const (
	ReceiverHost = "10.88.0.1"
	exporterHost = "10.88.0.100"
	Unreachable  = "10.88.0.200" // it and the ten after it drop all packets
	ReceiverName = "receiver.example"
)

// A Network has two hosts with a cable between them. Each host is a network namespace.
type Network struct {
	T         *testing.T
	Receivers string // the namespaces
	Exporters string
	Dir       string
	Names     *NameServer
}

var networks atomic.Int32

// New returns a network that exists until the test ends.
func New(t *testing.T) *Network {
	t.Helper()
	harness.NeedRoot(t)
	harness.NeedProgram(t, "ip")
	harness.NeedProgram(t, "unshare")
	id := fmt.Sprintf("cjm%d-%d", os.Getpid()%10000, networks.Add(1))
	n := &Network{T: t, Receivers: id + "r", Exporters: id + "e", Dir: t.TempDir()}
	if err := os.Chmod(n.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, namespace := range []string{n.Receivers, n.Exporters} {
		if out, err := exec.Command("ip", "netns", "add", namespace).CombinedOutput(); err != nil {
			harness.Missing(t, fmt.Sprintf("ip netns add: %v: %s", err, out))
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", namespace).Run() })
	}
	n.IP(n.Receivers, "link add r0 type veth peer name e0 netns "+n.Exporters)
	n.IP(n.Receivers, "link set lo up")
	n.IP(n.Receivers, "addr add "+ReceiverHost+"/24 dev r0")
	n.IP(n.Receivers, "link set r0 up")
	n.IP(n.Exporters, "link set lo up")
	n.IP(n.Exporters, "addr add "+exporterHost+"/24 dev e0")
	n.IP(n.Exporters, "link set e0 up")
	for i := range 10 { // a permanent neighbour that does not exist, so no ICMP error reports it
		n.IP(n.Exporters, fmt.Sprintf("neigh add %s lladdr 02:00:00:00:00:99 dev e0 nud permanent", UnreachableAt(i)))
	}
	n.Names = newNameServer(t, n)
	if err := os.WriteFile(filepath.Join(n.Dir, "resolv.conf"), []byte("nameserver "+ReceiverHost+"\noptions timeout:1 attempts:1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return n
}

// UnreachableAt returns the address i, from 0 to 9, that drops all packets.
func UnreachableAt(i int) string { return fmt.Sprint("10.88.0.", 200+i) }

// IP runs ip(8) in a namespace.
func (n *Network) IP(namespace, arguments string) {
	n.T.Helper()
	args := append([]string{"-n", namespace}, strings.Fields(arguments)...)
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.T.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

// DropReplies drops all packets that the receivers' host sends, or ends that.
func (n *Network) DropReplies(on bool) {
	n.T.Helper()
	if on {
		n.IP(n.Receivers, "route add blackhole "+exporterHost+"/32")
	} else {
		n.IP(n.Receivers, "route del blackhole "+exporterHost+"/32")
	}
}

// within calls f on a thread that is in the namespace. Sockets of f are in the namespace too.
func (n *Network) within(namespace string, f func() error) error {
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

// Listen listens on the receivers' host, until the test ends.
func (n *Network) Listen(address string) net.Listener {
	n.T.Helper()
	var l net.Listener
	if err := n.within(n.Receivers, func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	}); err != nil {
		n.T.Fatal(err)
	}
	n.T.Cleanup(func() { _ = l.Close() })
	return l
}

// Dial connects from the receivers' host, which no fault affects.
func (n *Network) Dial(address string) (conn net.Conn, err error) {
	err = n.within(n.Receivers, func() (err error) {
		conn, err = net.DialTimeout("tcp", address, time.Second)
		return err
	})
	return conn, err
}

// Fetch returns a page of the receiver. Every status but 200 is an error.
func (n *Network) Fetch(url string) (string, error) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(_ context.Context, _, address string) (net.Conn, error) { return n.Dial(address) },
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

// A NameServer answers every query of a network with the same addresses.
type NameServer struct {
	mu        sync.Mutex
	addresses []string
	failure   int // 0: no failure; -1: no answer; else the code of the answer
}

func newNameServer(t *testing.T, n *Network) *NameServer {
	t.Helper()
	s := &NameServer{addresses: []string{ReceiverHost}}
	var conn net.PacketConn
	if err := n.within(n.Receivers, func() (err error) {
		conn, err = net.ListenPacket("udp", ReceiverHost+":53")
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

// Set changes the answers. failure is 0 for addresses, -1 for no answer, or the code of a DNS
// error.
func (s *NameServer) Set(failure int, addresses ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure, s.addresses = failure, addresses
}

// reply answers a query for the addresses of any name.
func (s *NameServer) reply(query []byte) []byte {
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
