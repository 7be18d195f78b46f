package steps

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"ci-jobs-metrics/internal/job"
)

// An item is one job of a request as it was read: a report, or the reasons why there is
// none.
type item struct {
	report   job.Report
	warnings []job.Problem // about fields that were left out of the report
	problems []job.Problem // reasons why there is no report
}

func badItem(reason job.Reason, value, remedy string) item {
	return item{problems: []job.Problem{{Reason: reason, Value: job.Quote(value), Remedy: remedy}}}
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
	var query form
	if err := query.parse(r.URL.RawQuery); err != nil {
		return nil, badRequest("the query can't be read: %v: escape %%, & and ; in values (curl -G --data-urlencode does)", err)
	}
	if r.Method == http.MethodGet {
		return []item{{report: query.report}}, nil
	}
	contentType := r.Header.Get("Content-Type")
	if contentType == "" && len(body) == 0 { // curl -X POST '.../steps?name=...'
		contentType = typeForm
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	switch {
	case err == nil && mediaType == typeForm:
		if err := c.forCopy(body); err != nil {
			return nil, err
		}
		return decodeForm(body, &query)
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

func tooMany() error {
	return &requestError{http.StatusRequestEntityTooLarge,
		fmt.Sprintf("too many jobs in one request: send at most %d at a time", MaxItems)}
}
