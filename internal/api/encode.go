package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"ci-jobs-metrics/internal/query"
	"ci-jobs-metrics/internal/reply"
)

const (
	typeJSON = "application/json"
	typeCSV  = "text/csv"
)

func (r *request) contentType() string {
	if r.CSV {
		return typeCSV + "; charset=utf-8; header=present"
	}
	return typeJSON
}

// disposition makes browsers save a CSV under a name that says what it is. They show JSON.
func (r *request) disposition(zone *time.Location) string {
	if !r.CSV {
		return ""
	}
	parts := []string{"ci-jobs", r.definition.Name}
	if r.Name != "" {
		parts = append(parts, fileName(r.Name))
	}
	if p := r.Query.Period; !p.To.IsZero() {
		parts = append(parts, p.From.In(zone).Format(time.DateOnly), p.To.In(zone).Format(time.DateOnly))
	}
	return `attachment; filename="` + strings.Join(parts, "_") + `.csv"`
}

var unusual = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// fileName is a text as every file system and header takes it.
func fileName(text string) string {
	const most = 80
	name := unusual.ReplaceAllString(text, "-")
	return name[:min(most, len(name))]
}

// An outgoing is what is sent: an answer, or that it did not change.
type outgoing struct {
	contentType, disposition string
	tag                      string // empty: not known
	gzip                     bool   // the client takes it
	body                     []byte
	compressed               bool
}

func (o *outgoing) encode(r *request, a *answer) (err error) {
	var b bytes.Buffer
	switch {
	case !r.CSV:
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false) // nothing takes it for HTML
		err = encoder.Encode(a.document)
	case a.beyond > 0 && reflect.ValueOf(a.rows).Len() == query.MaxRows: // more than limit can ask for
		err = query.BadParameter("limit", fmt.Sprintf("the table has more than the %d rows of a CSV", query.MaxRows),
			"shorten the period, filter, or ask for parts with limit and offset")
	default:
		err = writeCSV(&b, a.rows)
	}
	o.body = b.Bytes()
	return err
}

func (o *outgoing) compress() {
	if o.gzip && len(o.body) >= reply.WorthIt {
		o.body, o.compressed = reply.Compress(o.body), true
	}
}

// declare sets the headers that an answer has, whether or not its body is sent.
func (o *outgoing) declare(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-cache, private") // may be kept, and has to be asked for again
	h.Set("Vary", "Accept, Accept-Encoding")
	if o.tag != "" {
		h.Set("ETag", o.tag)
	}
}

func (o *outgoing) notModified(w http.ResponseWriter) {
	o.declare(w)
	w.WriteHeader(http.StatusNotModified)
}

func (o *outgoing) head(w http.ResponseWriter) {
	o.declare(w)
	h := w.Header()
	h.Set("Content-Type", o.contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	if o.disposition != "" {
		h.Set("Content-Disposition", o.disposition)
	}
}

func (o *outgoing) write(w http.ResponseWriter) {
	o.head(w)
	w.Header().Set("Content-Length", strconv.Itoa(len(o.body)))
	if o.compressed {
		w.Header().Set("Content-Encoding", "gzip")
	}
	_, _ = w.Write(o.body) // an error can only be the connection's
}
