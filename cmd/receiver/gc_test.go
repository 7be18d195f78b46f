package main

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// The collector leaves small heaps alone, comes back to its default for large ones,
// and is not touched where the operator set it.
func TestRelaxGC(t *testing.T) {
	percent := func() int {
		p := debug.SetGCPercent(-1) // the only way to read it is to set it
		debug.SetGCPercent(p)
		return p
	}
	defer debug.SetGCPercent(percent())
	t.Setenv("GOGC", "50")
	before := percent()
	relaxGC()
	if p := percent(); p != before {
		t.Errorf("with GOGC set it became %d", p)
	}
	t.Setenv("GOGC", "")
	relaxGC()
	if p := percent(); p < 500 || p > 1600 {
		t.Errorf("with an empty heap it is %d", p)
	}
	large := make([]byte, 2*heapFloor)
	for deadline := time.Now().Add(20 * time.Second); percent() != 100; time.Sleep(time.Millisecond) {
		runtime.GC()
		if time.Now().After(deadline) {
			t.Fatalf("with a large heap it stays %d", percent())
		}
	}
	runtime.KeepAlive(large)
}
