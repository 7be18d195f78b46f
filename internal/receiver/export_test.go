package receiver

import (
	"net/http"

	"ci-jobs-metrics/internal/ledger"
)

// Handler is what the server serves.
func Handler(r *Receiver) http.Handler { return r.server.Handler }

// Ledger is what it records in.
func Ledger(r *Receiver) *ledger.Ledger { return r.ledger }
