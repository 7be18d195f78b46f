package harness

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ci-jobs-metrics/internal/logtest"
)

// Dial opens a connection, which is closed when the test ends.
func (r *Receiver) Dial(t *testing.T) (net.Conn, error) {
	c, err := net.Dial("tcp", r.Address)
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// PeakMemory returns the most resident memory that the program has had, in MB.
func (r *Receiver) PeakMemory(t *testing.T) (mb float64) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kb float64
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		t.Fatal(err)
	}
	return kb / 1024
}

// A Receiver is a receiver program that tests kill and start again on the same ledger and
// address. Its methods are for one goroutine at a time.
type Receiver struct {
	program string          // path of the executable
	Address string          // host:port
	Ledger  string          // path of the ledger's file
	Log     *logtest.Buffer // of all starts together
	Cmd     *exec.Cmd       // nil: it does not run
	Ended   chan struct{}   // closed when the program has ended
}

// NewReceiver returns a receiver with its ledger in a new directory. It does not start it.
func NewReceiver(t *testing.T) *Receiver {
	t.Helper()
	return NewReceiverIn(t, t.TempDir())
}

// NewReceiverIn returns a receiver with its ledger in the given directory.
func NewReceiverIn(t *testing.T, dir string) *Receiver {
	t.Helper()
	address, err := OwnAddress()
	if err != nil {
		t.Fatal(err)
	}
	return NewReceiverAt(t, address, dir)
}

// NewReceiverAt returns a receiver with the given address and the directory of its ledger.
func NewReceiverAt(t *testing.T, address, dir string) *Receiver {
	t.Helper()
	receiver := &Receiver{program: Program(t, "receiver"), Address: address, Ledger: filepath.Join(dir, "ledger.db"), Log: &logtest.Buffer{}}
	t.Cleanup(receiver.Kill)
	return receiver
}

var loopbackHosts atomic.Uint32 // loopback addresses that were given away

// OwnAddress returns a free port of a loopback address that nothing else uses. Another
// connection could take a port of 127.0.0.1 while the receiver is dead. Packages of tests run
// at the same time, so the address has the process id in it.
func OwnAddress() (string, error) {
	n := loopbackHosts.Add(1)
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+os.Getpid()>>6&0x7f, os.Getpid()&0x3f<<2|int(n>>8&3), n&0xff))
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// URL returns the address of a path.
func (r *Receiver) URL(path string) string { return "http://" + r.Address + path }

// Arguments returns the command line: the program, then its flags.
func (r *Receiver) Arguments() []string {
	return []string{r.program, "--ledger=sqlite:" + r.Ledger, "--web.listen-address=" + r.Address}
}

// LogExcerpt returns the log, without its middle if it is long.
func (r *Receiver) LogExcerpt() string {
	const most = 20
	lines := strings.Split(r.Log.String(), "\n")
	if len(lines) > 2*most {
		lines = slices.Concat(lines[:most], []string{"[…]"}, lines[len(lines)-most:])
	}
	return strings.Join(lines, "\n")
}

// Start starts the program and waits until it is ready. A wrapper is a command that runs the
// program, such as strace.
func (r *Receiver) Start(t *testing.T, wrapper ...string) {
	t.Helper()
	args := slices.Concat(wrapper, r.Arguments())
	r.Launch(t, exec.Command(args[0], args[1:]...))
	if err := r.WaitReady(); err != nil {
		t.Fatalf("%v\n%s", err, r.LogExcerpt())
	}
}

// Launch starts the program as the given command. It does not wait.
func (r *Receiver) Launch(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.Stdout, cmd.Stderr = r.Log, r.Log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	r.Cmd, r.Ended = cmd, ended
	go func() {
		_ = cmd.Wait() // its ProcessState has the result
		close(ended)
	}()
}

var errEnded = errors.New("the program has ended")

// WaitReady waits until the program is ready. It returns an error if the program ends before.
func (r *Receiver) WaitReady() error {
	var gone bool
	err := Eventually(func() error {
		_, err := Fetch(r.URL("/-/ready"))
		select {
		case <-r.Ended:
			gone = true
			return nil
		default:
			return err
		}
	})
	if gone {
		return errEnded
	}
	return err
}

// Kill kills the program, if it runs, and waits for its end.
func (r *Receiver) Kill() {
	if r.Cmd != nil {
		_ = r.Cmd.Process.Kill()
		<-r.Ended
		r.Cmd = nil
	}
}

// Stop ends the program with SIGTERM and wants exit code 0.
func (r *Receiver) Stop(t *testing.T) {
	t.Helper()
	if err := r.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := r.WaitExit(t); code != 0 {
		t.Fatalf("exit code %d\n%s", code, r.LogExcerpt())
	}
}

// WaitExit waits for the end of the program and returns its exit code.
func (r *Receiver) WaitExit(t *testing.T) int {
	t.Helper()
	select {
	case <-r.Ended:
	case <-time.After(2 * Patience): // a stop may take 25 s
		t.Fatalf("it does not end\n%s", r.LogExcerpt())
	}
	code := r.Cmd.ProcessState.ExitCode()
	r.Cmd = nil
	return code
}

// Status returns the status and the Retry-After header of a page. The receiver must listen.
func (r *Receiver) Status(t *testing.T, path string) (status int, retryAfter string) {
	t.Helper()
	response, err := http.Get(r.URL(path))
	if err != nil {
		t.Fatalf("%v\n%s", err, r.LogExcerpt())
	}
	response.Body.Close()
	return response.StatusCode, response.Header.Get("Retry-After")
}

// WaitListening waits until the receiver answers requests, ready or not.
func (r *Receiver) WaitListening(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if response, err := http.Get(r.URL("/-/healthy")); err == nil {
			response.Body.Close()
			if response.StatusCode != http.StatusOK {
				t.Errorf("healthy: %s", response.Status)
			}
			return
		}
	}
	t.Fatalf("it does not listen\n%s", r.LogExcerpt())
}
