package receiver

import (
	"fmt"
	"net/http"
	"time"

	"ci-jobs-metrics/internal/api"
	"ci-jobs-metrics/internal/exposition"
	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/steps"
)

// routes is the whole service: what it answers to.
func (r *Receiver) routes(h *health) http.Handler {
	metrics := exposition.New(exposition.Options{Families: r.opts.Families, Feed: r.ledger.Feed(), CatchUp: r.ledger.CatchUp})
	const jobs, noJobs = true, false
	self := h.registry
	mux := http.NewServeMux()
	mux.Handle(steps.Path, steps.Handler(steps.Options{ // every method: HEAD must not count as a GET
		Record:    r.record(h),
		Retention: r.opts.Retention,
		Now:       r.opts.Now,
		Observe:   h.checked,
		Found:     r.found,
		Refused:   r.refused(h),
	}))
	mux.Handle("GET /metrics", metrics.Handler(jobs, self))
	mux.Handle("GET /metrics/jobs", metrics.Handler(jobs, nil))
	mux.Handle("GET /metrics/self", metrics.Handler(noJobs, self))
	mux.HandleFunc("GET /jobs", r.job)
	mux.Handle(api.Path, api.New(api.Options{
		Ledger:   r.ledger,
		Problems: r.problems,
		Now:      r.opts.Now,
		Logger:   r.opts.Logger,
		Asked:    h.asked,
	}))
	mux.HandleFunc("GET /-/healthy", healthy)
	mux.HandleFunc("GET /-/ready", r.ready)
	mux.HandleFunc("GET /{$}", landing)
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

// landing says where to go, until there is a page with the answers.
func landing(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	fmt.Fprint(w, `<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>CI Jobs Metrics</title>
<h1>CI Jobs Metrics</h1>
<p>This receiver records finished CI jobs at <code>/steps</code>, answers how the templates do:</p>
<ul>
<li><a href="/api/v1/overview">/api/v1/overview</a>: all together, in the last 30 days
<li><a href="/api/v1/templates">/api/v1/templates</a>, <a href="/api/v1/projects">/projects</a>, <a href="/api/v1/versions">/versions</a>: each by itself
<li><a href="/api/v1/failures">/api/v1/failures</a>: the jobs that failed last
<li><a href="/api/v1/problems">/api/v1/problems</a>: what was wrong with reports of jobs lately
<li><a href="/api/v1/openapi.json">/api/v1/openapi.json</a>: everything that can be asked
</ul>
<p>and shows the jobs to Prometheus:</p>
<ul>
<li><a href="/metrics">/metrics</a>: everything
<li><a href="/metrics/jobs">/metrics/jobs</a>: the jobs
<li><a href="/metrics/self">/metrics/self</a>: the receiver's own health
<li><code>/jobs?id=ID</code>: leads to the page of the job with this id
<li><a href="/-/healthy">/-/healthy</a> and <a href="/-/ready">/-/ready</a>: for probes
</ul>
`)
}
