package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// CPUTicks returns the CPU time of a process, in clock ticks of 10 ms.
func CPUTicks(pid int) (int, error) {
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

// An Activity counts what a process has done since its start.
type Activity struct {
	Wakes int // how often one of its threads gave up a processor
	Ticks int // see CPUTicks; a thread that never gives up its processor shows only here
}

// ActivityOf returns the activity of a process, over all its threads.
func ActivityOf(pid int) (Activity, error) {
	var a Activity
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
				a.Wakes += count
			}
		}
	}
	a.Ticks, err = CPUTicks(pid)
	return a, err
}
