package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/prometheus/common/version"

	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/ledger"
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
	return hash(append(t.parts, t.version))
}

// asOf takes over as of which job an answer is: one may have come since the tag was made.
func (t *tagger) asOf(asOf *kpi.AsOf) { t.version.Last, t.version.Received = asOf.Job, asOf.Time.UTC() }

// of is the tag of an answer as it was encoded.
func (t *tagger) of(body []byte) string {
	if t.moving {
		return hash(append(t.parts, body))
	}
	return t.now()
}

func hash(parts []any) string {
	text, err := json.Marshal(append(parts, shape, version.Version, version.GetRevision()))
	if err != nil { // can't be: the types hold nothing that JSON doesn't
		return ""
	}
	sum := sha256.Sum256(text)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
}

// tags are those of an If-None-Match header.
type tags []string

// parseTags reads the lines of the header; "*" stands for any tag. What comes behind
// something that is no tag is as if it were not there.
func parseTags(lines []string) (list tags) {
	rest := strings.Join(lines, ",")
	for {
		rest = strings.TrimLeft(rest, ", \t")
		if strings.HasPrefix(rest, "*") {
			return append(list, "*")
		}
		rest = strings.TrimPrefix(rest, "W/") // weak ones are as good here
		if !strings.HasPrefix(rest, `"`) {
			return list
		}
		end := strings.IndexByte(rest[1:], '"') + 2
		if end < 2 {
			return list
		}
		list, rest = append(list, rest[:end]), rest[end:]
	}
}

// has says whether the client has the answer with a tag. One whose tag is not known yet, it
// has if it takes any.
func (t tags) has(tag string) bool {
	for _, known := range t {
		if known == "*" || known == tag {
			return true
		}
	}
	return false
}
