package rollup_test

import (
	"fmt"
	"testing"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/rollup"
)

// busyDay are jobs of a day as a large installation has them: of 100 templates in 1000
// projects, in the order in which they finished.
func busyDay(n int) []job.Job {
	jobs := make([]job.Job, n)
	for i := range jobs {
		j := &jobs[i]
		*j = job.Job{
			Name: fmt.Sprintf("template_%02d", i%100), Project: fmt.Sprintf("group/project-%03d", i*7%1000), Version: fmt.Sprintf("1.%d.0", i%3),
			Status: job.Success, Finished: noon.Add(time.Duration(i) * 11 * time.Hour / time.Duration(n)),
			Timed: true, Duration: time.Duration(10+i%500) * time.Second, SHA: fmt.Sprintf("%040x", i/5),
		}
		if i%10 == 0 {
			j.Status = job.Failed
		}
	}
	return jobs
}

// BenchmarkApply folds jobs; ns/op is of one. Every so many are stored, as a ledger does.
func BenchmarkApply(b *testing.B) {
	jobs := busyDay(100_000)
	r := rollup.New(rollup.Options{})
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n == len(jobs) {
			b.StopTimer()
			r, n = rollup.New(rollup.Options{}), 0
			b.StartTimer()
		}
		r.Apply(int64(n)+1, &jobs[n])
		n++
	}
}

// BenchmarkMerge brings stored blocks on by 10 000 jobs; ns/op is of all.
func BenchmarkMerge(b *testing.B) {
	jobs := busyDay(110_000)
	stored, _ := saved(b, time.UTC, jobs[:100_000])
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		r := rollup.New(rollup.Options{})
		for i := 100_000; i < len(jobs); i++ {
			r.Apply(int64(i)+1, &jobs[i])
		}
		save := r.Begin()
		b.StartTimer()
		for _, k := range save.Keys() {
			before := stored[k]
			if _, err := save.Merge(k, &before); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkScan goes over a day of 100 000 jobs: one whose views are in memory, and one
// that is read by quarters of an hour.
func BenchmarkScan(b *testing.B) {
	stored, head := saved(b, time.UTC, busyDay(100_000))
	day := rollup.NewCalendar(time.UTC).Slots(rollup.DateOf(noon.Date()))
	for what, ranges := range map[string][]rollup.Range{"whole": {day}, "cut": {{From: day.From, To: day.From + 60}}} {
		b.Run(what, func(b *testing.B) {
			r := rollup.New(rollup.Options{})
			if err := r.Load(head, nil); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				count := uint32(0)
				_, err := r.Scan(b.Context(), stored, rollup.Scan{Ranges: ranges}, func(*rollup.Texts) func(rollup.Part) {
					return func(p rollup.Part) {
						for i := range p.Cells {
							count += p.Cells[i].Count
						}
					}
				})
				if err != nil || count == 0 {
					b.Fatal(count, err)
				}
			}
		})
	}
}
