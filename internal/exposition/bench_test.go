package exposition_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ci-jobs-metrics/internal/exposition"
	"ci-jobs-metrics/internal/exposition/expositiontest"
	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/totals"
)

// BenchmarkScrape answers scrapes of the named view, beside client_golang's promhttp with
// the same counters and histograms. A series is a line of a counter; there are 100
// templates with 3 histograms each. Between scrapes jobs of random series are counted,
// which takes no part of the time.
func BenchmarkScrape(b *testing.B) {
	for _, series := range []int{10_000, 100_000, 1_000_000} {
		jobs := manyJobs(series)
		all := expositiontest.Totals(jobs, settings)
		e := of(exposition.Named, all)
		for _, gzip := range []bool{true, false} {
			for _, moved := range []int{0, 500, series / 100} {
				b.Run(fmt.Sprintf("series=%d/gzip=%t/moved=%d/ours", series, gzip, moved), func(b *testing.B) {
					scrape(b, e.Handler(true, nil), gzip, func() { apply(all, jobs, moved) })
				})
			}
		}
		if series == 1_000_000 && testing.Short() {
			continue // it takes promhttp gigabytes
		}
		registry := registered(jobs)
		for _, gzip := range []bool{true, false} {
			b.Run(fmt.Sprintf("series=%d/gzip=%t/promhttp", series, gzip), func(b *testing.B) {
				scrape(b, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), gzip, func() {})
			})
		}
	}
}

// BenchmarkFirstScrape is what a scrape takes after a start.
func BenchmarkFirstScrape(b *testing.B) {
	for _, series := range []int{100_000, 1_000_000} {
		all := expositiontest.Totals(manyJobs(series), settings)
		b.Run(fmt.Sprintf("series=%d", series), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				request(b, of(exposition.Named, all).Handler(true, nil), true, &sink{header: http.Header{}})
			}
		})
	}
}

// BenchmarkMemory reports how many bytes stay in memory for each line, beside those of
// the totals.
func BenchmarkMemory(b *testing.B) {
	const series = 1_000_000
	all := expositiontest.Totals(manyJobs(series), settings)
	for _, gzip := range []bool{true, false} {
		b.Run(fmt.Sprintf("gzip=%t", gzip), func(b *testing.B) {
			for b.Loop() {
				before := inUse()
				e := of(exposition.Named, all)
				w := &sink{header: http.Header{}}
				request(b, e.Handler(true, nil), gzip, w)
				w.body = bytes.Buffer{}
				b.ReportMetric((inUse()-before)/series, "B/line")
				runtime.KeepAlive(e)
			}
		})
	}
}

func inUse() float64 {
	runtime.GC()
	runtime.GC() // pools survive the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

func apply(all *totals.Totals, jobs []job.Job, n int) {
	for range n {
		all.Apply(1, time.Unix(1e9, 0), &jobs[rand.IntN(len(jobs))])
	}
}

func manyJobs(series int) []job.Job {
	const templates = 100
	statuses := job.Statuses[:3]
	jobs := make([]job.Job, series)
	for i := range jobs {
		jobs[i] = job.Job{
			Name:     fmt.Sprintf("template_%02d", i%templates),
			Project:  fmt.Sprintf("group/subgroup/project-%05d", i/templates/len(statuses)),
			Status:   statuses[i/templates%len(statuses)],
			Timed:    true,
			Duration: time.Duration(i%2000) * time.Second,
		}
	}
	return jobs
}

// registered counts the jobs as a program would that used client_golang.
func registered(jobs []job.Job) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	runs, durations := map[string]*prometheus.CounterVec{}, map[string]*prometheus.HistogramVec{}
	for _, j := range jobs {
		if runs[j.Name] == nil {
			runs[j.Name] = prometheus.NewCounterVec(prometheus.CounterOpts{
				Name: "ci_" + j.Name + "_total", Help: "The number of jobs used"}, []string{"project", "status"})
			durations[j.Name] = prometheus.NewHistogramVec(prometheus.HistogramOpts{
				Name: "ci_" + j.Name + "_duration", Help: "The duration of the jobs", Buckets: expositiontest.Bounds}, []string{"status"})
			registry.MustRegister(runs[j.Name], durations[j.Name])
		}
		runs[j.Name].WithLabelValues(j.Project, string(j.Status)).Inc()
		durations[j.Name].WithLabelValues(string(j.Status)).Observe(j.Duration.Seconds())
	}
	return registry
}

func scrape(b *testing.B, h http.Handler, gzip bool, between func()) {
	w := &sink{header: http.Header{}}
	request(b, h, gzip, w)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		between()
		w.body.Reset()
		b.StartTimer()
		request(b, h, gzip, w)
	}
	b.ReportMetric(float64(w.body.Len()), "bytes")
}

func request(b *testing.B, h http.Handler, gzip bool, w *sink) {
	r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/metrics", nil)
	if gzip {
		r.Header.Set("Accept-Encoding", "gzip")
	}
	h.ServeHTTP(w, r)
}

// A sink keeps the last answer. Its buffer grows but once.
type sink struct {
	header http.Header
	body   bytes.Buffer
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { return s.body.Write(p) }
