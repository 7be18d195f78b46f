// Package wire has the words that both ends of /steps share: package steps, which the receiver serves,
// and package client, which the exporter sends with. The exporter runs in every job pod, so it must not
// link the receiver's decoder: this package imports the fields of a job only.
package wire

import "ci-jobs-metrics/internal/job"

// Path is the path at which the receiver takes finished jobs.
const Path = "/steps"

// Limits of one request.
const (
	MaxBody  = 1 << 20 // bytes of a body
	MaxItems = 10_000  // jobs in an array or NDJSON
)

// TypeJSON is the content type of one object or an array, and of an Answer.
const TypeJSON = "application/json"

// An Answer reports what the receiver did with the jobs of a request. It is sent after every job that
// it counts is durable.
type Answer struct {
	Recorded   int           `json:"recorded"`   // jobs that count from now on
	Duplicates int           `json:"duplicates"` // jobs that counted before, by their id
	Warnings   []job.Problem `json:"warnings"`   // about recorded jobs; never nil
	Rejected   []job.Problem `json:"rejected"`   // about items that were not recorded; never nil
	// Unlisted is the number of further warnings and rejections, for requests with more than a
	// thousand of either.
	Unlisted int `json:"unlisted,omitempty"`
}

// ProblemDetails give the reason why nothing of a request was recorded (RFC 9457).
type ProblemDetails struct {
	Type     string        `json:"type"` // always about:blank: the status is the type
	Title    string        `json:"title"`
	Status   int           `json:"status"`
	Detail   string        `json:"detail"`
	Rejected []job.Problem `json:"rejected,omitempty"` // the rejections of the items, if that was the reason
	Unlisted int           `json:"unlisted,omitempty"` // as in Answer
}
