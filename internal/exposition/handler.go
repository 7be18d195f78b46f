package exposition

import (
	"context"
	"net/http"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"

	"ci-jobs-metrics/internal/totals"
)

// Jobs returns the totals as they are now. An error says that they can't be
// known; whoever asked gets no older ones instead.
type Jobs func(context.Context) (*totals.Snapshot, error)

// Handler answers GET and HEAD with the jobs, then what self gathers. Either may
// be nil, and is left out then.
//
// It answers 503 if the totals can't be read and 500 if self can't be gathered,
// each with the reason as text. Both are known before the first byte is sent, so
// only a broken connection can cut an answer of 200 short.
func (e *Exposition) Handler(jobs Jobs, self prometheus.Gatherer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept, Accept-Encoding")
		snapshot, err := read(r.Context(), jobs)
		if err != nil {
			http.Error(w, "the totals of the jobs can't be read: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		format := Negotiate(r.Header.Values("Accept"))
		health, err := gather(format, self)
		if err != nil {
			http.Error(w, "the receiver's own metrics can't be gathered: "+err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", format.ContentType())
		compress := AcceptsGzip(r.Header.Values("Accept-Encoding"))
		if compress {
			w.Header().Set("Content-Encoding", "gzip")
		}
		if r.Method == http.MethodHead {
			return
		}
		// An error can only be the connection's: nobody is left to tell.
		if compress {
			_ = e.compress(w, format, snapshot, health)
		} else {
			_ = e.write(w, format, snapshot, health)
		}
	})
}

func read(ctx context.Context, jobs Jobs) (*totals.Snapshot, error) {
	if jobs == nil {
		return nil, nil
	}
	return jobs(ctx)
}

// compressors are kept between scrapes: each holds about a megabyte.
var compressors = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant that is valid
	}
	return z
}}

// compress writes the document as one gzip member, which every client reads.
func (e *Exposition) compress(w http.ResponseWriter, format Format, jobs *totals.Snapshot, health []byte) error {
	z := compressors.Get().(*gzip.Writer)
	defer compressors.Put(z)
	z.Reset(w)
	if err := e.write(z, format, jobs, health); err != nil {
		return err
	}
	return z.Close()
}
