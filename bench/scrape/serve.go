package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/klauspost/compress/gzhttp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A library is an exposition library inside a program as its users write it.
type library struct {
	record  func(*report)
	metrics http.Handler
}

// A report is a line of what POST /steps takes.
type report struct {
	Name     string  `json:"name"`
	Project  string  `json:"project"`
	Status   string  `json:"status"`
	Duration float64 `json:"duration"` // seconds; 0: nobody said
}

// serve is the program of a subject that is a library: /update takes what /steps
// does, /metrics is the library's own handler, and /allocs says how many bytes were
// ever allocated. It ends with the bench.
func serve(ctx context.Context, name, address string, openMetrics bool) error {
	var l library
	switch name {
	case "promhttp":
		l = servePromhttp(openMetrics)
	case "victoriametrics":
		l = serveVictoriaMetrics()
	default:
		return fmt.Errorf("no library %q", name)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", l.metrics)
	mux.HandleFunc("POST /update", l.update)
	mux.HandleFunc("GET /allocs", func(w http.ResponseWriter, _ *http.Request) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Fprintln(w, m.TotalAlloc)
	})
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// update records the jobs of one request. The bench sends one after the other.
func (l *library) update(w http.ResponseWriter, r *http.Request) {
	lines := json.NewDecoder(r.Body)
	for n := 0; ; n++ {
		var j report
		err := lines.Decode(&j)
		if errors.Is(err, io.EOF) {
			fmt.Fprintf(w, `{"recorded":%d}`, n)
			return
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		l.record(&j)
	}
}

// servePromhttp has vectors as every program with client_golang has, and its handler
// as it is by default; OpenMetrics has to be switched on.
func servePromhttp(openMetrics bool) library {
	type vectors struct {
		runs      *prometheus.CounterVec
		durations *prometheus.HistogramVec
	}
	var buckets []float64
	for _, b := range bounds {
		buckets = append(buckets, float64(b))
	}
	registry := prometheus.NewRegistry()
	all := map[string]vectors{}
	return library{
		metrics: promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: openMetrics}),
		record: func(j *report) {
			v, ok := all[j.Name]
			if !ok {
				words := strings.ReplaceAll(j.Name, "_", " ")
				v.runs = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ci_" + j.Name + "_total",
					Help: "The number of " + words + " used"}, []string{"project", "status"})
				v.durations = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "ci_" + j.Name + "_duration",
					Help: "The duration of the " + words + " usage", Buckets: buckets}, []string{"status"})
				registry.MustRegister(v.runs, v.durations)
				all[j.Name] = v
			}
			v.runs.WithLabelValues(j.Project, j.Status).Inc()
			if j.Duration > 0 {
				v.durations.WithLabelValues(j.Status).Observe(j.Duration)
			}
		},
	}
}

// serveVictoriaMetrics finds its metrics by their full names, as that library's
// documentation does. It writes no HELP and TYPE unless it is told to, and does not
// compress: its users wrap it, here in the faster of the usual handlers. Its own
// histograms have other buckets; those of the Prometheus kind are a type of theirs.
func serveVictoriaMetrics() library {
	var buckets []float64
	for _, b := range bounds {
		buckets = append(buckets, float64(b))
	}
	return library{
		metrics: gzhttp.GzipHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
			metrics.WritePrometheus(w, false)
		})),
		record: func(j *report) {
			metrics.GetOrCreateCounter(fmt.Sprintf(`ci_%s_total{project=%q,status=%q}`, j.Name, j.Project, j.Status)).Inc()
			if j.Duration > 0 {
				metrics.GetOrCreatePrometheusHistogramExt(fmt.Sprintf(`ci_%s_duration{status=%q}`, j.Name, j.Status), buckets).Update(j.Duration)
			}
		},
	}
}
