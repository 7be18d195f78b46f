package exposition_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ci-jobs-metrics/internal/exposition"
	"ci-jobs-metrics/internal/exposition/expositiontest"
	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/totals"
)

// BenchmarkScrape answers gzipped scrapes of the named view, beside client_golang's
// promhttp with the same counters and histograms. A series is a line of a counter;
// there are 100 templates with 3 histograms each.
func BenchmarkScrape(b *testing.B) {
	for _, series := range []int{10_000, 100_000} {
		jobs := manyJobs(series)
		b.Run(fmt.Sprintf("series=%d/ours", series), func(b *testing.B) {
			all := totals.New(expositiontest.Bounds)
			for i := range jobs {
				all.Apply(time.Unix(1e9, 0), &jobs[i])
			}
			e := exposition.New(exposition.Options{Families: exposition.Named})
			scrape(b, e.Handler(func(context.Context) (*totals.Snapshot, error) { return all.Snapshot(), nil }, nil))
		})
		b.Run(fmt.Sprintf("series=%d/promhttp", series), func(b *testing.B) {
			scrape(b, promhttp.HandlerFor(registered(jobs), promhttp.HandlerOpts{}))
		})
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

func scrape(b *testing.B, h http.Handler) {
	r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	w := &sink{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		w.body.Reset()
		h.ServeHTTP(w, r)
	}
	z, err := gzip.NewReader(&w.body)
	if err != nil {
		b.Fatal(err)
	}
	lines := &lineCounter{}
	if _, err := io.Copy(lines, z); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(lines.n), "lines")
}

// A sink keeps the last answer. Its buffer grows but once.
type sink struct {
	header http.Header
	body   bytes.Buffer
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { return s.body.Write(p) }

type lineCounter struct{ n int }

func (c *lineCounter) Write(p []byte) (int, error) {
	c.n += bytes.Count(p, []byte{'\n'})
	return len(p), nil
}
