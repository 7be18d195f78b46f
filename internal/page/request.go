package page

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/negotiate"
	"ci-jobs-metrics/internal/problems"
	"ci-jobs-metrics/internal/query"
)

// A request is a request for a page.
type request struct {
	*pages
	view     *view
	http     *http.Request
	now      time.Time
	version  ledger.Version
	since    time.Time // when recording began
	address  address
	asked    map[string]asked // by query
	problems []problems.Problem
	document document
}

// An asked is one of the page's queries, as it was read.
type asked struct {
	query.Request
	part   part
	values url.Values // the same, as the API takes it
}

// handler returns the handler of a page. All requests for pages go this way.
func (p *pages) handler(view *view) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		ctx, cancel := context.WithTimeout(r.Context(), p.Timeout)
		defer cancel()
		v := &request{pages: p, view: view, http: r, now: p.Now()}
		if err := v.serve(ctx, w); err != nil {
			v.refuse(ctx, w, err)
		}
	}
}

func (v *request) serve(ctx context.Context, w http.ResponseWriter) (err error) {
	if v.address, err = readAddress(v.view, v.http.URL.RawQuery); err != nil {
		return err
	}
	if to, ok := v.address.canonical(); !ok {
		http.Redirect(w, v.http, to, http.StatusSeeOther)
		return nil
	}
	if err := v.read(); err != nil {
		return err
	}
	if v.version, err = v.Ledger.Version(ctx); err != nil {
		return err
	}
	if v.since, err = v.asker.RecordedSince(ctx); err != nil {
		return err
	}
	tag := v.tag()
	out := outgoing{gzip: negotiate.Gzip(v.http.Header.Values("Accept-Encoding")), tag: weak(tag.Now())}
	if out.known(v.http) {
		out.notModified(w)
		return nil
	}
	if v.problems, err = v.Problems(ctx); err != nil {
		return err
	}
	if err := v.compute(ctx); err != nil {
		return err
	}
	if out.body, err = v.document.render(); err != nil {
		return err
	}
	out.tag = weak(tag.Of(out.body))
	out.write(w, v.http)
	return nil
}

// tag makes the page's entity tag. A page shows the number of input problems, whatever it is about.
func (v *request) tag() *query.Tag {
	parts := []any{v.view.path, v.address.values, v.asker.Zone().String(), v.http.Host, v.http.TLS != nil, v.ProblemsRevision(), fingerprint()}
	for _, p := range v.view.parts {
		parts = append(parts, v.asked[p.query].Request)
	}
	return query.NewTag(v.version, v.since, v.view.moving, parts...)
}

// read reads the parameters of every query.
func (v *request) read() error {
	v.asked = map[string]asked{}
	for i, part := range v.view.parts {
		values := v.address.parameters(part)
		if i > 0 {
			v.narrow(values)
		}
		v.choose(values, part)
		r, err := v.readPart(values, part)
		if err != nil {
			return err
		}
		v.asked[part.query] = asked{r, part, values}
	}
	return nil
}

func (v *request) readPart(values url.Values, p part) (query.Request, error) {
	return query.Read(p.query, query.Input{Values: values, Now: v.now, Calendar: v.Ledger.Calendar()})
}

// narrow limits a further query to the template or project of the page.
func (v *request) narrow(values url.Values) {
	first := v.view.parts[0].query
	if first == "template" || first == "project" {
		values.Del("name")
		values.Set(first, string(kpi.Exactly(v.asked[first].Name)))
	}
}

// byTheHour is the longest period whose series are by the hour.
const byTheHour = 3 * 24 * time.Hour

// choose sets the parameters that the address leaves to the page.
func (v *request) choose(values url.Values, part part) {
	if part.rows > 0 && !values.Has("limit") {
		values.Set("limit", whole(part.rows))
	}
	if !takes(part, "interval") || values.Has("interval") {
		return
	}
	if r, err := v.readPart(values, part); err == nil && length(r.Query.Period) <= byTheHour {
		values.Set("interval", string(kpi.Hourly))
	}
}

func length(p kpi.Period) time.Duration { return p.To.Sub(p.From) }

// compute builds the document, while it holds a slot.
func (v *request) compute(ctx context.Context) error {
	release, err := v.Slots.Acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	v.frame()
	if v.version.Last == 0 && v.view.path != problemsPath { // there may be problems without a job
		v.document.welcome(v.http, len(v.problems))
		return nil
	}
	return errors.Join(v.view.build(v, ctx), ctx.Err())
}

// answer answers one of the page's queries, and reports how long that took.
func answer[Answer any](v *request, name string, ask func(asked) (Answer, error)) (Answer, asked, error) {
	began := time.Now()
	defer func() { v.Answered(name, time.Since(began)) }()
	a := v.asked[name]
	found, err := ask(a)
	return found, a, err
}
