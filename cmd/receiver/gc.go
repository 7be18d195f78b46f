package main

import (
	"os"
	"runtime/debug"
)

// How the heap is collected: when it has grown by growth percent of what it held and of
// the ballast, so by 64 MB at least. By default it is collected when it has doubled. With the
// few megabytes that most receivers hold that is a hundred times a second under load, and a
// tenth of its time; with the hundreds that a million series take it is memory for nothing,
// for there are few pointers in them to follow.
const (
	ballastSize = 128 << 20
	growth      = 50
)

// ballast is counted as heap by the garbage collector, and holds nothing: no page of it is
// ever touched, so it takes no memory. Adjusting GOGC to the heap's size instead comes too
// late when it grows fast, and lets it grow by far more than was meant.
var ballast []byte //nolint:unused // it is held, not used

// relaxGC keeps the collector away from small heaps and large ones small, unless the operator said how it is to
// work: a memory limit would count the ballast.
func relaxGC() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		// In memory that was used before and not given back it would be cleared, and so touched.
		debug.FreeOSMemory()
		ballast = make([]byte, ballastSize)
		debug.SetGCPercent(growth)
	}
}
