package history_test

import (
	"testing"

	"ci-jobs-metrics/internal/history"
)

// BenchmarkEntries makes the jobs of a large company, with as many to an hour.
func BenchmarkEntries(b *testing.B) {
	b.ReportAllocs()
	for n := 0; n < b.N; {
		for range history.Bench(end).Entries() {
			if n++; n == b.N {
				break
			}
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

// BenchmarkFirst is what it takes until there is a job: who there is.
func BenchmarkFirst(b *testing.B) {
	for b.Loop() {
		for range history.Bench(end).Entries() {
			break
		}
	}
}
