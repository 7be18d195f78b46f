// Package exporter_test plays the ways in which jobs end and networks fail, with real exporters.
package exporter_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ci-jobs-metrics/internal/logtest"
	"ci-jobs-metrics/test/internal/harness"
	"ci-jobs-metrics/test/internal/harness/network"
)

// A street is a network with a receiver at one end and the pods of jobs at the other.
type jobNetwork struct {
	*network.Network
	receiver *harness.Receiver
	target   string // as exporters are given it
	pods     []*jobPod
}

// A jobPod is an exporter with its job.
type jobPod struct {
	t    *testing.T
	name string
	path string
	cmd  *exec.Cmd
	log  logtest.Buffer
	done chan struct{}
}

const receiverPort = "8080"

func newJobNetwork(t *testing.T) *jobNetwork {
	n := &jobNetwork{Network: network.New(t), target: network.ReceiverName + ":" + receiverPort}
	n.receiver = harness.NewReceiverAt(t, network.ReceiverHost+":"+receiverPort, n.Dir)
	return n
}

// serve starts the receiver.
func (n *jobNetwork) serve() {
	n.T.Helper()
	args := append([]string{"netns", "exec", n.Receivers}, n.receiver.Arguments()...)
	n.receiver.Launch(n.T, exec.Command("ip", args...)) // ip becomes the receiver: signals reach it
	if err := harness.Eventually(func() error {
		_, err := n.Fetch(n.receiver.URL("/-/ready"))
		return err
	}); err != nil {
		n.T.Fatalf("%v\n%s", err, n.receiver.LogExcerpt())
	}
}

func (n *jobNetwork) signal(sig syscall.Signal) {
	n.T.Helper()
	if err := n.receiver.Cmd.Process.Signal(sig); err != nil {
		n.T.Fatal(err)
	}
}

// pod starts an exporter for one more job.
func (n *jobNetwork) pod() *jobPod {
	n.T.Helper()
	p := &jobPod{t: n.T, name: fmt.Sprintf("job%d", len(n.pods)+1)}
	p.path = filepath.Join(n.Dir, p.name, "metrics.json")
	if err := os.Mkdir(filepath.Dir(p.path), 0o755); err != nil {
		n.T.Fatal(err)
	}
	n.pods = append(n.pods, p)
	n.start(p)
	return p
}

// start starts the exporter of a pod, in the exporters' namespace and with the
// network's own name server.
func (n *jobNetwork) start(p *jobPod) {
	n.T.Helper()
	const enter = `mount --bind "$0" /etc/resolv.conf && exec "$@"`
	args := []string{"netns", "exec", n.Exporters, "unshare", "-m", "sh", "-c", enter, filepath.Join(n.Dir, "resolv.conf"),
		harness.Program(n.T, "exporter"), p.path, n.target}
	p.cmd, p.done = exec.Command("ip", args...), make(chan struct{})
	p.cmd.Stderr = &p.log
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "CI_SERVER_HOST=gitlab.example", "CI_JOB_ID=" + p.name,
		"CI_JOB_NAME=" + p.name, "CI_PROJECT_PATH=group/app", "HOSTNAME=pod"}
	if err := p.cmd.Start(); err != nil {
		n.T.Fatal(err)
	}
	cmd, done := p.cmd, p.done
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	n.T.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
	})
	p.logs("waiting")
}

func (p *jobPod) logs(text string) {
	p.t.Helper()
	if err := harness.Eventually(func() error {
		if !strings.Contains(p.log.String(), text) {
			return fmt.Errorf("no %q in the log:\n%s", text, p.log.String())
		}
		return nil
	}); err != nil {
		p.t.Fatal(err)
	}
}

// finish is what the job's after_script does.
func (p *jobPod) finish() {
	p.t.Helper()
	if err := os.WriteFile(p.path, []byte(`{"status":"success"}`), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// end ends the exporter with a signal.
func (p *jobPod) end(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(harness.Patience):
		p.t.Fatalf("it does not end:\n%s", p.log.String())
	}
}

// several starts pods whose jobs finish at once.
func (n *jobNetwork) several(count int) []*jobPod {
	n.T.Helper()
	var all []*jobPod
	for range count {
		all = append(all, n.pod())
	}
	for _, p := range all {
		p.finish()
	}
	return all
}

// delivered waits until all exporters say so.
func delivered(pods []*jobPod) {
	for _, p := range pods {
		p.t.Helper()
		p.logs("msg=delivered")
	}
}

// A balance is what became of the jobs of a scenario.
type balance struct {
	name                        string
	sent, recorded, lost, twice int
	took                        time.Duration // from the end of the fault, or of the job if there was none
}

// count asks the receiver, of which it is known that all was delivered.
func (n *jobNetwork) count(name string, took time.Duration) balance {
	n.T.Helper()
	page, err := n.Fetch(n.receiver.URL("/metrics"))
	if err != nil {
		n.T.Fatal(err)
	}
	b := balance{name: name, sent: len(n.pods), took: took}
	for _, p := range n.pods {
		var n int
		for line := range strings.Lines(page) {
			if rest, ok := strings.CutPrefix(line, "ci_"+p.name+`_total{project="group/app",status="success"} `); ok {
				_, _ = fmt.Sscan(rest, &n)
			}
		}
		switch {
		case n == 0:
			b.lost++
		case n > 1:
			b.twice++
		}
		b.recorded += min(n, 1)
	}
	return b
}

// resetting passes connections on to the receiver, and resets the first few: before
// the request is whole, or when its answer is there.
type resetting struct {
	*jobNetwork
	resets  int32
	answers bool // the receiver has recorded by then
	seen    atomic.Int32
}

func (r *resetting) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go r.handle(conn)
	}
}

func (r *resetting) handle(conn net.Conn) {
	defer conn.Close()
	first := r.seen.Add(1) <= r.resets
	if first && !r.answers {
		_, _ = io.ReadFull(conn, make([]byte, 40))
		_ = conn.(*net.TCPConn).SetLinger(0) // closing sends a reset
		return
	}
	to, err := r.Dial(r.receiver.Address)
	if err != nil {
		return
	}
	defer to.Close()
	go func() { _, _ = io.Copy(to, conn) }()
	if first {
		_, _ = io.ReadFull(to, make([]byte, 20))
		_ = conn.(*net.TCPConn).SetLinger(0)
		return
	}
	_, _ = io.Copy(conn, to)
}

// Whatever the network does, each job is recorded exactly once.
func TestNetworkFaults(t *testing.T) {
	t.Parallel()
	const pods = 3
	var mu sync.Mutex
	var table []balance
	t.Cleanup(func() {
		slices.SortFunc(table, func(a, b balance) int { return strings.Compare(a.name, b.name) })
		var text strings.Builder
		fmt.Fprintf(&text, "%-58s %5s %9s %5s %6s %9s\n", "network fault", "sent", "recorded", "lost", "twice", "after")
		for _, b := range table {
			fmt.Fprintf(&text, "%-58s %5d %9d %5d %6d %9v\n", b.name, b.sent, b.recorded, b.lost, b.twice, b.took.Round(10*time.Millisecond))
		}
		t.Logf("what became of jobs:\n%s", text.String())
	})
	for name, c := range map[string]struct {
		within time.Duration // for delivery, from what play returns
		play   func(n *jobNetwork) (pods []*jobPod, from time.Time)
	}{
		"receiver killed while it has the request, and restarted": {harness.Patience, func(n *jobNetwork) ([]*jobPod, time.Time) {
			n.serve()
			n.signal(syscall.SIGSTOP)
			all := n.several(pods)
			time.Sleep(300 * time.Millisecond) // the requests are in its sockets
			n.receiver.Kill()
			from := time.Now()
			n.serve()
			return all, from
		}},
		"receiver not there yet": {harness.Patience, func(n *jobNetwork) ([]*jobPod, time.Time) {
			all := n.several(pods)
			all[0].logs("connection refused")
			n.serve()
			return all, time.Now()
		}},
		"answers disappear after it recorded": {harness.Patience, func(n *jobNetwork) ([]*jobPod, time.Time) {
			n.serve()
			all := n.several(1) // over a connection that is there
			delivered(all)
			n.DropReplies(true)
			all = append(all, n.several(pods-1)...)
			time.Sleep(1500 * time.Millisecond)
			n.DropReplies(false)
			return all, time.Now()
		}},
		"receiver's host restarted, connection half-open": {harness.Patience, func(n *jobNetwork) ([]*jobPod, time.Time) {
			n.serve()
			p := n.pod()
			p.finish()
			p.logs("msg=delivered")
			n.DropReplies(true)
			n.receiver.Kill() // its farewell is not heard
			time.Sleep(100 * time.Millisecond)
			n.DropReplies(false)
			n.serve()
			second := &jobPod{t: n.T, name: "second", path: p.path}
			n.pods = append(n.pods, second)
			from := time.Now()
			if err := os.WriteFile(p.path, []byte(`{"status":"success"}{"name":"second","status":"success"}`), 0o644); err != nil {
				n.T.Fatal(err)
			}
			p.logs("gitlab.example/job1/second")
			return nil, from
		}},
		"five of six addresses lead nowhere": {2 * time.Second, func(n *jobNetwork) ([]*jobPod, time.Time) {
			n.serve()
			addresses := []string{network.ReceiverHost}
			for i := range 5 {
				addresses = append([]string{network.UnreachableAt(i)}, addresses...)
			}
			n.Names.Set(0, addresses...)
			from := time.Now()
			return n.several(pods), from
		}},
		"one of two addresses leads nowhere": {time.Second, func(n *jobNetwork) ([]*jobPod, time.Time) {
			n.serve()
			n.Names.Set(0, network.Unreachable, network.ReceiverHost)
			all := []*jobPod{n.pod()}
			from := time.Now()
			all[0].finish()
			return all, from
		}},
		"one of two addresses refuses": {time.Second, func(n *jobNetwork) ([]*jobPod, time.Time) {
			n.serve()
			n.IP(n.Receivers, "addr add 10.88.0.9/24 dev r0") // nobody listens there
			n.Names.Set(0, "10.88.0.9", network.ReceiverHost)
			all := []*jobPod{n.pod()}
			from := time.Now()
			all[0].finish()
			return all, from
		}},
		"one of two addresses answers 503": {time.Second, func(n *jobNetwork) ([]*jobPod, time.Time) {
			n.serve()
			n.IP(n.Receivers, "addr add 10.88.0.9/24 dev r0")
			busy := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })}
			n.T.Cleanup(func() { _ = busy.Close() })
			go busy.Serve(n.Listen("10.88.0.9:" + receiverPort))
			n.Names.Set(0, "10.88.0.9", network.ReceiverHost)
			all := []*jobPod{n.pod()}
			from := time.Now()
			all[0].finish()
			all[0].logs("503 Service Unavailable")
			return all, from
		}},
		"one of two addresses hangs": {2 * time.Second, func(n *jobNetwork) ([]*jobPod, time.Time) {
			n.serve()
			n.IP(n.Receivers, "addr add 10.88.0.9/24 dev r0")
			n.Listen("10.88.0.9:" + receiverPort) // connections are made, and nobody takes them
			n.Names.Set(0, "10.88.0.9", network.ReceiverHost)
			all := []*jobPod{n.pod()}
			from := time.Now()
			all[0].finish()
			all[0].logs("another address behind the name is tried")
			return all, from
		}},
		"name server fails, then answers": {harness.Patience, func(n *jobNetwork) ([]*jobPod, time.Time) {
			n.serve()
			n.Names.Set(2) // SERVFAIL
			all := n.several(pods)
			all[0].logs("not delivered yet")
			n.Names.Set(3) // NXDOMAIN
			time.Sleep(300 * time.Millisecond)
			n.Names.Set(0, network.ReceiverHost)
			return all, time.Now()
		}},
		"name server silent, then answers": {harness.Patience, func(n *jobNetwork) ([]*jobPod, time.Time) {
			n.serve()
			n.Names.Set(-1)
			all := n.several(pods)
			all[0].logs("not delivered yet")
			n.Names.Set(0, network.ReceiverHost)
			return all, time.Now()
		}},
		"connections reset in the middle of the request": {harness.Patience, func(n *jobNetwork) ([]*jobPod, time.Time) {
			n.serve()
			n.target = network.ReceiverName + ":9"
			go (&resetting{jobNetwork: n, resets: 2 * pods}).serve(n.Listen(network.ReceiverHost + ":9"))
			return n.several(pods), time.Now()
		}},
		"connections reset in the middle of the answer": {harness.Patience, func(n *jobNetwork) ([]*jobPod, time.Time) {
			n.serve()
			n.target = network.ReceiverName + ":9"
			go (&resetting{jobNetwork: n, resets: 2 * pods, answers: true}).serve(n.Listen(network.ReceiverHost + ":9"))
			return n.several(pods), time.Now()
		}},
		"cable unplugged, then plugged in": {harness.Patience, func(n *jobNetwork) ([]*jobPod, time.Time) {
			n.serve()
			n.IP(n.Exporters, "link set e0 down")
			all := n.several(pods)
			all[0].logs("not delivered yet")
			n.IP(n.Exporters, "link set e0 up")
			return all, time.Now()
		}},
		"exporter killed between file and delivery, and restarted": {harness.Patience, func(n *jobNetwork) ([]*jobPod, time.Time) {
			n.serve()
			n.signal(syscall.SIGSTOP)
			all := n.several(pods)
			time.Sleep(200 * time.Millisecond)
			for _, p := range all {
				p.end(syscall.SIGKILL)
			}
			n.signal(syscall.SIGCONT) // it may record what it has by now
			from := time.Now()
			for _, p := range all {
				n.start(p)
			}
			return all, from
		}},
		"exporter restarted after delivery": {harness.Patience, func(n *jobNetwork) ([]*jobPod, time.Time) {
			n.serve()
			all := n.several(pods)
			delivered(all)
			from := time.Now()
			for _, p := range all {
				p.end(syscall.SIGKILL)
				n.start(p)
				p.logs("duplicates=1")
			}
			return all, from
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newJobNetwork(t)
			all, from := c.play(n)
			delivered(all)
			took := time.Since(from)
			b := n.count(name, took)
			mu.Lock()
			table = append(table, b)
			mu.Unlock()
			if b.recorded != b.sent || b.lost+b.twice > 0 {
				t.Errorf("%+v\n%s", b, n.pods[0].log.String())
			}
			if took > c.within {
				t.Errorf("it took %v\n%s", took, n.pods[0].log.String())
			}
			for _, p := range all {
				p.end(syscall.SIGTERM)
				if code := p.cmd.ProcessState.ExitCode(); code != 0 {
					t.Errorf("exit code %d\n%s", code, p.log.String())
				}
			}
		})
	}
}
