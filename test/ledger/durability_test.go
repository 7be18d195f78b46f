package ledger_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"ci-jobs-metrics/test/internal/harness"
)

// SIGKILL leaves the page cache, so it can't show what a power cut would undo. The
// order of system calls can: no answer is written before an fdatasync (or fsync) of
// the write-ahead log has come back that was called after the job was written there.
func TestNoAnswerBeforeTheDisk(t *testing.T) {
	harness.NeedProgram(t, "strace")
	receiver := harness.NewReceiver(t)
	trace := filepath.Join(t.TempDir(), "trace")
	receiver.Start(t, "strace", "-f", "-qq", "-o", trace, "-s", "65536",
		"-e", "trace=open,openat,close,read,write,pwrite64,fsync,fdatasync", "-e", "signal=none", "--")
	var senders sync.WaitGroup
	const each, crowd = 25, 4
	for sender := range crowd {
		senders.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: harness.Patience}
			defer client.CloseIdleConnections()
			for i := range each {
				response, err := client.Get(receiver.URL(fmt.Sprintf("/steps?name=n&project=p&status=success&id=job-%d-%d.", sender, i)))
				if err != nil {
					t.Error(err)
					return
				}
				response.Body.Close()
			}
		})
	}
	senders.Wait()
	stopTraced(t, receiver)
	checked, err := checkTrace(trace)
	if err != nil {
		t.Error(err)
	}
	if checked != each*crowd {
		t.Errorf("%d answers were found in the trace, want %d", checked, each*crowd)
	}
	t.Logf("%d answers, each after the fdatasync that covers its job", checked)
}

// stopTraced stops the receiver, not strace, which ends with it.
func stopTraced(t *testing.T, receiver *harness.Receiver) {
	t.Helper()
	signalTraced(t, receiver, syscall.SIGTERM)
	if code := receiver.WaitExit(t); code != 0 {
		t.Fatalf("exit code %d\n%s", code, receiver.LogExcerpt())
	}
}

// signalTraced sends a signal to the receiver behind strace.
func signalTraced(t *testing.T, receiver *harness.Receiver, signal syscall.Signal) {
	t.Helper()
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", receiver.Cmd.Process.Pid, receiver.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(children), &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, signal); err != nil {
		t.Fatal(err)
	}
}

var (
	// A call in one line, or its two parts where another thread came between.
	tracedCall = regexp.MustCompile(`^(\d+)\s+(\w+)\((.*)$`)
	unfinished = regexp.MustCompile(`^(\d+)\s+(\w+)\((.*) <unfinished \.\.\.>$`)
	resumed    = regexp.MustCompile(`^(\d+)\s+<\.\.\. (\w+) resumed>(.*)$`)
	jobID      = regexp.MustCompile(`job-\d+-\d+\.`)
)

// A tracer follows jobs through the calls of a trace: read from a socket, written
// to the write-ahead log, synced, answered.
type tracer struct {
	wal     map[string]bool   // descriptors of the log
	asked   map[string]string // the job that was read last from each descriptor
	begun   map[string]call   // calls under way, by thread
	written map[string]bool   // jobs in the log
	syncing map[string][]string
	durable map[string]bool // jobs that a sync has covered
	checked int
}

type call struct{ name, args string }

// checkTrace returns how many answers were checked, and the first that came too
// early.
func checkTrace(path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	t := &tracer{wal: map[string]bool{}, asked: map[string]string{}, begun: map[string]call{},
		written: map[string]bool{}, syncing: map[string][]string{}, durable: map[string]bool{}}
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return t.checked, err
		}
		if err := t.line(strings.TrimSuffix(line, "\n")); err != nil {
			return t.checked, err
		}
	}
}

func (t *tracer) line(line string) error {
	if m := unfinished.FindStringSubmatch(line); m != nil {
		t.begun[m[1]] = call{m[2], m[3]}
		return t.begin(m[1], m[2], m[3])
	}
	if m := resumed.FindStringSubmatch(line); m != nil {
		c := t.begun[m[1]]
		t.end(m[1], c.name, c.args+m[3])
		return nil
	}
	if m := tracedCall.FindStringSubmatch(line); m != nil {
		if err := t.begin(m[1], m[2], m[3]); err != nil {
			return err
		}
		t.end(m[1], m[2], m[3])
	}
	return nil
}

// begin sees what a call may do from the moment it is made: an answer counts as
// given, a sync covers only what was written by then.
func (t *tracer) begin(thread, name, args string) error {
	fd := descriptor(args)
	switch {
	case name == "fdatasync" || name == "fsync":
		if t.wal[fd] {
			for id := range t.written {
				t.syncing[thread] = append(t.syncing[thread], id)
			}
		}
	case name == "write" && strings.Contains(args, `HTTP/1.1 200 OK`) && strings.Contains(args, `\"recorded\":1`):
		id := t.asked[fd]
		if !t.durable[id] {
			return fmt.Errorf("%s was answered before it was durable (in the log: %t)", id, t.written[id])
		}
		t.checked++
	}
	return nil
}

// end sees what a call has done when it has come back.
func (t *tracer) end(thread, name, args string) {
	fd := descriptor(args)
	switch name {
	case "open", "openat":
		if at := strings.LastIndex(args, "= "); at >= 0 {
			t.wal[args[at+2:]] = strings.Contains(args, `ledger.db-wal"`)
		}
	case "close":
		delete(t.wal, fd)
	case "read":
		if id := jobID.FindString(args); id != "" {
			t.asked[fd] = id
		}
	case "pwrite64", "write":
		if t.wal[fd] {
			for _, id := range jobID.FindAllString(args, -1) {
				t.written[id] = true
			}
		}
	case "fdatasync", "fsync":
		if strings.HasSuffix(args, "= 0") {
			for _, id := range t.syncing[thread] {
				t.durable[id] = true
			}
		}
		t.syncing[thread] = nil
	}
}

// descriptor is the first argument of a call.
func descriptor(args string) string {
	end := strings.IndexAny(args, ",) ")
	if end < 0 {
		return args
	}
	return args[:end]
}
