package receiver

import (
	"errors"
	"net/http"
	"sync/atomic"

	"ci-jobs-metrics/internal/steps"
)

// A door is what the server serves: one handler until the ledger is open, and all routes
// from then on.
type door struct{ handler atomic.Pointer[http.Handler] }

// lead has requests from now on answered by h.
func (d *door) lead(h http.Handler) { d.handler.Store(&h) }

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) { (*d.handler.Load()).ServeHTTP(w, r) }

// errStarting is why nothing is recorded yet.
var errStarting = errors.New("the receiver is starting, it opens the ledger")

// startingRoutes are what is answered until the ledger is open: that the process is
// alive, and that everything else is to be asked again.
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
