package exporter

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"ci-jobs-metrics/internal/job"
)

// fields are one job as the file describes it, by the names of the wire. Values
// stay as they were written: large numbers keep their digits, and what has the
// wrong type is for the receiver to refuse.
type fields map[string]json.RawMessage

// wireFields are the names that mean something. job_id is the exporter's own: it
// says whose job the file is about.
var wireFields = []string{
	"name", "project", "status", "started", "finished", "duration", "id", "version",
	"job", "url", "stage", "ref", "sha", "pipeline", "runner", "source", "job_id",
}

// parseFields reads a JSON object. The receiver takes names in any case, so Name
// is name, unless that is there too.
func parseFields(object json.RawMessage) (fields, error) {
	var f fields
	if !utf8.Valid(object) { // which the receiver would reject the job for
		object = bytes.ToValidUTF8(object, []byte("\uFFFD"))
	}
	if err := json.Unmarshal(object, &f); err != nil {
		return nil, err
	}
	for _, written := range slices.Sorted(maps.Keys(f)) { // sorted: the same choice every time
		name := wireName(written)
		if name == "" || name == written {
			continue
		}
		if _, both := f[name]; !both {
			f[name] = f[written]
		}
		delete(f, written)
	}
	return f, nil
}

// wireName is the field that is meant by a name in any case, or empty.
func wireName(written string) string {
	for _, name := range wireFields {
		if strings.EqualFold(written, name) {
			return name
		}
	}
	return ""
}

// text is the value of a field that is text or a number, without space around it.
func (f fields) text(name string) string {
	raw := f[name]
	if len(raw) == 0 {
		return ""
	}
	if raw[0] == '-' || '0' <= raw[0] && raw[0] <= '9' {
		return string(raw)
	}
	if plain(raw) {
		return strings.TrimSpace(string(raw[1 : len(raw)-1]))
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return strings.TrimSpace(s)
}

// plain reports whether JSON is a string that stands for itself: the usual case, and
// the pod may not have the time for more than that needs.
func plain(raw []byte) bool {
	return len(raw) >= 2 && raw[0] == '"' && raw[len(raw)-1] == '"' && selfEvident(raw[1:len(raw)-1])
}

// selfEvident reports whether a text is the same within a JSON string.
func selfEvident[T string | []byte](text T) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// says reports whether the file has a value for the field: not if it is missing,
// null, empty, or the name of a variable. A value of the wrong type is one.
func (f fields) says(name string) bool {
	raw, ok := f[name]
	if !ok || string(raw) == "null" {
		return false
	}
	if raw[0] != '"' {
		return true
	}
	s := f.text(name)
	return s != "" && !job.Unexpanded(s)
}

// known is the value of a field that says something.
func (f fields) known(name string) string {
	if !f.says(name) {
		return ""
	}
	return f.text(name)
}

func (f fields) set(name, value string) { f[name] = quoted(value) }

func quoted(text string) json.RawMessage {
	if selfEvident(text) {
		return json.RawMessage(`"` + text + `"`)
	}
	return encode(text)
}

// encode is JSON as short as it gets: with < as <, not as an escape.
func encode(value any) json.RawMessage {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil { // can't be: any string is JSON, and all else was read from JSON
		return nil
	}
	return bytes.TrimSpace(b.Bytes())
}

// shorten leaves out optional fields that are too long, and returns which: the receiver
// would reject the whole job for one of them.
func (f fields) shorten() (without []string) {
	for _, d := range defaults {
		if d.field != "name" && d.field != "project" && f.says(d.field) && d.tooLong(f.text(d.field)) {
			delete(f, d.field)
			without = append(without, d.field)
		}
	}
	return without
}

// fill completes what the file leaves out. modified is when the file was written,
// which is as good as when the job finished; the receiver would take the time of
// receipt, and retries would stretch the job.
func (f fields) fill(env Environ, modified time.Time) {
	for _, d := range defaults {
		if f.says(d.field) {
			continue
		}
		if value := env.value(d.variables...); value != "" && !d.tooLong(value) {
			f.set(d.field, value)
		}
	}
	if !f.says("finished") {
		f.set("finished", job.Instant(modified).Format("2006-01-02T15:04:05.000000Z07:00"))
	}
}

// canonical is the object however its fields were ordered and spaced.
func (f fields) canonical() json.RawMessage {
	return f.object(slices.Sorted(maps.Keys(f)))
}

// wire is what is sent: no field that means nothing to the receiver, however much
// the file says beside.
func (f fields) wire() json.RawMessage {
	var known []string
	for _, name := range wireFields {
		if _, ok := f[name]; ok && name != "job_id" {
			known = append(known, name)
		}
	}
	slices.Sort(known)
	return f.object(known)
}

// object is the JSON object of some of the fields, without space.
func (f fields) object(names []string) json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, name := range names {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(quoted(name))
		b.WriteByte(':')
		if raw := f[name]; plain(raw) {
			b.Write(raw)
		} else if json.Compact(&b, raw) != nil { // can't be: all values were read from JSON
			return nil
		}
	}
	b.WriteByte('}')
	return b.Bytes()
}
