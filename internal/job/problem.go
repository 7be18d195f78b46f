package job

import (
	"strings"
	"unicode/utf8"
)

// A Problem is something about a report that its sender should mend: a warning
// if the job counts all the same, a rejection if it does not. It travels in
// answers as JSON.
type Problem struct {
	Index  int    `json:"index"`  // of the item in its request, from 0
	Field  string `json:"field"`  // empty if the item as a whole is meant
	Reason Reason `json:"reason"` // why, from a bounded set: it labels metrics
	Value  string `json:"value"`  // what was sent, shortened
	Remedy string `json:"remedy"` // what to send instead, for people
}

// String is the problem in one line, for a log.
func (p Problem) String() string {
	var b strings.Builder
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	b.WriteString(strings.ReplaceAll(string(p.Reason), "_", " "))
	if p.Value != "" {
		b.WriteString(" (" + p.Value + ")")
	}
	b.WriteString("; " + p.Remedy)
	return b.String()
}

// A Reason is a short word for a kind of problem.
type Reason string

// Reasons for which an item is rejected. The last three are found while an item
// is read, before Check sees it. UnexpandedVariable and WrongType are warnings for
// fields that may be left out.
const (
	Missing            Reason = "missing"
	TooLong            Reason = "too_long"
	InvalidUTF8        Reason = "invalid_utf8"
	UnexpandedVariable Reason = "unexpanded_variable"
	NotJSON            Reason = "not_json"
	NotAnObject        Reason = "not_an_object"
	WrongType          Reason = "wrong_type"
)

// Reasons for which an item is only warned about.
const (
	UnknownStatus      Reason = "unknown_status"
	ControlCharacters  Reason = "control_characters"
	UnreadableTime     Reason = "unreadable_time"
	FinishedAhead      Reason = "finished_in_the_future"
	FinishedTooOld     Reason = "finished_too_old"
	UnreadableDuration Reason = "unreadable_duration"
	NegativeDuration   Reason = "negative_duration"
	DurationTooLong    Reason = "duration_too_long"
	NotALink           Reason = "not_a_link"
)

// Rejections and Warnings list the reasons of each kind, for metrics that are
// to exist before the first problem does.
var (
	Rejections = []Reason{
		Missing, TooLong, InvalidUTF8, UnexpandedVariable,
		NotJSON, NotAnObject, WrongType,
	}
	Warnings = []Reason{
		UnknownStatus, UnexpandedVariable, WrongType, ControlCharacters, UnreadableTime, FinishedAhead,
		FinishedTooOld, UnreadableDuration, NegativeDuration, DurationTooLong, NotALink,
	}
)

// shownValue is how many characters of a bad value a Problem quotes.
const shownValue = 100

// Quote shortens what was sent to what a Problem shows: valid UTF-8 without
// control characters, at most shownValue characters.
func Quote(value string) string { return Clip(value, shownValue) }

// Clip is Quote for texts of at most limit characters.
func Clip(value string, limit int) string {
	if len(value) > 4*limit+utf8.UTFMax { // cut before copying a huge value
		value = value[:4*limit+utf8.UTFMax]
	}
	value, _ = withoutControls(strings.ToValidUTF8(value, "\uFFFD"))
	if utf8.RuneCountInString(value) <= limit {
		return value
	}
	return string([]rune(value)[:limit-1]) + "…"
}
