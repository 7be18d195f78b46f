package receiver

import "net/http"

// Handler is what the server serves.
func Handler(r *Receiver) http.Handler { return r.server.Handler }
