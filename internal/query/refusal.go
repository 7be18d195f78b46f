package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"ci-jobs-metrics/internal/kpi"
)

// A Refusal is the reason why there is no answer, and what to ask instead. As JSON it is a
// document of problem details (RFC 9457).
type Refusal struct {
	Type      string `json:"type"` // always about:blank: the status is the type
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Parameter string `json:"parameter,omitempty"` // the one that is wrong; empty: the query as a whole
	Remedy    string `json:"remedy"`
}

func (r *Refusal) Error() string { return r.Detail }

// Refuse returns a refusal with the given status.
func Refuse(status int, detail, remedy string) *Refusal {
	return &Refusal{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Remedy: remedy}
}

// BadParameter returns the refusal of a parameter; an empty one stands for the query as a whole.
func BadParameter(parameter, detail, remedy string) *Refusal {
	r := Refuse(http.StatusBadRequest, detail, remedy)
	r.Parameter = parameter
	return r
}

// bad is BadParameter with a format for the detail.
func bad(parameter, remedy, detail string, args ...any) *Refusal {
	return BadParameter(parameter, fmt.Sprintf(detail, args...), remedy)
}

// RetryAfter is the value of the Retry-After header of a 503, in seconds.
const RetryAfter = "10"

// RefusalOf turns the error of a query into a refusal, and logs what an operator must know. ctx is
// the query's, timeout its time limit, and name its name or the path of the page.
func RefusalOf(ctx context.Context, err error, timeout time.Duration, name string, logger *slog.Logger) *Refusal {
	const busy = http.StatusServiceUnavailable
	var r *Refusal
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, kpi.ErrTooMany):
		return bad("", "filter by template, project or version, or ask for a shorter period", "%s", err.Error())
	case errors.Is(ctx.Err(), context.Canceled):
		return Refuse(busy, "the client closed the connection", "send the query again") // there is no reader
	case errors.Is(err, ErrNoSlot):
		logger.Warn("A query found no free slot in time", "query", name, "timeout", timeout)
		return Refuse(busy, fmt.Sprintf("%v: no free slot within %v", ErrNoSlot, timeout), "retry later, or ask for a shorter period")
	case ctx.Err() != nil: // whatever error the ledger made of it
		logger.Warn("A query took too long", "query", name, "timeout", timeout)
		return Refuse(busy, fmt.Sprintf("the query was not answered within %v", timeout), "ask for a shorter period")
	}
	logger.Error("A query could not be answered", "query", name, "err", err)
	return Refuse(busy, err.Error(), "retry; if it fails again, look at /-/ready and at the receiver's log")
}
