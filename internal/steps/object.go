package steps

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

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
		p := job.Problem{Field: f.field, Reason: f.from.fault, Value: job.Quote(f.from.value)}
		switch {
		case p.Reason == job.InvalidUTF8:
			p.Remedy = "send whole characters: \\ud800 to \\udfff mean something in pairs only"
		case needed[f.field]:
			p.Remedy = "send " + f.field + " as text or a number"
		default:
			p.Remedy = "send " + f.field + " as text or a number; the field was left out"
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
		if err := json.Unmarshal(raw, &t.value); err != nil || hasLoneSurrogate(raw) {
			*t = text{value: string(raw), fault: job.InvalidUTF8}
		}
	case c == '-' || '0' <= c && c <= '9':
		t.value = string(raw)
	default:
		*t = text{value: string(raw), fault: job.WrongType}
	}
	return nil
}

// hasLoneSurrogate reports whether a JSON string escapes half of a UTF-16 pair, which
// encoding/json turns into the replacement character: two different names must not
// become one.
func hasLoneSurrogate(raw []byte) bool {
	for i := bytes.IndexByte(raw, '\\'); i >= 0 && i+1 < len(raw); {
		length, lone := escape(raw[i:])
		if lone {
			return true
		}
		i += length
		next := bytes.IndexByte(raw[i:], '\\')
		if next < 0 {
			return false
		}
		i += next
	}
	return false
}

// escape looks at the escape that text begins with: how long it is, a pair being
// one, and whether it is half of a pair.
func escape(text []byte) (length int, lone bool) {
	first := codeUnit(text)
	switch {
	case first < 0:
		return 2, false
	case !utf16.IsSurrogate(first):
		return 6, false
	case len(text) >= 12 && text[6] == '\\' && utf16.DecodeRune(first, codeUnit(text[6:])) != utf8.RuneError:
		return 12, false
	}
	return 6, true
}

// codeUnit is what \uXXXX stands for, or -1 for any other escape.
func codeUnit(text []byte) rune {
	if len(text) < 6 || text[1] != 'u' {
		return -1
	}
	unit, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(unit)
}
