package job

import (
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A Report is what a sender says of one finished job: the fields of the wire,
// each as the text it was sent as. Empty means not sent.
type Report struct {
	Name, Project, Status       string // needed
	Started, Finished, Duration string
	ID                          string

	Version, Job, URL, Stage, Ref, SHA, Pipeline, Runner, Source string
}

// A Verdict is the outcome of checking one Report.
type Verdict struct {
	Job        Job       // meaningful only if Accepted
	Warnings   []Problem // what was put right or left out; the job counts
	Rejections []Problem // why the job can't count; every reason that was found
}

// Accepted reports whether the job counts.
func (v *Verdict) Accepted() bool { return len(v.Rejections) == 0 }

// Check turns a report that was received at the given time into a Job, or says
// why not. A job is rejected only for what makes it meaningless (no name, no
// project, no status, a name that is a forgotten variable) or unfit to store
// (too long, not UTF-8). Everything else costs at most the field: a count is
// never lost for a clock.
//
// retention is how long jobs are kept: one that finished longer ago is taken to
// have finished when it was received.
func (r *Report) Check(received time.Time, retention time.Duration) Verdict {
	c := checker{}
	j := &c.verdict.Job
	j.Name = FoldName(c.needed("name", r.Name, "set CI_METRICS_NAME in the template or send $CI_JOB_NAME"))
	j.Project = c.needed("project", r.Project, "send $CI_PROJECT_PATH")
	j.Status = c.status(r.Status)
	c.times(r, Instant(received), retention)
	c.optional(r)
	return c.verdict
}

type checker struct{ verdict Verdict }

func (c *checker) reject(field string, reason Reason, value, remedy string) {
	c.verdict.Rejections = append(c.verdict.Rejections,
		Problem{Field: field, Reason: reason, Value: Quote(value), Remedy: remedy})
}

func (c *checker) warn(field string, reason Reason, value, remedy string) {
	c.verdict.Warnings = append(c.verdict.Warnings,
		Problem{Field: field, Reason: reason, Value: Quote(value), Remedy: remedy})
}

// text checks what holds for every field. It returns the value trimmed and
// without control characters, or empty if it was rejected.
func (c *checker) text(field, value string, limit int) (text string, ok bool) {
	if len(value) <= limit && isPlain(value) {
		return strings.TrimSpace(value), true
	}
	if !utf8.ValidString(value) {
		c.reject(field, InvalidUTF8, value, "send "+field+" in UTF-8")
		return "", false
	}
	if len(value) > limit && utf8.RuneCountInString(value) > limit {
		c.reject(field, TooLong, value, fmt.Sprintf("send at most %d characters", limit))
		return "", false
	}
	clean, changed := withoutControls(value)
	if changed {
		c.warn(field, ControlCharacters, value, "send "+field+" without control characters; each became a space")
	}
	return strings.TrimSpace(clean), true
}

// needed is text that must be there and must not be a variable's name.
func (c *checker) needed(field, value, remedy string) string {
	text, ok := c.text(field, value, MaxText)
	switch {
	case !ok:
		return ""
	case text == "":
		c.reject(field, Missing, "", remedy)
	case Unexpanded(text):
		c.reject(field, UnexpandedVariable, text, dollar(text))
	}
	return text
}

// extra is text that may be there; a variable's name counts as nothing.
func (c *checker) extra(field, value string, limit int) string {
	text, _ := c.text(field, value, limit)
	if Unexpanded(text) {
		c.warn(field, UnexpandedVariable, text, dollar(text)+"; the field was left out")
		return ""
	}
	return text
}

// dollar says how to write a variable that the shell was not asked to expand.
func dollar(text string) string {
	name := strings.Trim(text, "${}")
	return fmt.Sprintf(`write "$%s", with the $ and where the shell expands it, to send the variable's value`, name)
}

func (c *checker) status(value string) Status {
	word, ok := c.text("status", value, MaxText)
	switch {
	case !ok:
		return ""
	case word == "":
		c.reject("status", Missing, "", "send $CI_JOB_STATUS")
		return ""
	case Unexpanded(word):
		c.warn("status", UnexpandedVariable, word, dollar(word)+"; the job counts as unknown")
		return Unknown
	}
	s, known := ParseStatus(word)
	if !known {
		c.warn("status", UnknownStatus, word,
			"send success, failed, canceled, skipped, timedout or unknown; the job counts as unknown")
	}
	return s
}

func (c *checker) times(r *Report, received time.Time, retention time.Duration) {
	j := &c.verdict.Job
	j.Started = c.time("started", r.Started, "the job counts without a start")
	j.Finished = c.time("finished", r.Finished, "the time of receipt was taken")
	switch {
	case j.Finished.IsZero():
		j.Finished = received
	case j.Finished.After(received.Add(MaxAhead)):
		c.warn("finished", FinishedAhead, r.Finished, "set the sender's clock; the time of receipt was taken")
		j.Finished = received
	case j.Finished.Before(received.Add(-retention)):
		c.warn("finished", FinishedTooOld, r.Finished,
			"send jobs within "+days(retention)+" of their end; the time of receipt was taken")
		j.Finished = received
	}

	field, value := "duration", c.extra("duration", r.Duration, MaxText)
	var took time.Duration
	switch {
	case value != "":
		var err error
		if took, err = parseSeconds(value); err != nil {
			c.warn(field, UnreadableDuration, value, "send seconds as a decimal number; no duration was observed")
			return
		}
	case !j.Started.IsZero():
		field, value = "started", r.Started
		took = j.Finished.Sub(j.Started)
	default:
		return
	}
	switch {
	case took < 0:
		c.warn(field, NegativeDuration, value, "send a job that ended after it started; no duration was observed")
	case took > MaxDuration:
		c.warn(field, DurationTooLong, value, "send a duration of at most "+days(MaxDuration)+"; no duration was observed")
	default:
		j.Timed, j.Duration = true, took
	}
}

// time reads a time that may be missing; zero if it is, or can't be read.
func (c *checker) time(field, value, otherwise string) time.Time {
	text := c.extra(field, value, MaxText)
	if text == "" {
		return time.Time{}
	}
	t, err := ParseTime(text)
	if err != nil {
		c.warn(field, UnreadableTime, text, "send RFC 3339, such as 2023-05-23T13:01:00Z; "+otherwise)
		return time.Time{}
	}
	return t
}

func (c *checker) optional(r *Report) {
	j := &c.verdict.Job
	j.ID = c.extra("id", r.ID, MaxID)
	j.Version = c.extra("version", r.Version, MaxText)
	j.Job = c.extra("job", r.Job, MaxText)
	j.Stage = c.extra("stage", r.Stage, MaxText)
	j.Ref = c.extra("ref", r.Ref, MaxText)
	j.SHA = c.extra("sha", r.SHA, MaxText)
	j.Pipeline = c.extra("pipeline", r.Pipeline, MaxText)
	j.Runner = c.extra("runner", r.Runner, MaxText)
	j.Source = c.extra("source", r.Source, MaxText)
	if j.URL = c.extra("url", r.URL, MaxURL); j.URL != "" && !isLink(j.URL) {
		c.warn("url", NotALink, j.URL, "send an http or https address; the field was left out")
		j.URL = ""
	}
	if j.Job == "" && r.Name != j.Name {
		sent, _ := withoutControls(r.Name)
		if sent = strings.TrimSpace(sent); sent != j.Name {
			j.Job = sent // what folding took away is still worth a look
		}
	}
}

func isLink(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// isPlain says whether a text is printable ASCII, as nearly all are, so that nothing
// about its characters has to be looked at more closely.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// withoutControls replaces every control character with a space.
func withoutControls(s string) (clean string, changed bool) {
	clean = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			changed = true
			return ' '
		}
		return r
	}, s)
	return clean, changed
}

func days(d time.Duration) string {
	if day := 24 * time.Hour; d%day == 0 && d > day {
		return fmt.Sprintf("%d days", d/day)
	}
	return d.String()
}
