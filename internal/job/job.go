// Package job says what a finished CI job is: its fields, how it ended, which
// template it ran, and which reports of one are acceptable.
//
// A sender describes a job in words, as a [Report]. [Report.Check] turns the
// words into a [Job], or says field by field what is wrong and what to send
// instead. Everything that enters the system passes through it, whatever wire
// it came by; everything behind it (ledger, totals, exposition) relies on the
// limits that are stated here.
//
// A Job's Name is the CI template that ran, with the tail folded away that
// GitLab adds for parallel and matrix jobs; see [FoldName].
//
// The package uses the standard library only and keeps no state.
package job

import "time"

// Limits of what is accepted, in characters (Unicode code points) unless said
// otherwise.
const (
	// MaxText is the limit of every text field but ID and URL.
	MaxText = 255
	// MaxID is the limit of an idempotency key.
	MaxID = 200
	// MaxURL is the limit of a link to the job.
	MaxURL = 1000
	// MaxDuration is the longest duration that is observed; a longer one is
	// taken for a broken clock.
	MaxDuration = 30 * 24 * time.Hour
	// MaxAhead is how far a sender's clock may be ahead of ours.
	MaxAhead = 5 * time.Minute
)

// A Job is one finished CI job that was found acceptable.
//
// All texts are valid UTF-8 without control characters and within their
// limits. All times are in UTC with microsecond resolution, which is what the
// ledger stores.
type Job struct {
	Name    string // the template: 1 to MaxText characters, folded
	Project string // path of the repository that ran it: 1 to MaxText characters
	Status  Status // how it ended

	Started  time.Time     // zero if the sender gave none that can be read
	Finished time.Time     // never zero
	Timed    bool          // whether Duration is known
	Duration time.Duration // 0 to MaxDuration, whole microseconds

	ID string // idempotency key; empty: every report counts

	Version  string // of the template
	Job      string // GitLab's own job name, as it was before folding
	URL      string // link to the job, http or https
	Stage    string
	Ref      string
	SHA      string
	Pipeline string
	Runner   string
	Source   string // what triggered the pipeline
}
