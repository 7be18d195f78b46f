package api

import (
	"context"

	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/reply"
)

// shape is to be raised when the same question is answered with other bytes from the same
// ledger. Releases differ anyway; this is for builds that don't say which they are.
const shape = 1

// A tagger makes the entity tag of an answer, a strong one. That of most is made of all
// that the answer depends on: the program, the ledger, and the question with its period
// resolved. So it is known before there is an answer. That of a moving one is made of its
// bytes.
type tagger struct {
	version ledger.Version // the answer is of this, or of a later one
	moving  bool
	parts   []any // beside the version
}

func (a *api) tagger(ctx context.Context, q *question, r *request, gzip bool) (*tagger, error) {
	version, err := a.Ledger.Version(ctx)
	return &tagger{version, q.moving, []any{
		q.name, r.name, r.query, r.cut, r.csv, gzip, a.asker.Zone().String(),
	}}, err
}

// now is the tag that an answer of now would have; empty if only its bytes tell.
func (t *tagger) now() string {
	if t.moving {
		return ""
	}
	return reply.Tag(append(t.parts, shape, t.version)...)
}

// asOf takes over as of which job an answer is: one may have come since the tag was made.
func (t *tagger) asOf(asOf *kpi.AsOf) { t.version.Last, t.version.Received = asOf.Job, asOf.Time.UTC() }

// of is the tag of an answer as it was encoded.
func (t *tagger) of(body []byte) string {
	if t.moving {
		return reply.Tag(append(t.parts, shape, body)...)
	}
	return t.now()
}
