package api

import (
	"context"
	"net/http"
	"time"

	"ci-jobs-metrics/internal/negotiate"
	"ci-jobs-metrics/internal/query"
	"ci-jobs-metrics/internal/reply"
)

// A request is a query as it is answered.
type request struct {
	query.Request
	definition *query.Definition
}

// handler returns the handler of one query. All queries go this way.
func (a *api) handler(definition *query.Definition) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), a.Timeout)
		defer cancel()
		if err := a.serve(w, r.WithContext(ctx), definition); err != nil {
			write(w, query.RefusalOf(ctx, err, a.Timeout, definition.Name, a.Logger))
		}
	}
}

func (a *api) serve(w http.ResponseWriter, r *http.Request, definition *query.Definition) error {
	asked, err := a.read(r, definition)
	if err != nil {
		return err
	}
	gzip := negotiate.Gzip(r.Header.Values("Accept-Encoding"))
	tag, err := a.tag(r.Context(), asked, gzip)
	if err != nil {
		return err
	}
	out := outgoing{contentType: asked.contentType(), disposition: asked.disposition(a.asker.Zone()), gzip: gzip, tag: tag.Now()}
	known := reply.TagsOf(r)
	if known.Has(out.tag) {
		out.notModified(w)
		return nil
	}
	if r.Method == http.MethodHead {
		out.head(w)
		return nil
	}
	if err := a.compute(r.Context(), asked, tag, &out); err != nil {
		return err
	}
	if known.Has(out.tag) {
		out.notModified(w)
		return nil
	}
	out.write(w)
	return nil
}

func (a *api) read(r *http.Request, definition *query.Definition) (*request, error) {
	values, err := query.ParseValues(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	q, err := query.Read(definition.Name, query.Input{
		Values: values, Accept: r.Header.Values("Accept"), Now: a.Now(), Calendar: a.Ledger.Calendar(),
	})
	return &request{q, definition}, err
}

func (a *api) tag(ctx context.Context, r *request, gzip bool) (*query.Tag, error) {
	version, err := a.Ledger.Version(ctx)
	if err != nil {
		return nil, err
	}
	since, err := a.asker.RecordedSince(ctx)
	return query.NewTag(version, since, r.definition.Moving, r.definition.Name, r.Request, gzip, a.asker.Zone().String()), err
}

// compute answers the query and encodes the answer, while it holds a slot.
func (a *api) compute(ctx context.Context, r *request, tag *query.Tag, out *outgoing) error {
	began := time.Now()
	defer func() { a.Answered(r.definition.Name, time.Since(began)) }()
	release, err := a.Slots.Acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	found, err := answers[r.definition.Name](a, ctx, r)
	if err != nil {
		return err
	}
	if m := found.meta; m != nil {
		tag.SetAsOf(&m.AsOf)
	}
	if err := out.encode(r, &found); err != nil {
		return err
	}
	out.tag = tag.Of(out.body)
	out.compress()
	return ctx.Err()
}
