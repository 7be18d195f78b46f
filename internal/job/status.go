package job

import "strings"

// A Status says how a job ended. The zero value is no status.
type Status string

// The statuses, in the words of GitLab.
const (
	Success  Status = "success"
	Failed   Status = "failed"
	Canceled Status = "canceled"
	Skipped  Status = "skipped"
	TimedOut Status = "timedout"
	// Unknown stands for a job of which nobody said how it ended, or said it
	// in a word that means nothing here.
	Unknown Status = "unknown"
)

// Statuses lists all of them in the order in which they are shown.
var Statuses = []Status{Success, Failed, Canceled, Skipped, TimedOut, Unknown}

// synonyms maps the words of other systems (GitHub, Jenkins, Azure, CircleCI,
// Buildkite, Drone, Tekton, Argo, OpenTelemetry's cicd.pipeline.task.run.result)
// to ours. Keys are as normalWord leaves them.
var synonyms = map[string]Status{
	"success": Success, "succeeded": Success, "successful": Success, "passed": Success,
	"pass": Success, "ok": Success, "succeededwithissues": Success,

	"failed": Failed, "failure": Failed, "fail": Failed, "error": Failed, "errored": Failed,
	"unstable": Failed, "broken": Failed, "startupfailure": Failed, "infrastructurefail": Failed,

	"canceled": Canceled, "cancelled": Canceled, "cancellation": Canceled, "cancel": Canceled,
	"aborted": Canceled, "abandoned": Canceled, "killed": Canceled,

	"skipped": Skipped, "skip": Skipped, "notbuilt": Skipped, "notrun": Skipped,

	"timedout": TimedOut, "timeout": TimedOut,

	"unknown": Unknown,
}

// ParseStatus returns the status that word stands for, whatever its case and
// whether it is written timed_out, timed-out or timedout. ok is false for a
// word that means nothing here; the status is then [Unknown].
func ParseStatus(word string) (s Status, ok bool) {
	if s, ok = synonyms[word]; ok {
		return s, true
	}
	if s, ok = synonyms[normalWord(word)]; ok {
		return s, true
	}
	return Unknown, false
}

func normalWord(word string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '_', '-', ' ':
			return -1
		}
		return r
	}, strings.ToLower(word))
}

// Rank is the status' place in [Statuses]; len(Statuses) for any other.
func (s Status) Rank() int {
	for i, t := range Statuses {
		if s == t {
			return i
		}
	}
	return len(Statuses)
}
