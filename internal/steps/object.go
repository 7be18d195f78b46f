package steps

import (
	"bytes"
	"encoding/json"
	"strings"

	"ci-jobs-metrics/internal/job"
)

// object is a job as JSON. Unknown fields are ignored.
type object struct {
	Name     text `json:"name"`
	Project  text `json:"project"`
	Status   text `json:"status"`
	Started  text `json:"started"`
	Finished text `json:"finished"`
	Duration text `json:"duration"`
	ID       text `json:"id"`
	Version  text `json:"version"`
	Job      text `json:"job"`
	URL      text `json:"url"`
	Stage    text `json:"stage"`
	Ref      text `json:"ref"`
	SHA      text `json:"sha"`
	Pipeline text `json:"pipeline"`
	Runner   text `json:"runner"`
	Source   text `json:"source"`
}

// needed are the fields without which a job means nothing, or would count twice.
var needed = map[string]bool{"name": true, "project": true, "status": true, "id": true}

// item is the object's report, with the problems of those fields that hold no text.
func (o *object) item() item {
	var i item
	r := &i.report
	for _, f := range []struct {
		field string
		from  *text
		to    *string
	}{
		{"name", &o.Name, &r.Name},
		{"project", &o.Project, &r.Project},
		{"status", &o.Status, &r.Status},
		{"started", &o.Started, &r.Started},
		{"finished", &o.Finished, &r.Finished},
		{"duration", &o.Duration, &r.Duration},
		{"id", &o.ID, &r.ID},
		{"version", &o.Version, &r.Version},
		{"job", &o.Job, &r.Job},
		{"url", &o.URL, &r.URL},
		{"stage", &o.Stage, &r.Stage},
		{"ref", &o.Ref, &r.Ref},
		{"sha", &o.SHA, &r.SHA},
		{"pipeline", &o.Pipeline, &r.Pipeline},
		{"runner", &o.Runner, &r.Runner},
		{"source", &o.Source, &r.Source},
	} {
		if f.from.fault == "" {
			*f.to = f.from.value
			continue
		}
		p := job.Problem{Field: f.field, Reason: f.from.fault, Value: job.Quote(f.from.value),
			Remedy: "send " + f.field + " as text or a number"}
		if f.from.fault == job.WrongType && !needed[f.field] {
			p.Remedy += "; the field was left out"
			i.warnings = append(i.warnings, p)
			continue
		}
		i.problems = append(i.problems, p)
	}
	return i
}

// text is a field's value: a string, or a number as it was written, so that no
// digit of a large id is lost. null is as if the field weren't there.
type text struct {
	value string
	fault job.Reason // why it is neither; value is then the JSON as it came
}

// UnmarshalJSON never fails: what is wrong with one field is told beside what is
// wrong with the others.
func (t *text) UnmarshalJSON(raw []byte) error {
	*t = text{}
	switch c := raw[0]; {
	case c == 'n':
	case c == '"':
		if err := json.Unmarshal(raw, &t.value); err != nil || hasLoneSurrogate(raw, t.value) {
			*t = text{value: string(raw), fault: job.InvalidUTF8}
		}
	case c == '-' || '0' <= c && c <= '9':
		t.value = string(raw)
	default:
		*t = text{value: string(raw), fault: job.WrongType}
	}
	return nil
}

// hasLoneSurrogate reports whether raw escapes half of a UTF-16 pair, which
// encoding/json turns into the replacement character: two different names must not
// become one.
func hasLoneSurrogate(raw []byte, decoded string) bool {
	const replacement = "\uFFFD"
	if !strings.Contains(decoded, replacement) {
		return false
	}
	meant := bytes.Count(raw, []byte(replacement)) + bytes.Count(bytes.ToLower(raw), []byte(`\ufffd`))
	return strings.Count(decoded, replacement) > meant
}
