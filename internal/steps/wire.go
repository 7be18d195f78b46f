package steps

import "ci-jobs-metrics/internal/job"

// Path is where the receiver takes finished jobs.
const Path = "/steps"

// Limits of one request.
const (
	MaxBody  = 1 << 20 // bytes of a body
	MaxItems = 10_000  // jobs in an array or NDJSON
)

// maxListed is how many warnings, and how many rejections, an answer lists: a small
// request could otherwise ask for a huge answer.
const maxListed = 1000

// Content types of POST bodies.
const (
	typeForm = "application/x-www-form-urlencoded"
	// TypeJSON is the type of one object or an array.
	TypeJSON    = "application/json"
	typeProblem = "application/problem+json"
)

// ndjsonTypes are the names by which one JSON object a line goes.
var ndjsonTypes = map[string]bool{
	"application/x-ndjson":    true,
	"application/ndjson":      true,
	"application/jsonl":       true,
	"application/x-jsonlines": true,
	"application/jsonlines":   true,
}

// An Answer says what became of the jobs of a request. It is sent after every
// job that it counts is durable.
type Answer struct {
	Recorded   int           `json:"recorded"`   // jobs that count from now on
	Duplicates int           `json:"duplicates"` // jobs that counted before, by their id
	Warnings   []job.Problem `json:"warnings"`   // about jobs that count; never nil
	Rejected   []job.Problem `json:"rejected"`   // why the other items don't count; never nil
	// Unlisted is how many warnings and rejections more there are, of requests with
	// more than a thousand of either.
	Unlisted int `json:"unlisted,omitempty"`
}

// A ProblemDocument says why nothing of a request was recorded, as RFC 9457
// asks.
type ProblemDocument struct {
	Type     string        `json:"type"` // always about:blank: the status says it
	Title    string        `json:"title"`
	Status   int           `json:"status"`
	Detail   string        `json:"detail"`
	Rejected []job.Problem `json:"rejected,omitempty"` // the items' own problems, if that was it
	Unlisted int           `json:"unlisted,omitempty"` // as in Answer
}
