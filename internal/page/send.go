package page

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/common/version"
)

const typeHTML = "text/html; charset=utf-8"

// policy lets a page have what this program serves, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// secure sets the headers that every answer has.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}

// An outgoing is a page as it is sent.
type outgoing struct {
	body []byte
	tag  string // empty until the body tells
	gzip bool   // the client takes it
}

// known says whether the client has the page already.
func (o *outgoing) known(r *http.Request) bool {
	for _, line := range r.Header.Values("If-None-Match") {
		for tag := range strings.SplitSeq(line, ",") {
			if tag = strings.TrimSpace(tag); tag == o.tag || tag == "*" {
				return true
			}
		}
	}
	return false
}

func (o *outgoing) declare(h http.Header) {
	h.Set("Cache-Control", "no-cache, private") // may be kept, and has to be asked for again
	h.Set("Vary", "Accept-Encoding")
	h.Set("ETag", o.tag)
}

func (o *outgoing) notModified(w http.ResponseWriter) {
	o.declare(w.Header())
	w.WriteHeader(http.StatusNotModified)
}

func (o *outgoing) write(w http.ResponseWriter, r *http.Request) {
	if o.tag == "" {
		o.tag = hash([]any{o.body})
		if o.known(r) {
			o.notModified(w)
			return
		}
	}
	h := w.Header()
	o.declare(h)
	h.Set("Content-Type", typeHTML)
	if o.gzip {
		o.body = compress(o.body)
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(len(o.body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(o.body) // an error can only be the connection's
	}
}

// hash is a weak entity tag: that of a page that was made a moment before the next job
// came may have that job. It is another one in every build that shows something else.
func hash(parts []any) string {
	text, err := json.Marshal(append(parts, version.Version, version.GetRevision(), fingerprint()))
	if err != nil { // can't be: the types hold nothing that JSON doesn't
		return ""
	}
	sum := sha256.Sum256(text)
	return `W/"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
}

// A compressor holds most of a megabyte.
var compressors = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

func compress(body []byte) []byte {
	var b bytes.Buffer
	z := compressors.Get().(*gzip.Writer)
	defer compressors.Put(z)
	z.Reset(&b)
	_, _ = z.Write(body) // it fails only where the buffer does
	_ = z.Close()
	return b.Bytes()
}
