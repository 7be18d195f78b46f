package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/kpi"
)

// A refusal is why there is no answer, as RFC 9457 asks, and what to do about it.
type refusal struct {
	Type      string `json:"type"` // always about:blank: the status says it
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Parameter string `json:"parameter,omitempty"` // the one that is wrong
	Remedy    string `json:"remedy"`
}

func (r *refusal) Error() string { return r.Detail }

// bad says what is wrong with a parameter; an empty one stands for all of the query.
func bad(parameter, remedy, detail string, args ...any) *refusal {
	return &refusal{Status: http.StatusBadRequest, Parameter: parameter, Remedy: remedy, Detail: fmt.Sprintf(detail, args...)}
}

// retryAfter is when to ask again what could not be answered now, in seconds.
const retryAfter = "10"

var errNoTurn = errors.New("it was not its turn in time")

// refuse is the one place where an error becomes a status. ctx is the question's.
func (a *api) refuse(ctx context.Context, w http.ResponseWriter, q *question, err error) {
	var r *refusal
	switch {
	case errors.As(err, &r):
	case errors.Is(err, kpi.ErrTooMany):
		r = bad("", "filter by template, project or version, or ask for a shorter period", "%s", err.Error())
	case errors.Is(ctx.Err(), context.Canceled):
		r = unavailable("the request was broken off", "ask again") // nobody reads it
	case errors.Is(err, errNoTurn):
		a.Logger.Warn("A question waited too long for its turn", "question", q.name)
		r = unavailable("it was not this question's turn within "+a.Timeout.String()+", for others are being answered",
			"ask again later")
	case ctx.Err() != nil: // whatever the ledger calls it
		a.Logger.Warn("A question took too long", "question", q.name)
		r = unavailable("there was no answer within "+a.Timeout.String(), "ask for a shorter period")
	default:
		a.Logger.Error("A question could not be answered", "question", q.name, "err", err)
		r = unavailable(err.Error(), "ask again; if it stays so, /-/ready and the receiver's log say more")
	}
	r.write(w)
}

func unavailable(detail, remedy string) *refusal {
	return &refusal{Status: http.StatusServiceUnavailable, Detail: detail, Remedy: remedy}
}

func (r *refusal) write(w http.ResponseWriter) {
	r.Type, r.Title = "about:blank", http.StatusText(r.Status)
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if r.Status == http.StatusServiceUnavailable {
		h.Set("Retry-After", retryAfter)
	}
	w.WriteHeader(r.Status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false) // remedies are for people to read
	_ = encoder.Encode(r)        // an error can only be the connection's
}

// readOnly refuses every method but GET and HEAD.
func readOnly(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			next(w, r)
			return
		}
		w.Header().Set("Allow", "GET, HEAD")
		(&refusal{Status: http.StatusMethodNotAllowed, Detail: "nothing here can be changed", Remedy: "ask with GET or HEAD"}).write(w)
	}
}

// nowhere answers for every path that is none.
func nowhere(w http.ResponseWriter, r *http.Request) {
	(&refusal{Status: http.StatusNotFound, Detail: "there is nothing at " + job.Quote(r.URL.Path),
		Remedy: "ask for one of " + Path + strings.Join(append(Questions(), description), ", "+Path)}).write(w)
}
