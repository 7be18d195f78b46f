package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/negotiate"
	"ci-jobs-metrics/internal/reply"
)

// A question is one that can be asked, behind Path.
type question struct {
	name    string
	takes   string   // names of its parameters, divided by spaces
	columns []string // by which its table can be sorted
	sort    string   // how it is, if nothing else is asked for
	ask     func(*api, context.Context, *request) (answer, error)
	// moving says that the answer can change without a new job: only its bytes tell.
	moving bool
}

func (q *question) parameters() []string { return strings.Fields(q.takes) }

// An answer is what a question was answered with.
type answer struct {
	document any       // as JSON
	meta     *kpi.Meta // in the document; nil: there is none
	rows     any       // as CSV: a slice of structs
	beyond   int       // rows of the table behind these, some of which may be gone
}

// handler answers a question: the way that all go.
func (a *api) handler(q *question) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), a.Timeout)
		defer cancel()
		if err := a.serve(w, r.WithContext(ctx), q); err != nil {
			a.refuse(ctx, w, q, err)
		}
	}
}

func (a *api) serve(w http.ResponseWriter, r *http.Request, q *question) error {
	asked, err := a.decode(r, q)
	if err != nil {
		return err
	}
	gzip := negotiate.Gzip(r.Header.Values("Accept-Encoding"))
	t, err := a.tagger(r.Context(), q, &asked, gzip)
	if err != nil {
		return err
	}
	out := outgoing{contentType: asked.contentType(), disposition: asked.disposition(q, a.asker.Zone()), gzip: gzip, tag: t.now()}
	known := reply.TagsOf(r)
	if known.Has(out.tag) {
		out.notModified(w)
		return nil
	}
	if r.Method == http.MethodHead {
		out.head(w)
		return nil
	}
	if err := a.compute(r.Context(), q, &asked, t, &out); err != nil {
		return err
	}
	if known.Has(out.tag) {
		out.notModified(w)
		return nil
	}
	out.write(w)
	return nil
}

// compute answers and encodes, when it is the question's turn.
func (a *api) compute(ctx context.Context, q *question, r *request, t *tagger, out *outgoing) error {
	began := time.Now()
	defer func() { a.Asked(q.name, time.Since(began)) }()
	done, err := a.Turns.Take(ctx)
	if err != nil {
		return errNoTurn
	}
	defer done()
	found, err := q.ask(a, ctx, r)
	if err != nil {
		return err
	}
	if m := found.meta; m != nil {
		t.asOf(&m.AsOf)
	}
	if err := out.encode(r, &found); err != nil {
		return err
	}
	out.tag = t.of(out.body)
	out.compress()
	return ctx.Err()
}
