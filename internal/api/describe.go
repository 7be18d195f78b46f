package api

import (
	_ "embed"
	"net/http"

	"ci-jobs-metrics/internal/negotiate"
	"ci-jobs-metrics/internal/reply"
)

// description is the name of what describes everything below Path, in OpenAPI 3.1.
const description = "openapi.json"

//go:embed openapi.json
var openAPI []byte

// describe serves the description. A test holds it against the program.
func describe(w http.ResponseWriter, r *http.Request) {
	o := outgoing{contentType: typeJSON, body: openAPI, gzip: negotiate.Gzip(r.Header.Values("Accept-Encoding"))}
	o.tag = reply.Tag(openAPI, o.gzip)
	switch {
	case reply.TagsOf(r).Has(o.tag):
		o.notModified(w)
	case r.Method == http.MethodHead:
		o.head(w)
	default:
		o.compress()
		o.write(w)
	}
}
