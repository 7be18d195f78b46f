package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

// The collector leaves small heaps alone at no cost in memory, and is not touched where
// the operator set it.
func TestRelaxGC(t *testing.T) {
	goal := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.NextGC
	}
	for _, variable := range []string{"GOGC", "GOMEMLIMIT"} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv("GOGC", "")
			t.Setenv("GOMEMLIMIT", "")
			t.Setenv(variable, "100")
			relaxGC()
			if g := goal(); g >= ballastSize {
				t.Errorf("the heap may grow to %d bytes", g)
			}
		})
	}
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	before := resident(t)
	relaxGC()
	defer debug.SetGCPercent(100)
	defer func() { ballast = nil }()
	if g := goal(); g < ballastSize*(100+growth)/100 {
		t.Errorf("the heap may grow to %d bytes only", g)
	}
	if grown := resident(t) - before; grown > ballastSize/4 {
		t.Errorf("it took %d bytes", grown)
	}
}

// resident is how much memory the process has, in bytes.
func resident(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kb int
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		t.Fatal(err)
	}
	return kb << 10
}
