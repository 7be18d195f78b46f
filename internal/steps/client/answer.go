package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/steps/wire"
)

// An Error is an answer that is not the delivery of the items.
type Error struct {
	Status     int           // of HTTP; 200 if something else than a receiver answered
	RetryAfter time.Duration // how long the receiver asks to wait; 0 if it doesn't say
	Reason     string        // one line: the receiver's own words, or what was strange
	Rejected   []job.Problem // per item, where the receiver says what is wrong with each
}

func (e *Error) Error() string {
	return fmt.Sprintf("%d %s: %s", e.Status, http.StatusText(e.Status), e.Reason)
}

// Final reports whether the same items will be refused again. Everything else,
// 404 and 401 too, may be mended on the receiver's side.
func (e *Error) Final() bool {
	switch e.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return true
	}
	return false
}

// readAnswer reads what came back. Its error is an *Error, unless the connection
// broke.
func readAnswer(r *http.Response) (wire.Answer, error) {
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.StatusCode >= 200 && r.StatusCode < 300:
		return readDelivered(r, mediaType)
	case r.StatusCode >= 300 && r.StatusCode < 400:
		return wire.Answer{}, redirected(r)
	}
	e := &Error{Status: r.StatusCode, RetryAfter: retryAfter(r.Header.Get("Retry-After"), time.Now())}
	e.Reason, e.Rejected = readReason(r.Body, mediaType)
	return wire.Answer{}, e
}

// readDelivered accepts only what package steps answers.
func readDelivered(r *http.Response, mediaType string) (wire.Answer, error) {
	if mediaType != wire.TypeJSON {
		return wire.Answer{}, stranger(r.StatusCode, mediaType)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer))
	if err != nil {
		return wire.Answer{}, fmt.Errorf("read the answer: %w", err)
	}
	var is struct {
		Recorded   *int `json:"recorded"`
		Duplicates *int `json:"duplicates"`
	}
	var answer wire.Answer
	if json.Unmarshal(body, &is) != nil || is.Recorded == nil || is.Duplicates == nil ||
		json.Unmarshal(body, &answer) != nil {
		return wire.Answer{}, stranger(r.StatusCode, "other JSON")
	}
	return answer, nil
}

func stranger(status int, what string) *Error {
	if what == "" {
		what = "no content type"
	}
	return &Error{Status: status, Reason: "the answer is not a receiver's (" + job.Quote(what) +
		"): is this the right host and port?"}
}

func redirected(r *http.Response) *Error {
	e := &Error{Status: r.StatusCode, Reason: "redirected to nowhere: is this the right host and port?"}
	if to, err := r.Location(); err == nil {
		e.Reason = "redirected: give " + to.Redacted() + " as the receiver, if that is one"
	} else if !errors.Is(err, http.ErrNoLocation) {
		e.Reason = "redirected to an address that can't be read: " + job.Quote(r.Header.Get("Location"))
	}
	return e
}

// readReason finds the words for a person in a refusal.
func readReason(body io.Reader, mediaType string) (string, []job.Problem) {
	const without = "the answer gives no reason"
	switch mediaType {
	case "application/problem+json", wire.TypeJSON:
		text, _ := io.ReadAll(io.LimitReader(body, maxAnswer)) // half a reason is better than none
		var p wire.ProblemDetails
		if json.Unmarshal(text, &p) != nil {
			return without, nil
		}
		for _, reason := range []string{p.Detail, p.Title} {
			if reason != "" {
				return oneLine(reason), p.Rejected
			}
		}
		return without, p.Rejected
	case "text/plain":
		text, _ := io.ReadAll(io.LimitReader(body, 1<<10))
		if line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n"); line != "" {
			return oneLine(line), nil
		}
	}
	return without, nil
}

// oneLine makes a stranger's words fit a log line.
func oneLine(text string) string {
	const most = 300 // characters
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "\uFFFD")), " ")
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// retryAfter reads the header: seconds or a date. 0 if it is neither, or past.
func retryAfter(header string, now time.Time) time.Duration {
	const most = 24 * time.Hour // more would overflow a Duration one day
	if seconds, err := strconv.ParseUint(header, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, most)
	}
	at, err := http.ParseTime(header)
	if err != nil || !at.After(now) {
		return 0
	}
	return min(at.Sub(now), most)
}
