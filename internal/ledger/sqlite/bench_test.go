package sqlite_test

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/ledgertest"
	"ci-jobs-metrics/internal/ledger/sqlite"
)

// BenchmarkAppend records jobs, with the four classic fields, with an id too, and as
// the exporter sends them, in batches of the sizes that load brings; ns/op is of one
// job.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1, 64, 512} {
		for _, kind := range []string{"classic", "id", "exporter"} {
			b.Run(fmt.Sprintf("batch=%d/%s", size, kind), func(b *testing.B) {
				s, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "ledger.db"), ledgertest.Start, slog.New(slog.DiscardHandler))
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				b.ReportAllocs()
				entries := make([]ledger.Entry, size)
				n := 0
				for b.Loop() {
					if n%size == 0 && n > 0 {
						if _, err := s.Append(b.Context(), entries); err != nil {
							b.Fatal(err)
						}
					}
					entries[n%size] = benchJob(n, kind)
					n++
				}
			})
		}
	}
}

func benchJob(n int, kind string) ledger.Entry {
	e := ledger.Entry{Received: ledgertest.Start, Job: job.Job{
		Name: fmt.Sprintf("template_%02d", n%100), Project: fmt.Sprintf("group/project-%02d", n/100%100), Status: job.Success,
		Started: ledgertest.Start.Add(-time.Minute), Finished: ledgertest.Start, Timed: true, Duration: time.Minute,
	}}
	if kind != "classic" {
		e.Job.ID = fmt.Sprintf("gitlab.example/%d/build", n)
	}
	if kind == "exporter" {
		e.Job.URL, e.Job.Job, e.Job.Stage = "https://gitlab.example/group/project/-/jobs/1", "build-api", "build"
		e.Job.Ref, e.Job.SHA, e.Job.Pipeline, e.Job.Runner, e.Job.Source = "main", "0123456789abcdef0123456789abcdef01234567", "12345", "runner", "push"
	}
	return e
}
