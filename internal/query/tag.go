package query

import (
	"time"

	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/reply"
)

// shape must be raised when the same query is answered with other bytes from the same ledger.
// Releases differ by their version; this number is for builds without a version.
const shape = 2

// A Tag makes the entity tag of an answer. The tag of most answers is made of everything that the
// answer depends on: the program, the ledger, and the query with its period resolved. So it is
// known before the answer is computed. The tag of a moving answer is made of its bytes.
type Tag struct {
	version ledger.Version // the answer is of this version, or of a later one
	moving  bool
	parts   []any
}

// NewTag returns the tag of an answer that depends on a version of the ledger, on the time since
// when it is recorded, and on parts, which must be values that JSON can hold.
func NewTag(version ledger.Version, since time.Time, moving bool, parts ...any) *Tag {
	return &Tag{version, moving, append(parts, since.UTC())}
}

// Now returns the tag that an answer computed now would have. It is empty for a moving answer.
func (t *Tag) Now() string {
	if t.moving {
		return ""
	}
	return reply.Tag(append(t.parts, shape, t.version)...)
}

// SetAsOf sets the job up to which the answer was computed: jobs may have come since NewTag.
func (t *Tag) SetAsOf(asOf *kpi.AsOf) {
	t.version.Last, t.version.Received = asOf.Job, asOf.Time.UTC()
}

// Of returns the tag of an answer as it was encoded.
func (t *Tag) Of(body []byte) string {
	if t.moving {
		return reply.Tag(append(t.parts, shape, body)...)
	}
	return t.Now()
}
