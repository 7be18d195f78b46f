package page

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"ci-jobs-metrics/internal/api"
	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/negotiate"
	"ci-jobs-metrics/internal/problems"
)

// A visit is a request for a page.
type visit struct {
	*pages
	view     *view
	request  *http.Request
	now      time.Time
	version  ledger.Version
	address  address
	asked    map[string]asked // by question
	document document

	begin      time.Time // of what is recorded
	comparable bool      // with the period before
	// filtersStatus says that jobs are chosen by status.
	filtersStatus bool
}

// An asked is what one of the page's questions asks.
type asked struct {
	api.Request
	part   part
	values url.Values // the same, as the API takes it
}

// handler is the way that all requests for pages go.
func (p *pages) handler(view *view) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		ctx, cancel := context.WithTimeout(r.Context(), p.Timeout)
		defer cancel()
		v := &visit{pages: p, view: view, request: r, now: p.Now()}
		if err := v.serve(ctx, w); err != nil {
			v.refuse(ctx, w, err)
		}
	}
}

func (v *visit) serve(ctx context.Context, w http.ResponseWriter) (err error) {
	if v.address, err = readAddress(v.view, v.request.URL.RawQuery); err != nil {
		return err
	}
	if to, ok := v.address.canonical(); !ok {
		http.Redirect(w, v.request, to, http.StatusSeeOther)
		return nil
	}
	if err := v.read(); err != nil {
		return err
	}
	if v.version, err = v.Ledger.Version(ctx); err != nil {
		return err
	}
	noted, err := v.Problems(ctx)
	if err != nil {
		return err
	}
	out := outgoing{gzip: negotiate.Gzip(v.request.Header.Values("Accept-Encoding"))}
	if !v.view.moving {
		out.tag = v.tag(len(noted))
		if out.known(v.request) {
			out.notModified(w)
			return nil
		}
	}
	if err := v.compute(ctx, noted); err != nil {
		return err
	}
	if out.body, err = v.document.render(); err != nil {
		return err
	}
	out.write(w, v.request)
	return nil
}

// tag is the entity tag of a page that changes with nothing but what is in it.
func (v *visit) tag(noted int) string {
	parts := []any{v.view.path, v.address.values, v.version, noted, v.asker.Zone().String(), v.request.Host, v.request.TLS != nil}
	for _, p := range v.view.parts {
		parts = append(parts, v.asked[p.question].Request)
	}
	return hash(parts)
}

// read reads the parameters of every question.
func (v *visit) read() error {
	v.asked = map[string]asked{}
	for i, part := range v.view.parts {
		values := v.address.question(part)
		if i > 0 {
			v.narrow(values)
		}
		v.choose(values, part)
		request, err := api.Read(values, part.question, v.now, v.Ledger.Calendar())
		if err != nil {
			return &wrong{err, part}
		}
		v.asked[part.question] = asked{request, part, values}
	}
	return nil
}

// narrow has a further question be about the template or project of the page.
func (v *visit) narrow(values url.Values) {
	first := v.view.parts[0].question
	if first == "template" || first == "project" {
		values.Del("name")
		values.Set(first, string(kpi.Exactly(v.asked[first].Name)))
	}
}

// byTheHour is up to which period series are by the hour.
const byTheHour = 3 * 24 * time.Hour

// choose sets what the address leaves to the page.
func (v *visit) choose(values url.Values, part part) {
	if part.rows > 0 && !values.Has("limit") {
		values.Set("limit", whole(part.rows))
	}
	if !takes(part, "interval") || values.Has("interval") {
		return
	}
	if r, err := api.Read(values, part.question, v.now, v.Ledger.Calendar()); err == nil && length(r.Query.Period) <= byTheHour {
		values.Set("interval", string(kpi.Hourly))
	}
}

func length(p kpi.Period) time.Duration { return p.To.Sub(p.From) }

var errNoTurn = errors.New("it was not its turn in time")

// compute builds the document, when it is the page's turn.
func (v *visit) compute(ctx context.Context, noted []problems.Problem) error {
	done, err := v.Turns.Take(ctx)
	if err != nil {
		return errNoTurn
	}
	defer done()
	v.frame(len(noted))
	if err := v.compare(ctx); err != nil {
		return err
	}
	if v.version.Last == 0 && v.view.path != problemsPath { // there may be problems without a job
		v.document.welcome(v.request, len(noted))
		return nil
	}
	return errors.Join(v.view.build(v, ctx), ctx.Err())
}

// ask asks one of the page's questions, and tells how long that took.
func ask[Answer any](v *visit, question string, answer func(asked) (Answer, error)) (Answer, asked, error) {
	began := time.Now()
	defer func() { v.Asked(question, time.Since(began)) }()
	a := v.asked[question]
	found, err := answer(a)
	return found, a, err
}
