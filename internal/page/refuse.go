package page

import (
	"context"
	"errors"
	"net/http"

	"ci-jobs-metrics/internal/api"
)

// A bad is what is wrong with an address.
type bad struct{ parameter, detail, remedy string }

func (b *bad) Error() string { return b.detail }

// A wrong is what package api says of one of a page's questions.
type wrong struct {
	error
	part part
}

func (w *wrong) Unwrap() error { return w.error }

// A refusal is why there is no page, and what to do about it.
type refusal struct {
	Status                    int
	Detail, Remedy, Parameter string
}

// refuse is the one place where an error becomes a page. ctx is the visit's.
func (v *visit) refuse(ctx context.Context, w http.ResponseWriter, err error) {
	r := v.refusalOf(ctx, err)
	v.document = document{}
	v.address.values = nil // they may be what is wrong
	v.frame(0)
	v.document.Title = http.StatusText(r.Status)
	v.document.Refusal = &r
	body, err := v.document.render()
	if err != nil {
		http.Error(w, r.Detail, r.Status)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", typeHTML)
	if r.Status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "10")
	}
	w.WriteHeader(r.Status)
	_, _ = w.Write(body) // an error can only be the connection's
}

func (v *visit) refusalOf(ctx context.Context, err error) refusal {
	var own *bad
	var asked *wrong
	switch {
	case errors.As(err, &own):
		return refusal{http.StatusBadRequest, own.detail, own.remedy, own.parameter}
	case errors.As(err, &asked):
		parameter, remedy, _ := api.Explain(err)
		return refusal{http.StatusBadRequest, err.Error(), remedy, parameter}
	case errors.Is(ctx.Err(), context.Canceled):
		return unavailable("the request was broken off", "ask again") // nobody reads it
	case errors.Is(err, errNoTurn):
		v.Logger.Warn("A page waited too long for its turn", "page", v.view.path)
		return unavailable("it was not this page's turn within "+v.Timeout.String()+", for others are being made", "reload it later")
	case ctx.Err() != nil: // whatever the ledger calls it
		v.Logger.Warn("A page took too long", "page", v.view.path)
		return unavailable("the page was not ready within "+v.Timeout.String(), "choose a shorter period")
	}
	v.Logger.Error("A page could not be made", "page", v.view.path, "err", err)
	return unavailable(err.Error(), "reload it; if it stays so, /-/ready and the receiver's log say more")
}

func unavailable(detail, remedy string) refusal {
	return refusal{Status: http.StatusServiceUnavailable, Detail: detail, Remedy: remedy}
}
