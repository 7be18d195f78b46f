package steps

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"ci-jobs-metrics/internal/job"
)

// An item is one job of a request as it was read: a report, or why there is none.
type item struct {
	report   job.Report
	warnings []job.Problem // what was left out of the report
	problems []job.Problem // why there is none
}

func badItem(reason job.Reason, value []byte, remedy string) item {
	return item{problems: []job.Problem{{Reason: reason, Value: job.Quote(string(value)), Remedy: remedy}}}
}

// A requestError says why a request as a whole can't be read.
type requestError struct {
	status int
	detail string
}

func (e *requestError) Error() string { return e.detail }

func badRequest(format string, args ...any) error {
	return &requestError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// decode reads the jobs that a request brings, whatever its form. Its error is a
// *requestError.
func decode(r *http.Request, body []byte, c *claim) ([]item, error) {
	if r.Method == http.MethodGet {
		if report, ok := plainQuery(r.URL.RawQuery); ok {
			return []item{{report: report}}, nil
		}
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("the query can't be read: %v: escape %%, & and ; in values (curl -G --data-urlencode does)", err)
	}
	if r.Method == http.MethodGet {
		return []item{{report: fromValues(anyCase(query))}}, nil
	}
	contentType := r.Header.Get("Content-Type")
	if contentType == "" && len(body) == 0 { // curl -X POST '.../steps?name=...'
		contentType = typeForm
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	switch {
	case err == nil && mediaType == typeForm:
		if err := c.forForm(body); err != nil {
			return nil, err
		}
		return decodeForm(body, query)
	case err == nil && mediaType == TypeJSON:
		if err := c.forCopy(body); err != nil {
			return nil, err
		}
		return decodeJSON(body, c)
	case err == nil && ndjsonTypes[mediaType]:
		if err := c.forCopy(body); err != nil {
			return nil, err
		}
		return decodeNDJSON(body, c)
	}
	return nil, &requestError{http.StatusUnsupportedMediaType,
		fmt.Sprintf("Content-Type %q can't be read: send %s, %s or application/x-ndjson", job.Quote(contentType), TypeJSON, typeForm)}
}

func readBody(w http.ResponseWriter, r *http.Request, c *claim) ([]byte, error) {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		w.Header().Set("Accept-Encoding", "identity")
		return nil, &requestError{http.StatusUnsupportedMediaType,
			fmt.Sprintf("Content-Encoding %q can't be read: send the body as it is", job.Quote(encoding))}
	}
	limited := http.MaxBytesReader(w, r.Body, MaxBody)
	body, err := c.readAll(limited, r.ContentLength)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, errBusy):
		// The rest is read all the same, or simple senders, which read no answer before
		// they have sent everything, would only see that the connection is closed.
		c.release()
		_, _ = io.Copy(io.Discard, limited)
		return nil, err
	case errors.As(err, &tooLarge):
		return nil, &requestError{http.StatusRequestEntityTooLarge,
			fmt.Sprintf("the body is larger than %d bytes: send fewer jobs at a time", MaxBody)}
	case err != nil:
		// Not a 400, which a sender takes for final: the same may arrive next time.
		return nil, &requestError{http.StatusRequestTimeout, fmt.Sprintf("the body did not arrive whole: %v", err)}
	}
	return body, nil
}

// decodeForm reads one job from a form. Parameters of the address count too, the
// body's first.
func decodeForm(body []byte, query url.Values) ([]item, error) {
	if start := bytes.TrimSpace(body); len(start) > 0 && (start[0] == '{' || start[0] == '[') {
		return nil, &requestError{http.StatusUnsupportedMediaType,
			"the body looks like JSON, but is sent as a form: add -H 'Content-Type: application/json'"}
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, badRequest("the form can't be read: %v: escape %%, & and ; in values (curl --data-urlencode does)", err)
	}
	values = anyCase(values)
	for field, v := range anyCase(query) {
		values[field] = append(values[field], v...)
	}
	return []item{{report: fromValues(values)}}, nil
}

// anyCase has all names in lower case: names count in any case, as in JSON. If one is
// written in several, lower case comes first, then the order of the alphabet: the same
// request means the same each time.
func anyCase(v url.Values) url.Values {
	var odd []string
	for name := range v {
		if strings.ToLower(name) != name {
			odd = append(odd, name)
		}
	}
	slices.Sort(odd)
	for _, name := range odd {
		lower := strings.ToLower(name)
		v[lower] = append(v[lower], v[name]...)
	}
	return v
}

// fromValues takes the first value of each field.
func fromValues(v url.Values) job.Report {
	return job.Report{
		Name: v.Get("name"), Project: v.Get("project"), Status: v.Get("status"),
		Started: v.Get("started"), Finished: v.Get("finished"), Duration: v.Get("duration"),
		ID: v.Get("id"), Version: v.Get("version"), Job: v.Get("job"), URL: v.Get("url"),
		Stage: v.Get("stage"), Ref: v.Get("ref"), SHA: v.Get("sha"),
		Pipeline: v.Get("pipeline"), Runner: v.Get("runner"), Source: v.Get("source"),
	}
}

// decodeJSON reads one object or an array. What is not JSON as a whole is the
// request's fault, what is wrong inside an array its item's.
func decodeJSON(body []byte, c *claim) ([]item, error) {
	body = trim(body)
	if len(body) == 0 {
		return nil, badRequest("the body is empty: send a JSON object or an array of them")
	}
	if body[0] != '[' {
		if i, ok := plainObject(string(body)); ok {
			return []item{i}, nil
		}
		if !json.Valid(body) {
			return nil, badRequest("the body is not one JSON value: %s", jsonFault(body))
		}
		return []item{decodeObject(body)}, nil
	}
	quick := plain{text: string(body)}
	if items, ok, err := quick.array(c); ok || err != nil {
		return items, err
	}
	if !json.Valid(body) {
		return nil, badRequest("the body is not a JSON array: %s", jsonFault(body))
	}
	return decodeArray(body, c)
}

// decodeArray reads what is a JSON array, one item after the other: a body can hold far
// more values than are accepted.
func decodeArray(body []byte, c *claim) ([]item, error) {
	var items []item
	array := json.NewDecoder(bytes.NewReader(body))
	if _, err := array.Token(); err != nil {
		return nil, badRequest("the body is not a JSON array: %v", err)
	}
	for array.More() {
		if len(items) == MaxItems {
			return nil, tooMany()
		}
		if err := c.forJob(len(items)); err != nil {
			return nil, err
		}
		var raw json.RawMessage
		if err := array.Decode(&raw); err != nil {
			return nil, badRequest("the body is not a JSON array: %v", err)
		}
		items = append(items, decodeObject(raw))
	}
	return items, nil
}

// decodeNDJSON reads a JSON object from each line that isn't blank. A line that
// is none is an item with a problem, so that one bad line costs one job.
func decodeNDJSON(body []byte, c *claim) ([]item, error) {
	var items []item
	for line := range strings.Lines(string(trim(body))) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if len(items) == MaxItems {
			return nil, tooMany()
		}
		if err := c.forJob(len(items)); err != nil {
			return nil, err
		}
		items = append(items, decodeLine(line))
	}
	if len(items) == 0 {
		return nil, badRequest("the body is empty: send a JSON object on each line")
	}
	return items, nil
}

func decodeLine(line string) item {
	if i, ok := plainObject(line); ok {
		return i
	}
	text := []byte(line)
	if !json.Valid(text) {
		return badItem(job.NotJSON, text, "send one JSON object on each line: "+jsonFault(text))
	}
	return decodeObject(text)
}

// plainObject reads an object, and only it, if nothing in it is unusual.
func plainObject(text string) (i item, ok bool) {
	p := plain{text: text}
	i.report, ok = p.object()
	return i, ok && p.end()
}

// trim removes white space, and the byte order mark that some editors write.
func trim(body []byte) []byte {
	return bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\uFEFF")))
}

func tooMany() error {
	return &requestError{http.StatusRequestEntityTooLarge,
		fmt.Sprintf("too many jobs in one request: send at most %d at a time", MaxItems)}
}

// jsonFault says where text stops to be JSON.
func jsonFault(text []byte) string {
	var v json.RawMessage
	err := json.Unmarshal(text, &v)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Sprintf("%v at byte %d; quotes, backslashes and line breaks in values must be escaped", err, syntax.Offset)
	}
	return fmt.Sprint(err)
}

// decodeObject reads one job from text that is valid JSON.
func decodeObject(text []byte) item {
	if text[0] != '{' {
		return badItem(job.NotAnObject, text,
			`send an object, such as {"name":"dotnet_build","project":"group/app","status":"success"}`)
	}
	if !utf8.Valid(text) { // encoding/json would replace what isn't, and two names could become one
		return badItem(job.InvalidUTF8, text, "send JSON in UTF-8")
	}
	var o object
	if err := json.Unmarshal(text, &o); err != nil {
		return badItem(job.NotJSON, text, "send valid JSON: "+err.Error())
	}
	return o.item()
}
