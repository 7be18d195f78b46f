package test

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
)

// A street is a network with a receiver at one end and the pods of jobs at the other.
type street struct {
	*network
	service *service
	target  string // as exporters are given it
	pods    []*jobPod
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

func newStreet(t *testing.T) *street {
	n := newNetwork(t)
	s := &street{network: n, target: receiverName + ":" + receiverPort}
	s.service = &service{address: receiverHost + ":" + receiverPort, ledger: filepath.Join(n.dir, "ledger.db"), log: &logtest.Buffer{}}
	t.Cleanup(s.service.kill)
	return s
}

// serve starts the receiver.
func (s *street) serve() {
	s.t.Helper()
	args := append([]string{"netns", "exec", s.receivers}, s.service.arguments()...)
	s.service.launch(s.t, exec.Command("ip", args...)) // ip becomes the receiver: signals reach it
	if err := eventually(func() error {
		_, err := s.fetch(s.service.url("/-/ready"))
		return err
	}); err != nil {
		s.t.Fatalf("%v\n%s", err, s.service.excerpt())
	}
}

func (s *street) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.service.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// pod starts an exporter for one more job.
func (s *street) pod() *jobPod {
	s.t.Helper()
	p := &jobPod{t: s.t, name: fmt.Sprintf("job%d", len(s.pods)+1)}
	p.path = filepath.Join(s.dir, p.name, "metrics.json")
	if err := os.Mkdir(filepath.Dir(p.path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	s.pods = append(s.pods, p)
	s.start(p)
	return p
}

// start starts the exporter of a pod, in the exporters' namespace and with the
// network's own name server.
func (s *street) start(p *jobPod) {
	s.t.Helper()
	const enter = `mount --bind "$0" /etc/resolv.conf && exec "$@"`
	args := []string{"netns", "exec", s.exporters, "unshare", "-m", "sh", "-c", enter, filepath.Join(s.dir, "resolv.conf"),
		filepath.Join(programs, "exporter"), p.path, s.target}
	p.cmd, p.done = exec.Command("ip", args...), make(chan struct{})
	p.cmd.Stderr = &p.log
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "CI_SERVER_HOST=gitlab.example", "CI_JOB_ID=" + p.name,
		"CI_JOB_NAME=" + p.name, "CI_PROJECT_PATH=group/app", "HOSTNAME=pod"}
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	cmd, done := p.cmd, p.done
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
	})
	p.logs("waiting")
}

func (p *jobPod) logs(text string) {
	p.t.Helper()
	if err := eventually(func() error {
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
	case <-time.After(patience):
		p.t.Fatalf("it does not end:\n%s", p.log.String())
	}
}

// several starts pods whose jobs finish at once.
func (s *street) several(n int) []*jobPod {
	s.t.Helper()
	var all []*jobPod
	for range n {
		all = append(all, s.pod())
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
func (s *street) count(name string, took time.Duration) balance {
	s.t.Helper()
	page, err := s.fetch(s.service.url("/metrics"))
	if err != nil {
		s.t.Fatal(err)
	}
	b := balance{name: name, sent: len(s.pods), took: took}
	for _, p := range s.pods {
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
	*street
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
	to, err := r.dial(r.service.address)
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
		play   func(s *street) (pods []*jobPod, from time.Time)
	}{
		"receiver killed while it has the request, and restarted": {patience, func(s *street) ([]*jobPod, time.Time) {
			s.serve()
			s.signal(syscall.SIGSTOP)
			all := s.several(pods)
			time.Sleep(300 * time.Millisecond) // the requests are in its sockets
			s.service.kill()
			from := time.Now()
			s.serve()
			return all, from
		}},
		"receiver not there yet": {patience, func(s *street) ([]*jobPod, time.Time) {
			all := s.several(pods)
			all[0].logs("connection refused")
			s.serve()
			return all, time.Now()
		}},
		"answers disappear after it recorded": {patience, func(s *street) ([]*jobPod, time.Time) {
			s.serve()
			all := s.several(1) // over a connection that is there
			delivered(all)
			s.silence(true)
			all = append(all, s.several(pods-1)...)
			time.Sleep(1500 * time.Millisecond)
			s.silence(false)
			return all, time.Now()
		}},
		"receiver's host restarted, connection half-open": {patience, func(s *street) ([]*jobPod, time.Time) {
			s.serve()
			p := s.pod()
			p.finish()
			p.logs("msg=delivered")
			s.silence(true)
			s.service.kill() // its farewell is not heard
			time.Sleep(100 * time.Millisecond)
			s.silence(false)
			s.serve()
			second := &jobPod{t: s.t, name: "second", path: p.path}
			s.pods = append(s.pods, second)
			from := time.Now()
			if err := os.WriteFile(p.path, []byte(`{"status":"success"}{"name":"second","status":"success"}`), 0o644); err != nil {
				s.t.Fatal(err)
			}
			p.logs("gitlab.example/job1/second")
			return nil, from
		}},
		"five of six addresses lead nowhere": {2 * time.Second, func(s *street) ([]*jobPod, time.Time) {
			s.serve()
			addresses := []string{receiverHost}
			for i := range 5 {
				addresses = append([]string{nowhereElse(i)}, addresses...)
			}
			s.names.set(0, addresses...)
			from := time.Now()
			return s.several(pods), from
		}},
		"one of two addresses leads nowhere": {time.Second, func(s *street) ([]*jobPod, time.Time) {
			s.serve()
			s.names.set(0, nowhere, receiverHost)
			all := []*jobPod{s.pod()}
			from := time.Now()
			all[0].finish()
			return all, from
		}},
		"one of two addresses refuses": {time.Second, func(s *street) ([]*jobPod, time.Time) {
			s.serve()
			s.ip(s.receivers, "addr add 10.88.0.9/24 dev r0") // nobody listens there
			s.names.set(0, "10.88.0.9", receiverHost)
			all := []*jobPod{s.pod()}
			from := time.Now()
			all[0].finish()
			return all, from
		}},
		"one of two addresses answers 503": {time.Second, func(s *street) ([]*jobPod, time.Time) {
			s.serve()
			s.ip(s.receivers, "addr add 10.88.0.9/24 dev r0")
			busy := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })}
			s.t.Cleanup(func() { _ = busy.Close() })
			go busy.Serve(s.listenAt("10.88.0.9:" + receiverPort))
			s.names.set(0, "10.88.0.9", receiverHost)
			all := []*jobPod{s.pod()}
			from := time.Now()
			all[0].finish()
			all[0].logs("503 Service Unavailable")
			return all, from
		}},
		"one of two addresses hangs": {2 * time.Second, func(s *street) ([]*jobPod, time.Time) {
			s.serve()
			s.ip(s.receivers, "addr add 10.88.0.9/24 dev r0")
			s.listenAt("10.88.0.9:" + receiverPort) // connections are made, and nobody takes them
			s.names.set(0, "10.88.0.9", receiverHost)
			all := []*jobPod{s.pod()}
			from := time.Now()
			all[0].finish()
			all[0].logs("another address behind the name is tried")
			return all, from
		}},
		"name server fails, then answers": {patience, func(s *street) ([]*jobPod, time.Time) {
			s.serve()
			s.names.set(2) // SERVFAIL
			all := s.several(pods)
			all[0].logs("not delivered yet")
			s.names.set(3) // NXDOMAIN
			time.Sleep(300 * time.Millisecond)
			s.names.set(0, receiverHost)
			return all, time.Now()
		}},
		"name server silent, then answers": {patience, func(s *street) ([]*jobPod, time.Time) {
			s.serve()
			s.names.set(-1)
			all := s.several(pods)
			all[0].logs("not delivered yet")
			s.names.set(0, receiverHost)
			return all, time.Now()
		}},
		"connections reset in the middle of the request": {patience, func(s *street) ([]*jobPod, time.Time) {
			s.serve()
			s.target = receiverName + ":9"
			go (&resetting{street: s, resets: 2 * pods}).serve(s.listenAt(receiverHost + ":9"))
			return s.several(pods), time.Now()
		}},
		"connections reset in the middle of the answer": {patience, func(s *street) ([]*jobPod, time.Time) {
			s.serve()
			s.target = receiverName + ":9"
			go (&resetting{street: s, resets: 2 * pods, answers: true}).serve(s.listenAt(receiverHost + ":9"))
			return s.several(pods), time.Now()
		}},
		"cable unplugged, then plugged in": {patience, func(s *street) ([]*jobPod, time.Time) {
			s.serve()
			s.ip(s.exporters, "link set e0 down")
			all := s.several(pods)
			all[0].logs("not delivered yet")
			s.ip(s.exporters, "link set e0 up")
			return all, time.Now()
		}},
		"exporter killed between file and delivery, and restarted": {patience, func(s *street) ([]*jobPod, time.Time) {
			s.serve()
			s.signal(syscall.SIGSTOP)
			all := s.several(pods)
			time.Sleep(200 * time.Millisecond)
			for _, p := range all {
				p.end(syscall.SIGKILL)
			}
			s.signal(syscall.SIGCONT) // it may record what it has by now
			from := time.Now()
			for _, p := range all {
				s.start(p)
			}
			return all, from
		}},
		"exporter restarted after delivery": {patience, func(s *street) ([]*jobPod, time.Time) {
			s.serve()
			all := s.several(pods)
			delivered(all)
			from := time.Now()
			for _, p := range all {
				p.end(syscall.SIGKILL)
				s.start(p)
				p.logs("duplicates=1")
			}
			return all, from
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStreet(t)
			all, from := c.play(s)
			delivered(all)
			took := time.Since(from)
			b := s.count(name, took)
			mu.Lock()
			table = append(table, b)
			mu.Unlock()
			if b.recorded != b.sent || b.lost+b.twice > 0 {
				t.Errorf("%+v\n%s", b, s.pods[0].log.String())
			}
			if took > c.within {
				t.Errorf("it took %v\n%s", took, s.pods[0].log.String())
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
