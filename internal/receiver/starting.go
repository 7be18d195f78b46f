package receiver

import (
	"errors"
	"net/http"
	"sync/atomic"

	"ci-jobs-metrics/internal/steps"
)

// A switcher is the server's handler: it serves startingRoutes until the ledger is open, and all routes
// after that. Its methods may be called from several goroutines.
type switcher struct{ handler atomic.Pointer[http.Handler] }

// switchTo makes h answer all further requests.
func (d *switcher) switchTo(h http.Handler) { d.handler.Store(&h) }

func (d *switcher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	(*d.handler.Load()).ServeHTTP(w, r)
}

// errStarting is the reason why no job is recorded yet.
var errStarting = errors.New("the receiver is starting, it opens the ledger")

// startingRoutes answer until the ledger is open: /-/healthy is 200, and everything else is 503 with
// Retry-After.
func startingRoutes(h *health) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /-/healthy", healthy)
	mux.HandleFunc(steps.Path, func(w http.ResponseWriter, _ *http.Request) {
		h.unrecorded(errStarting)
		steps.Unavailable(w, errStarting)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "The receiver is starting: it opens the ledger. Ask again in a second.", http.StatusServiceUnavailable)
	})
	return mux
}
