package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// heapFloor is up to how many bytes the heap may grow before the garbage collector
// runs. By default it runs when the heap has doubled: with the few megabytes that a
// receiver holds that is a hundred times a second under load, and a sixth of its time.
const heapFloor = 64 << 20

// defaultFloor is the heap below which the runtime never collects at 100 percent; it
// grows in proportion.
const defaultFloor = 4 << 20

// relaxGC keeps the collector away from heaps below heapFloor. Larger ones are
// collected as ever, and so are all where the operator set GOGC; a memory limit
// (GOMEMLIMIT) holds anyway.
func relaxGC() {
	if os.Getenv("GOGC") == "" {
		setGCPercent(100)
	}
}

// A collected is garbage as soon as it is made: its cleanup runs after each collection.
type collected struct{ _ *byte }

func setGCPercent(before int) {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	percent := max(100, int(heapFloor*100/max(live[0].Value.Uint64(), defaultFloor)))
	if percent*10 < before*9 || percent*9 > before*10 { // setting it stops the world
		debug.SetGCPercent(percent)
		before = percent
	}
	runtime.AddCleanup(&collected{}, setGCPercent, before)
}
