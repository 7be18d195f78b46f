package page

import (
	"net/http"
	"strconv"

	"ci-jobs-metrics/internal/reply"
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
	tag  string // empty: not known yet
	gzip bool   // the client takes it
}

// known reports whether the client has the page already.
func (o *outgoing) known(r *http.Request) bool { return reply.TagsOf(r).Has(o.tag) }

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
	if o.known(r) {
		o.notModified(w)
		return
	}
	h := w.Header()
	o.declare(h)
	h.Set("Content-Type", typeHTML)
	if o.gzip {
		o.body = reply.Compress(o.body)
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(len(o.body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(o.body) // an error can only be the connection's
	}
}

// weak makes a weak entity tag: a page that was made just before the next job came may have that job.
func weak(tag string) string {
	if tag == "" {
		return ""
	}
	return reply.Weak(tag)
}
