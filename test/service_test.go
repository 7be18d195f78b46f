package test

import (
	"errors"
	"fmt"
	"net"
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

// A service is a receiver program that is killed and started again on the same
// ledger and address.
type service struct {
	address string
	ledger  string
	log     *logtest.Buffer
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the program has ended
}

func newService(t *testing.T) *service {
	t.Helper()
	return newServiceIn(t, t.TempDir())
}

// newServiceIn is a service with its ledger in the given directory.
func newServiceIn(t *testing.T, dir string) *service {
	t.Helper()
	address, err := ownAddress()
	if err != nil {
		t.Fatal(err)
	}
	s := &service{address: address, ledger: filepath.Join(dir, "ledger.db"), log: &logtest.Buffer{}}
	t.Cleanup(s.kill)
	return s
}

var hosts atomic.Uint32 // loopback addresses that were given away

// ownAddress is a free port of a loopback address that nobody else uses. A port of
// 127.0.0.1 may be taken by any connection that is made while the service is dead.
func ownAddress() (string, error) {
	n := hosts.Add(1)
	l, err := net.Listen("tcp", fmt.Sprintf("127.1.%d.%d:0", n>>8&0xff, n&0xff))
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func (s *service) url(path string) string { return "http://" + s.address + path }

func (s *service) arguments() []string {
	return []string{filepath.Join(programs, "receiver"), "--ledger=sqlite:" + s.ledger, "--web.listen-address=" + s.address}
}

// excerpt is the log, without the middle if it is long.
func (s *service) excerpt() string {
	const most = 20
	lines := strings.Split(s.log.String(), "\n")
	if len(lines) > 2*most {
		lines = slices.Concat(lines[:most], []string{"[…]"}, lines[len(lines)-most:])
	}
	return strings.Join(lines, "\n")
}

// start starts the program, behind the given command if there is one, and waits
// until it is ready.
func (s *service) start(t *testing.T, behind ...string) {
	t.Helper()
	args := slices.Concat(behind, s.arguments())
	s.launch(t, exec.Command(args[0], args[1:]...))
	if err := s.ready(); err != nil {
		t.Fatalf("%v\n%s", err, s.excerpt())
	}
}

// launch starts the program as the given command and does not wait.
func (s *service) launch(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.Stdout, cmd.Stderr = s.log, s.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	s.cmd, s.ended = cmd, ended
	go func() {
		_ = cmd.Wait() // its ProcessState says the same
		close(ended)
	}()
}

var errEnded = errors.New("the program has ended")

// ready waits until the program is; it is errEnded if it ends before.
func (s *service) ready() error {
	var gone bool
	err := eventually(func() error {
		_, err := fetch(s.url("/-/ready"))
		select {
		case <-s.ended:
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

func (s *service) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		<-s.ended
		s.cmd = nil
	}
}

// stop stops the program in order.
func (s *service) stop(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := s.exit(t); code != 0 {
		t.Fatalf("exit code %d\n%s", code, s.excerpt())
	}
}

// exit waits for the end of the program and returns its exit code.
func (s *service) exit(t *testing.T) int {
	t.Helper()
	select {
	case <-s.ended:
	case <-time.After(2 * patience): // a stop may take 25 s
		t.Fatalf("it does not end\n%s", s.excerpt())
	}
	code := s.cmd.ProcessState.ExitCode()
	s.cmd = nil
	return code
}
