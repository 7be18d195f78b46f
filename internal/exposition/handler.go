package exposition

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ci-jobs-metrics/internal/negotiate"
)

// Handler answers GET and HEAD with the jobs, if they are wanted, then what self
// gathers, if it is not nil.
//
// It answers 503 if the totals can't be read and 500 if self can't be gathered,
// each with the reason as text. Both are known before the first byte is sent, so
// only a broken connection can cut an answer of 200 short.
func (e *Exposition) Handler(jobs bool, self prometheus.Gatherer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := time.Now()
		w.Header().Add("Vary", "Accept, Accept-Encoding")
		if err := e.catchUp(r.Context(), jobs); err != nil {
			http.Error(w, "the totals of the jobs can't be read: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		format := Negotiate(r.Header.Values("Accept"))
		health, err := gather(format, self)
		if err != nil {
			http.Error(w, "the receiver's own metrics can't be gathered: "+err.Error(), http.StatusInternalServerError)
			return
		}
		gzip := negotiate.Gzip(r.Header.Values("Accept-Encoding"))
		if r.Method == http.MethodHead {
			declare(w, format, gzip)
			return
		}
		v, err := e.open(r.Context(), format, gzip, jobs, health)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable) // if anybody is still there
			return
		}
		defer e.close(v)
		declare(w, format, gzip)
		w.Header().Set("Content-Length", strconv.FormatInt(v.size, 10))
		limit(w, r, asked)
		_ = v.write(w) // an error can only be the connection's: nobody is left to tell
	})
}

func declare(w http.ResponseWriter, format Format, gzip bool) {
	w.Header().Set("Content-Type", format.ContentType())
	if gzip {
		w.Header().Set("Content-Encoding", "gzip")
	}
}

// How long an answer may take. Prometheus says when it gives up, and reads nothing
// after that; it gets a little longer, so that it is the one to say so.
const (
	maxWrite   = time.Minute
	writeGrace = time.Second
)

// limit ends an answer soon after the scraper has given up, if it says when.
func limit(w http.ResponseWriter, r *http.Request, asked time.Time) {
	seconds, err := strconv.ParseFloat(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64)
	if err != nil || !(seconds > 0) { // NaN neither
		return
	}
	within := maxWrite
	if seconds < (maxWrite - writeGrace).Seconds() {
		within = time.Duration(seconds*float64(time.Second)) + writeGrace
	}
	// Where the writer has no deadline there is no connection that could be slow.
	_ = http.NewResponseController(w).SetWriteDeadline(asked.Add(within))
}
