package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A process is the program of one subject.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// startProcess returns when the program listens. It dies with the bench, whatever
// becomes of that.
func startProcess(ctx context.Context, address, program string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(program, args...), ended: make(chan struct{})}
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true} // Ctrl-C is for the bench to handle
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	for range 1000 {
		if c, err := net.Dial("tcp", address); err == nil {
			return p, c.Close()
		}
		select {
		case <-p.ended:
			return nil, fmt.Errorf("%s ended: %v", program, p.cmd.ProcessState)
		case <-ctx.Done():
			p.stop()
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	p.stop()
	return nil, fmt.Errorf("%s does not listen", program)
}

// stop asks it to end, and kills it if it does not.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// cpu is the processor time it has used. /proc/<pid>/stat counts in ticks of 10 ms,
// more than some scrapes take, and schedstat leaves out threads that have ended. The
// process's clock counts in nanoseconds and over all threads that it ever had. Its
// number is made of the process's as clock_getcpuclockid(3) does.
func (p *process) cpu() time.Duration {
	const cpuclockSched = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^p.cmd.Process.Pid<<3|cpuclockSched), &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// peak is its largest resident memory, in MB: since it started, or since forgetPeak.
func (p *process) peak() float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
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

// forgetPeak lets the peak begin at what is resident now; 5 is the word for that in
// proc_pid_clear_refs(5). A kernel without it goes on with the peak so far.
func (p *process) forgetPeak() {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0)
}

// settle waits until none of the processes does anything any more: what a collector
// of garbage or a queue still had to do is over. It gives up after a while, since
// some write a checkpoint now and then.
func settle(ctx context.Context, processes ...*process) error {
	const (
		step  = 10 * time.Millisecond
		quiet = 200 * time.Microsecond // per step: timers and the like
		calm  = 2                      // so many steps in a row
	)
	used := func() (all time.Duration) {
		for _, p := range processes {
			all += p.cpu()
		}
		return all
	}
	before, still := used(), 0
	for range 3 * time.Second / step {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(step):
		}
		now := used()
		if still++; now-before > quiet {
			still = 0
		}
		if before = now; still == calm {
			break
		}
	}
	return nil
}

// stolen is how much processor time the machine's host has given to others.
func stolen() time.Duration {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat)) // "cpu", then user, nice, system, idle, iowait, irq, softirq, steal
	ticks, _ := strconv.Atoi(fields[8])
	return time.Duration(ticks) * 10 * time.Millisecond
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
