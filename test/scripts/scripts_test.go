// Package scripts_test runs the scripts in testdata with testscript. They start the programs as a
// user would. The commands that they have beside those of testscript are in this file.
package scripts_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"ci-jobs-metrics/test/internal/harness"
)

// damage FILE overwrites the middle of a database.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR, 0)
	ts.Check(err)
	info, err := f.Stat()
	ts.Check(err)
	_, err = f.WriteAt([]byte(strings.Repeat("damaged ", 1024)), info.Size()/2)
	ts.Check(err)
	check(ts, neg, f.Close())
}

func TestScripts(t *testing.T) {
	harness.NeedProgram(t, "curl")
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			address, err := harness.FreeAddress()
			if err != nil {
				return err
			}
			_, port, _ := net.SplitHostPort(address)
			e.Setenv("PATH", filepath.Dir(harness.Program(t, "receiver"))+string(filepath.ListSeparator)+e.Getenv("PATH"))
			e.Setenv("RECEIVER", harness.Program(t, "receiver"))
			e.Setenv("ADDRESS", address)
			e.Setenv("PORT", port)
			e.Setenv("URL", "http://"+address)
			e.Values[spawnKey{}] = processes{}
			e.Setenv("LEDGER", "sqlite:"+filepath.Join(e.WorkDir, "ledger.db"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"up":      up,
			"feed":    feed,
			"metrics": metrics,
			"shows":   shows,
			"logged":  logged,
			"signal":  signalProcess,
			"alive":   alive,
			"spawn":   spawn,
			"exits":   exits,
			"sparse":  sparse,
			"utf16":   utf16,
			"asleep":  asleep,
			"calm":    calm,
			"damage":  damage,
		},
	})
}

func check(ts *testscript.TestScript, neg bool, err error) {
	if neg {
		ts.Fatalf("! is not supported here")
	}
	ts.Check(err)
}

// shows compares what was printed with a file, but for the three lines that say when the ledger was
// made.
func shows(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: shows FILE")
	}
	check(ts, neg, func() error {
		var jobs strings.Builder
		lines := 0
		for line := range strings.Lines(ts.ReadFile("stdout")) {
			if strings.Contains(line, "cijob_ledger_created_timestamp_seconds") {
				lines++
			} else {
				jobs.WriteString(line)
			}
		}
		if lines != 3 {
			return fmt.Errorf("%d lines say when the ledger was made, want 3", lines)
		}
		if diff := cmp.Diff(ts.ReadFile(args[0]), jobs.String()); diff != "" {
			return fmt.Errorf("(-%s +printed):\n%s", args[0], diff)
		}
		return nil
	}())
}

// up waits until the receiver at $URL is ready.
func up(ts *testscript.TestScript, neg bool, _ []string) {
	check(ts, neg, harness.Eventually(func() error {
		_, err := harness.Fetch(ts.Getenv("URL") + "/-/ready")
		return err
	}))
}

// feed COUNT PARAMETERS sends as many jobs.
func feed(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	for range n {
		_, err := harness.Fetch(ts.Getenv("URL") + "/steps?" + args[1])
		check(ts, neg, err)
	}
}

// metrics FILE waits until all lines of the file are on /metrics, in their order
// and without others between them. ! metrics FILE wants none of the lines there, now.
func metrics(ts *testscript.TestScript, neg bool, args []string) {
	want := ts.ReadFile(args[0])
	if neg {
		body, err := harness.Fetch(ts.Getenv("URL") + "/metrics")
		ts.Check(err)
		for line := range strings.Lines(want) {
			if strings.Contains(body, line) {
				ts.Fatalf("/metrics has %s", line)
			}
		}
		return
	}
	ts.Check(harness.Eventually(func() error {
		body, err := harness.Fetch(ts.Getenv("URL") + "/metrics")
		if err == nil && !strings.Contains("\n"+body, "\n"+want) {
			var jobs strings.Builder
			for line := range strings.Lines(body) {
				if strings.Contains(line, "ci_") || strings.Contains(line, "cijob_runs") {
					jobs.WriteString(line)
				}
			}
			err = fmt.Errorf("/metrics lacks\n%s\nit has\n%s", want, jobs.String())
		}
		return err
	}))
}

// A process is one that a script spawned, with its log in NAME.log.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error
}

type processes map[string]*process

func spawned(ts *testscript.TestScript, name string) *process {
	all, _ := ts.Value(spawnKey{}).(processes)
	p := all[name]
	if p == nil {
		ts.Fatalf("no process %s was spawned", name)
	}
	return p
}

type spawnKey struct{}

// spawn NAME COMMAND... starts a process in the script's directory and
// environment, with its output in NAME.log. It is killed when the script ends.
func spawn(ts *testscript.TestScript, neg bool, args []string) {
	name, args := args[0], args[1:]
	path := filepath.Join(filepath.Dir(ts.Getenv("RECEIVER")), args[0])
	if _, err := os.Stat(path); err != nil {
		path, err = exec.LookPath(args[0])
		ts.Check(err)
	}
	log, err := os.Create(ts.MkAbs(name + ".log"))
	ts.Check(err)
	p := &process{cmd: exec.Command(path, args[1:]...), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = ts.MkAbs("."), log, log
	p.cmd.Env = append(environment(ts), "HOSTNAME=pod-1")
	check(ts, neg, p.cmd.Start())
	go func() {
		p.err = p.cmd.Wait()
		log.Close()
		close(p.ended)
	}()
	all, _ := ts.Value(spawnKey{}).(processes)
	all[name] = p
	ts.Defer(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
}

// environment is the script's, of which the programs get only what a pod has.
func environment(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	f, err := os.Open(ts.MkAbs("env"))
	if errors.Is(err, os.ErrNotExist) {
		return env
	}
	ts.Check(err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		env = append(env, lines.Text())
	}
	return env
}

// logged NAME TEXT waits until the process has logged the text. ! logged wants it
// not there, now.
func logged(ts *testscript.TestScript, neg bool, args []string) {
	has := func() error {
		if log := ts.ReadFile(args[0] + ".log"); !strings.Contains(log, args[1]) {
			return fmt.Errorf("%s did not log %q but:\n%s", args[0], args[1], log)
		}
		return nil
	}
	if neg {
		if has() == nil {
			ts.Fatalf("%s logged %q:\n%s", args[0], args[1], ts.ReadFile(args[0]+".log"))
		}
		return
	}
	ts.Check(harness.Eventually(has))
}

// alive NAME wants the process to run.
func alive(ts *testscript.TestScript, neg bool, args []string) {
	p := spawned(ts, args[0])
	select {
	case <-p.ended:
		ts.Fatalf("%s has ended: %v\n%s", args[0], p.err, ts.ReadFile(args[0]+".log"))
	case <-time.After(200 * time.Millisecond):
	}
	check(ts, neg, nil)
}

// exits NAME CODE waits for the end of the process and wants the code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	p := spawned(ts, args[0])
	select {
	case <-p.ended:
	case <-time.After(harness.Patience):
		ts.Fatalf("%s does not end:\n%s", args[0], ts.ReadFile(args[0]+".log"))
	}
	if got := strconv.Itoa(p.cmd.ProcessState.ExitCode()); got != args[1] {
		ts.Fatalf("%s exited %s, want %s:\n%s", args[0], got, args[1], ts.ReadFile(args[0]+".log"))
	}
	check(ts, neg, nil)
}

// signal NAME TERM|KILL|STOP|CONT.
func signalProcess(ts *testscript.TestScript, neg bool, args []string) {
	check(ts, neg, spawned(ts, args[0]).cmd.Process.Signal(signals[args[1]]))
}

// sparse FILE MEGABYTES makes a file of that size.
func sparse(ts *testscript.TestScript, neg bool, args []string) {
	mb, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(f.Truncate(mb << 20))
	check(ts, neg, f.Close())
}

// utf16 FROM TO writes a file as Windows PowerShell 5.1 does.
func utf16(ts *testscript.TestScript, neg bool, args []string) {
	encoded := []byte{0xff, 0xfe}
	for _, r := range ts.ReadFile(args[0]) { // plain ASCII, which each test may do with
		encoded = append(encoded, byte(r), byte(r>>8))
	}
	check(ts, neg, os.WriteFile(ts.MkAbs(args[1]), encoded, 0o644))
}

// asleep NAME wants the process to sleep: within ten seconds, in which it may
// finish what it was doing, half a second passes in which none of its threads
// wakes and none runs.
func asleep(ts *testscript.TestScript, neg bool, args []string) {
	quiet(ts, args[0], func(before, after harness.Activity) bool { return after == before })
	check(ts, neg, nil)
}

// calm NAME is asleep for a process that has to look now and then: it may wake,
// but uses no CPU that would show.
func calm(ts *testscript.TestScript, neg bool, args []string) {
	quiet(ts, args[0], func(before, after harness.Activity) bool { return after.Ticks == before.Ticks })
	check(ts, neg, nil)
}

// quiet waits for half a second that is as wanted. There are several to choose
// from: a tick is charged in whole, also for a moment of work on a machine whose
// host took the processor away meanwhile.
func quiet(ts *testscript.TestScript, name string, wanted func(before, after harness.Activity) bool) {
	pid := spawned(ts, name).cmd.Process.Pid
	var before, after harness.Activity
	for range 20 {
		var err error
		before, err = harness.ActivityOf(pid)
		ts.Check(err)
		time.Sleep(500 * time.Millisecond)
		after, err = harness.ActivityOf(pid)
		ts.Check(err)
		if wanted(before, after) {
			return
		}
	}
	ts.Fatalf("%s is not quiet while it waits: in the last half second its threads woke %d times and ran for %d ticks",
		name, after.Wakes-before.Wakes, after.Ticks-before.Ticks)
}

var signals = map[string]os.Signal{
	"TERM": syscall.SIGTERM,
	"KILL": syscall.SIGKILL,
	"STOP": syscall.SIGSTOP,
	"CONT": syscall.SIGCONT,
}
