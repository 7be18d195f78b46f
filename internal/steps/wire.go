package steps

import "ci-jobs-metrics/internal/steps/wire"

// Path is the path at which the receiver takes finished jobs.
const Path = wire.Path

// Limits of one request.
const (
	MaxBody  = wire.MaxBody  // bytes of a body
	MaxItems = wire.MaxItems // jobs in an array or NDJSON
)

// maxListed is the largest number of warnings, and of rejections, that an answer lists. Without it a
// small request could ask for a huge answer.
const maxListed = 1000

// Content types of POST bodies.
const (
	typeForm = "application/x-www-form-urlencoded"
	// TypeJSON is the type of one object or an array.
	TypeJSON    = wire.TypeJSON
	typeProblem = "application/problem+json"
)

// ndjsonTypes are the content types of one JSON object on each line.
var ndjsonTypes = map[string]bool{
	"application/x-ndjson":    true,
	"application/ndjson":      true,
	"application/jsonl":       true,
	"application/x-jsonlines": true,
	"application/jsonlines":   true,
}

// The answers, which the sender reads with the same types.
type (
	// An Answer reports what the receiver did with the jobs of a request.
	Answer = wire.Answer
	// ProblemDetails give the reason why nothing of a request was recorded.
	ProblemDetails = wire.ProblemDetails
)
