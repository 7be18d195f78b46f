package receiver

import (
	"errors"
	"math"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ci-jobs-metrics/internal/exposition"
	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/query"
	"ci-jobs-metrics/internal/steps"
	"ci-jobs-metrics/internal/totals"
)

const namespace = "cijob_receiver"

// health is the receiver's own metrics. Its counters start at 0 with the process;
// the jobs' are in the ledger.
type health struct {
	registry *exposition.Registry
	// origin stands beside the jobs wherever their labelled metrics do: which ledger they are of.
	// Who subtracts these needs it from the same scrape, also where there are none yet.
	origin *prometheus.Registry

	recorded   prometheus.Counter
	duplicates prometheus.Counter
	late       prometheus.Counter
	rejected   *prometheus.CounterVec // by reason
	warned     *prometheus.CounterVec // by reason
	refused    *prometheus.CounterVec // by reason
	commits    prometheus.Histogram
	failures   prometheus.Counter
	turnedAway prometheus.Counter
	questions  *prometheus.CounterVec // by question
	answering  prometheus.Histogram
}

func newHealth() *health {
	h := &health{
		registry: exposition.NewRegistry(),
		origin:   prometheus.NewRegistry(),
		recorded: counter("jobs_recorded_total", "Jobs recorded."),
		duplicates: counter("jobs_duplicate_total",
			"Reports of jobs whose id was recorded before, such as retries."),
		late: counter("jobs_late_total",
			"Duplicates with a status, of jobs that were recorded as unknown."),
		rejected: counterVec("problems_rejected_total", "Reasons for which jobs were rejected, by reason.", "reason"),
		warned:   counterVec("problems_warned_total", "Warnings about recorded jobs, by reason.", "reason"),
		refused: counterVec("requests_refused_total",
			"Requests to /steps that were refused as a whole, by reason. Senders retry after starting, queue_full, busy and ledger.", "reason"),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace,
			Name:      "commit_duration_seconds",
			Help:      "Duration of commits to the ledger, in seconds. A commit holds the jobs that have gathered.",
			Buckets:   prometheus.ExponentialBuckets(0.0005, 2, 14), // 0.5 ms to 4 s
		}),
		turnedAway: counter("connections_refused_total",
			"Connections that were closed because too many clients were in the middle of a request."),
		questions: counterVec("questions_total", "Queries of /api/v1 and of pages that were computed, by query.", "question"),
		answering: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace,
			Name:      "question_duration_seconds",
			Help:      "Duration of queries of /api/v1 and of pages, in seconds, the wait for a free slot included.",
			Buckets:   prometheus.ExponentialBuckets(0.001, 2, 15), // 1 ms to 16 s
		}),
		failures: counter("commit_failures_total", "Commits to the ledger that failed. Their jobs were not recorded."),
	}
	for _, reason := range job.Rejections {
		h.rejected.WithLabelValues(string(reason))
	}
	for _, reason := range job.Warnings {
		h.warned.WithLabelValues(string(reason))
	}
	for _, reason := range refusals {
		h.refused.WithLabelValues(reason)
	}
	for _, question := range query.Names() {
		h.questions.WithLabelValues(question)
	}
	h.refused.WithLabelValues(atStart)
	h.refused.WithLabelValues(queueFull)
	h.refused.WithLabelValues(ledgerFailed)
	h.registry.MustRegister(h.recorded, h.duplicates, h.late, h.rejected, h.warned, h.refused, h.commits, h.failures, h.turnedAway,
		h.questions, h.answering)
	return h
}

// watchConnections adds the metrics of connections.
func (h *health) watchConnections(c *connections) {
	h.registry.MustRegister(
		gauge("connections", "Open connections.", func() float64 { return float64(c.open.Load()) }),
		gauge("connections_limit", "Number of connections above which those that wait for their next request are closed.",
			func() float64 { return float64(c.limit) }),
	)
}

// watch adds what is read from the ledger at each scrape.
func (h *health) watch(l *ledger.Ledger) {
	created := func() float64 { return unixSeconds(l.Created()) }
	h.origin.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "cijob_ledger_created_timestamp_seconds",
		Help: "Unix time at which the ledger of these jobs was created, in seconds.",
	}, created))
	h.registry.MustRegister(
		gauge("ledger_created_timestamp_seconds", "Unix time at which the ledger was created, in seconds.", created),
		gauge("queue_jobs", "Jobs that wait to be recorded.",
			func() float64 { return float64(l.Stats().Waiting) }),
		gauge("queue_capacity_jobs", "Number of jobs that may wait, half of them from small requests. Further requests are answered 503.",
			func() float64 { return 2 * ledger.MaxQueue }),
		gauge("ledger_writable", "1 if jobs can be recorded, 0 if the disk refused the last attempt.",
			func() float64 { return number(l.Writable()) }),
		gauge("ledger_size_bytes", "Size of the ledger, in bytes.",
			func() float64 { return space(l).used }),
		gauge("ledger_free_bytes", "Free space for the ledger on its disk, in bytes; NaN if it is not known.",
			func() float64 { return space(l).free }),
		gauge("label_sets", "Label sets of the job counters: combinations of template, project, status and added labels.",
			func() float64 { return float64(l.Stats().Runs) }),
		gauge("label_sets_limit", "Number of label sets above which new values count as "+totals.Other+".",
			func() float64 { return float64(l.Stats().MaxSets) }),
		folded("added", l, func(f totals.Folded) uint64 { return f.Labels }),
		folded("project", l, func(f totals.Folded) uint64 { return f.Projects }),
		folded("template", l, func(f totals.Folded) uint64 { return f.Templates }),
		gauge("last_job_timestamp_seconds", "Unix time at which the last job was received, in seconds; 0 before the first job.",
			func() float64 { return unixSeconds(l.Stats().LastJob) }),
	)
}

// checked counts what was wrong with the jobs of a request.
func (h *health) checked(t steps.Tally) {
	for reason, n := range t.Rejected {
		h.rejected.WithLabelValues(string(reason)).Add(float64(n))
	}
	for reason, n := range t.Warned {
		h.warned.WithLabelValues(string(reason)).Add(float64(n))
	}
}

// committed counts a commit to the ledger, and its jobs: here and not when they are
// answered, for a sender may hang up before.
func (h *health) committed(outcomes []ledger.Outcome, took time.Duration, err error) {
	h.commits.Observe(took.Seconds())
	if err != nil {
		h.failures.Inc()
	}
	recorded, late := 0, 0
	for _, o := range outcomes {
		switch {
		case o.Seq > 0:
			recorded++
		case o.Late:
			late++
		}
	}
	h.recorded.Add(float64(recorded))
	h.late.Add(float64(late))
	h.duplicates.Add(float64(len(outcomes) - recorded))
}

// asked counts a query that package api or page computed.
func (h *health) asked(question string, took time.Duration) {
	h.questions.WithLabelValues(question).Inc()
	h.answering.Observe(took.Seconds())
}

// Why nothing of a request was looked at or recorded.
const (
	atStart      = "starting"
	queueFull    = "queue_full"
	ledgerFailed = "ledger"
	other        = "other"
)

// refusals are the reasons for the statuses of steps.Handler.
var refusals = map[int]string{
	http.StatusBadRequest:            "malformed",
	http.StatusRequestTimeout:        "incomplete",
	http.StatusForbidden:             "forbidden",
	http.StatusMethodNotAllowed:      "method",
	http.StatusRequestEntityTooLarge: "too_large",
	http.StatusUnsupportedMediaType:  "unsupported_type",
	http.StatusServiceUnavailable:    "busy",
}

// reasonOf is why steps.Handler refused a request as a whole.
func reasonOf(r *steps.Refusal) string {
	if reason, ok := refusals[r.Status]; ok {
		return reason
	}
	return other
}

// unread counts a request that steps.Handler refused as a whole.
func (h *health) unread(r *steps.Refusal) { h.refused.WithLabelValues(reasonOf(r)).Inc() }

// unrecorded counts a request that was answered 503.
func (h *health) unrecorded(err error) {
	switch {
	case errors.Is(err, errStarting):
		h.refused.WithLabelValues(atStart).Inc()
	case errors.Is(err, ledger.ErrQueueFull):
		h.refused.WithLabelValues(queueFull).Inc()
	default:
		h.refused.WithLabelValues(ledgerFailed).Inc()
	}
}

// folded counts the jobs whose label set found no room, by the widest label they lost.
func folded(label string, l *ledger.Ledger, count func(totals.Folded) uint64) prometheus.CounterFunc {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Namespace:   namespace,
		Name:        "jobs_folded_total",
		Help:        "Jobs that count as " + totals.Other + " because the budget of label sets is used up, by the widest label that they lost.",
		ConstLabels: prometheus.Labels{"label": label},
	}, func() float64 { return float64(count(l.Stats().Folded)) })
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

type bytesOf struct{ used, free float64 }

// space is NaN where it is not known.
func space(l *ledger.Ledger) bytesOf {
	s, err := l.Space()
	b := bytesOf{float64(s.Used), float64(s.Free)}
	if err != nil {
		b.used = math.NaN()
	}
	if err != nil || s.Free < 0 {
		b.free = math.NaN()
	}
	return b
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
}

func counterVec(name, help, label string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, []string{label})
}

func gauge(name, help string, value func() float64) prometheus.GaugeFunc {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, value)
}

func unixSeconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMicro()) / 1e6
}
