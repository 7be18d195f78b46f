package load

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ServeBare is what the receiver is measured against: a handler that reads the same
// parameters and answers 200, checks nothing and stores nothing.
func ServeBare(address string) error {
	answer := []byte(`{"recorded":1,"duplicates":0,"warnings":[],"rejected":[]}` + "\n")
	seen := 0
	http.HandleFunc("/steps", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			// The first byte tells the forms apart; a batch is only read, for that is
			// what the target for batches is measured against.
			seen += len(bytes.TrimSpace(body)[:1])
		} else {
			q := r.URL.Query()
			seen += len(q.Get("name")) + len(q.Get("project")) + len(q.Get("status")) + len(q.Get("started")) + len(q.Get("id"))
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
	})
	return http.ListenAndServe(address, nil) //nolint:gosec // loopback, for as long as the bench runs
}

// A Server is a program under load.
type Server struct {
	cmd     *exec.Cmd
	Address string
}

// Start starts a program and waits until it listens.
func Start(cmd *exec.Cmd, address string) (*Server, error) {
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for range 500 {
		if c, err := net.Dial("tcp", address); err == nil {
			return &Server{cmd, address}, c.Close()
		}
		time.Sleep(10 * time.Millisecond)
	}
	_ = cmd.Process.Kill()
	return nil, fmt.Errorf("%s does not listen", cmd.Path)
}

// Stop ends it with SIGTERM.
func (s *Server) Stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
}

// Ready waits until a receiver has opened its ledger; it listens before.
func (s *Server) Ready() error {
	for range 500 {
		response, err := http.Get("http://" + s.Address + "/-/ready")
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.Stop()
	return fmt.Errorf("%s does not get ready", s.cmd.Path)
}

// Recorded is how many jobs a receiver says it recorded.
func (s *Server) Recorded() (n int, err error) {
	response, err := http.Get("http://" + s.Address + "/metrics/self")
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	var value float64
	_, rest, _ := strings.Cut(string(page), "\ncijob_receiver_jobs_recorded_total ")
	_, err = fmt.Sscan(rest, &value)
	return int(value), err
}

// CPU is how much it has used, in seconds.
func (s *Server) CPU() float64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100 // clock ticks
}

// Stolen is how much processor time the machine's host has given to others, in seconds.
func Stolen() float64 {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat)) // "cpu", then user, nice, system, idle, iowait, irq, softirq, steal
	ticks, _ := strconv.ParseFloat(fields[8], 64)
	return ticks / 100
}

// Peak is its largest resident memory so far, in MB.
func (s *Server) Peak() float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kb float64
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		return 0
	}
	return kb / 1024
}

// FreeAddress is one of this machine on which nothing listens.
func FreeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
