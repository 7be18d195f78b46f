package receiver

import (
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ci-jobs-metrics/internal/api"
	"ci-jobs-metrics/internal/exposition"
	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/page"
	"ci-jobs-metrics/internal/query"
	"ci-jobs-metrics/internal/steps"
)

// routes is the whole service: what it answers to.
func (r *Receiver) routes(h *health) http.Handler {
	metrics := exposition.New(exposition.Options{Families: r.opts.Families, Feed: r.ledger.Feed(), CatchUp: r.ledger.CatchUp})
	const jobs, noJobs = true, false
	self := h.registry
	var origin prometheus.Gatherers // of the labelled metrics
	if r.opts.Families != exposition.Named {
		origin = append(origin, h.origin)
	}
	slots := query.NewSlots() // shared: pages and API answer the same queries
	pages := page.New(page.Options{
		Ledger:   r.ledger,
		Problems: r.ledger.Problems,
		Now:      r.opts.Now,
		Logger:   r.opts.Logger,
		Answered: h.asked,
		Slots:    slots,

		ProblemsRevision: r.ledger.ProblemsRevision,
	})
	mux := http.NewServeMux()
	mux.Handle(steps.Path, steps.Handler(steps.Options{ // every method: HEAD must not count as a GET
		Record:    r.record(h),
		Retention: r.opts.Retention,
		Now:       r.opts.Now,
		Observe:   h.checked,
		Found:     r.found,
		Refused:   r.refused(h),
	}))
	mux.Handle("GET /metrics", metrics.Handler(jobs, append(origin, self)))
	mux.Handle("GET /metrics/jobs", metrics.Handler(jobs, origin))
	mux.Handle("GET /metrics/self", metrics.Handler(noJobs, self))
	mux.HandleFunc("GET /jobs", r.job)
	mux.Handle(query.Path, api.New(api.Options{
		Ledger:   r.ledger,
		Problems: r.ledger.Problems,
		Now:      r.opts.Now,
		Logger:   r.opts.Logger,
		Answered: h.asked,
		Slots:    slots,
	}))
	mux.HandleFunc("GET /-/healthy", healthy)
	mux.HandleFunc("GET /-/ready", r.ready)
	for _, pattern := range page.Patterns() {
		mux.Handle("GET "+pattern, pages)
	}
	return mux
}

// record is the way from the wire into the ledger.
func (r *Receiver) record(h *health) steps.Recorder {
	return func(received time.Time, jobs []job.Job) (recorded int, err error) {
		entries := make([]ledger.Entry, len(jobs))
		for i := range jobs {
			entries[i] = ledger.Entry{Received: job.Instant(received), Job: jobs[i]}
		}
		outcomes, err := r.ledger.Record(entries)
		if err != nil {
			h.unrecorded(err)
			return 0, err
		}
		for _, o := range outcomes {
			if o.Seq > 0 {
				recorded++
			}
		}
		return recorded, nil
	}
}

// healthy says that the process answers at all.
func healthy(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, "The receiver is alive.")
}

// ready says whether jobs can be recorded and the ledger be read.
func (r *Receiver) ready(w http.ResponseWriter, req *http.Request) {
	if err := r.ledger.Check(req.Context()); err != nil {
		http.Error(w, "The receiver is not ready: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "The receiver is ready.")
}
