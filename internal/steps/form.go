package steps

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"ci-jobs-metrics/internal/job"
)

// A form is one job as the query of an address, or the body of a form, describes it.
//
// Names count in any case, as in JSON. If a field comes more than once, the first value
// under the name in lower case counts. If there is no such name, the spelling that sorts
// first counts, with its first value. The same request always means the same.
type form struct {
	report  job.Report
	spelled [fieldCount]string // the name of each field as it was sent; empty if it was not
}

var errSemicolon = errors.New("invalid semicolon separator in query")

// parse reads name=value pairs that are separated by &. It returns the errors of
// [url.ParseQuery], but allocates no map, and no list for each name.
func (f *form) parse(text string) (err error) {
	if strings.Contains(text, ";") {
		return errSemicolon
	}
	for pair := range strings.SplitSeq(text, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if name, err = url.QueryUnescape(name); err != nil {
			return err
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return err
		}
		f.set(name, value)
	}
	return nil
}

// set takes one pair.
func (f *form) set(name, value string) {
	lower := strings.ToLower(name)
	field := fieldNamed(lower)
	if field == noField {
		return
	}
	before := f.spelled[field]
	if before == "" || before != lower && (name == lower || name < before) {
		f.spelled[field], *field.in(&f.report) = name, value
	}
}

// fill takes from other the fields that f does not have.
func (f *form) fill(other *form) {
	for field := range fieldCount {
		if f.spelled[field] == "" {
			*field.in(&f.report) = *field.in(&other.report)
		}
	}
}

// decodeForm reads one job from the body of a form. The query supplies the fields that the
// body does not have.
func decodeForm(body []byte, query *form) ([]item, error) {
	if start := bytes.TrimSpace(body); len(start) > 0 && (start[0] == '{' || start[0] == '[') {
		return nil, &requestError{http.StatusUnsupportedMediaType,
			"the body looks like JSON, but is sent as a form: add -H 'Content-Type: application/json'"}
	}
	var f form
	if err := f.parse(string(body)); err != nil {
		return nil, badRequest("the form can't be read: %v: escape %%, & and ; in values (curl --data-urlencode does)", err)
	}
	f.fill(query)
	return []item{{report: f.report}}, nil
}
