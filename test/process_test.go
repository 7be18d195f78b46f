package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

var signals = map[string]os.Signal{
	"TERM": syscall.SIGTERM,
	"KILL": syscall.SIGKILL,
	"STOP": syscall.SIGSTOP,
	"CONT": syscall.SIGCONT,
}

// ticks is how much CPU a process has used, in clock ticks of 10 ms.
func ticks(pid int) (int, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the name before it may hold spaces
	fields := strings.Fields(rest)
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return user + system, err
}

// An activity is what a process has done since it began.
type activity struct {
	wakes int // times that one of its threads gave up a processor, and so had been given one
	ticks int // see ticks; a thread that never gives up its processor shows here alone
}

func activityOf(pid int) (activity, error) {
	var a activity
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		return a, err
	}
	for _, path := range threads {
		status, err := os.ReadFile(path)
		if err != nil {
			return a, err
		}
		for line := range strings.Lines(string(status)) {
			if name, n, _ := strings.Cut(line, ":"); strings.HasSuffix(name, "voluntary_ctxt_switches") {
				count, err := strconv.Atoi(strings.TrimSpace(n))
				if err != nil {
					return a, err
				}
				a.wakes += count
			}
		}
	}
	a.ticks, err = ticks(pid)
	return a, err
}
