package main

import "os"

// ballastSize is up to how many bytes the heap grows without being collected. By default
// it is collected when it has doubled: with the few megabytes that a receiver holds that
// is a hundred times a second under load, and a tenth of its time.
const ballastSize = 64 << 20

// ballast is counted as heap by the garbage collector, and holds nothing: no page of it is
// ever touched, so it takes no memory. Adjusting GOGC to the heap's size instead comes too
// late when it grows fast, and lets it grow by far more than was meant.
var ballast []byte //nolint:unused // it is held, not used

// relaxGC keeps the collector away from small heaps, unless the operator said how it is to
// work: a memory limit would count the ballast.
func relaxGC() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		ballast = make([]byte, ballastSize)
	}
}
