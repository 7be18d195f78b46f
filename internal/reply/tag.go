// Package reply is what answers over HTTP have in common, whoever makes them: entity tags
// (RFC 9110, section 8.8.3), by which a client learns that it has the answer already, and
// compression. Package api uses it for numbers, package page for what people look at.
package reply

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/prometheus/common/version"
)

// Tag makes a strong entity tag of all that an answer depends on beside this program, whose
// version is in it. The parts have to be what JSON can hold.
func Tag(parts ...any) string {
	text, err := json.Marshal(append(parts, version.Version, version.GetRevision()))
	if err != nil { // a caller's mistake; without a tag every answer is sent as a whole
		return ""
	}
	sum := sha256.Sum256(text)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
}

const weak = "W/"

// Weak makes a tag one of answers that are as good as each other.
func Weak(tag string) string { return weak + tag }

// Tags are the entity tags of the answers that a client has.
type Tags []string

// TagsOf reads a request's If-None-Match; "*" stands for any tag. It ignores everything after an element
// that is not a tag.
func TagsOf(r *http.Request) (list Tags) {
	rest := strings.Join(r.Header.Values("If-None-Match"), ",")
	for {
		rest = strings.TrimLeft(rest, ", \t")
		if strings.HasPrefix(rest, "*") {
			return append(list, "*")
		}
		rest = strings.TrimPrefix(rest, weak)
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

// Has says whether the client has the answer with a tag, weak or not. One whose tag is not
// known yet, which is empty, it has if it takes any.
func (t Tags) Has(tag string) bool {
	tag = strings.TrimPrefix(tag, weak)
	for _, known := range t {
		if known == "*" || known == tag {
			return true
		}
	}
	return false
}
