package page_test

import (
	"strings"
	"testing"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/page"
)

func TestWritten(t *testing.T) {
	for _, test := range []struct {
		write func(float64) string
		of    float64
		want  string
	}{
		{page.Count, 0, "0"}, {page.Count, 999, "999"}, {page.Count, 1000, "1 000"}, {page.Count, 60000, "60 000"},
		{page.Count, 1234567, "1 234 567"}, {page.Count, -1234, "−1 234"}, {page.Count, -0.4, "0"},
		{page.Seconds, 0, "0 s"}, {page.Seconds, 0.0001, "1 ms"}, {page.Seconds, 0.35, "350 ms"}, {page.Seconds, 0.9996, "1.0 s"},
		{page.Seconds, 4.24, "4.2 s"}, {page.Seconds, 9.96, "10 s"}, {page.Seconds, 59.4, "59 s"}, {page.Seconds, 59.6, "1 min"},
		{page.Seconds, 95, "1 min 35 s"}, {page.Seconds, 3600, "1 h"}, {page.Seconds, 3899, "1 h 4 min"}, {page.Seconds, 360000, "100 h"},
		{page.Share, 0, "0"}, {page.Share, 1, "100"}, {page.Share, 0.9375, "93.8"}, {page.Share, 0.99999, "99.9"}, {page.Share, 0.00001, "0.1"},
		{page.Hours, 0, "0"}, {page.Hours, 0.001, "0.01"}, {page.Hours, 3.456, "3.46"}, {page.Hours, 34.56, "34.6"}, {page.Hours, 1251.6, "1 252"},
	} {
		if got := strings.ReplaceAll(test.write(test.of), "\u202f", " "); got != test.want {
			t.Errorf("%v is written %q, want %q", test.of, got, test.want)
		}
	}
}

// A change is judged if it is too large for chance, and if the period before was recorded.
func TestJudged(t *testing.T) {
	const (
		day   = 24 * time.Hour
		whole = 14*day - time.Hour
	)
	for _, test := range []struct {
		name          string
		before, after [2]int        // jobs that passed and failed
		took          time.Duration // after, and a minute before
		begun         time.Duration // ago, the first job
		path          string
		want          []string
		never         []string
	}{
		{"worse", [2]int{190, 10}, [2]int{160, 40}, time.Minute, whole, "/?last=7d", []string{"15.0 pts worse", "300 % worse"}, []string{"better"}},
		{"chance", [2]int{19, 1}, [2]int{17, 3}, time.Minute, whole, "/?last=7d", []string{"10.0 pts"}, []string{"worse", "better"}},
		{"slower", [2]int{200, 0}, [2]int{200, 0}, 2 * time.Minute, whole, "/template?name=t&last=7d", []string{"100 % worse"}, []string{"better"}},
		{"a bucket", [2]int{200, 0}, [2]int{200, 0}, 62 * time.Second, whole, "/template?name=t&last=7d", []string{"no change"}, []string{"worse", "better"}},
		{"less of all", [2]int{900, 100}, [2]int{90, 10}, time.Minute, whole, "/?last=7d", []string{"90 %"}, []string{"worse", "better"}},
		{"filtered", [2]int{190, 10}, [2]int{160, 40}, time.Minute, whole, "/?last=7d&status=failed", []string{"300 %"}, []string{"worse", "better"}},
		{"begun lately", [2]int{190, 10}, [2]int{160, 40}, time.Minute, 9 * day, "/?last=7d", []string{"can't be compared: the first job is of 22 Mar 2026"}, []string{"worse", "pts"}},
	} {
		s := serve(t, nil)
		record(t, s.ledger, job.Job{Name: "t", Project: "p", Status: job.Skipped, Finished: now.Add(-test.begun)})
		some := func(n int, status job.Status, ago, took time.Duration) {
			for range n {
				record(t, s.ledger, job.Job{Name: "t", Project: "p", Status: status, Finished: now.Add(-ago), Timed: true, Duration: took})
			}
		}
		some(test.before[0], job.Success, 8*day, time.Minute)
		some(test.before[1], job.Failed, 8*day, time.Minute)
		some(test.after[0], job.Success, day, test.took)
		some(test.after[1], job.Failed, day, test.took)
		said := strings.ReplaceAll(main(t, s, test.path), "\u202f", " ")
		for _, want := range test.want {
			if !strings.Contains(said, want) {
				t.Errorf("%s: there is no %q in %s", test.name, want, said)
			}
		}
		for _, never := range test.never {
			if strings.Contains(said, never) {
				t.Errorf("%s: there is %q in %s", test.name, never, said)
			}
		}
	}
}
