package steps

import (
	"bytes"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"ci-jobs-metrics/internal/job"
)

// A jsonReader reads jobs from JSON in one pass: it takes the members of an object from
// the tokens straight into a report.
//
// A problem inside an item costs that item only. So the tokenizer accepts a name that comes
// twice (the last value counts) and invalid UTF-8, which item reports. Unknown names are
// ignored. Known names count in any case.
type jsonReader struct {
	text    string // what is read; the texts of reports are parts of it
	valid   bool   // whether text is UTF-8
	buffer  bytes.Buffer
	decoder jsontext.Decoder
	faults  []fault // of the item that is being read; at most one for each field
}

// readers keeps readers for later requests: to allocate one takes as long as to read a job.
var readers = sync.Pool{New: func() any { return new(jsonReader) }}

// readJSON returns a reader of body, which text is a copy of. Call release afterwards.
func readJSON(body []byte, text string) *jsonReader {
	j := readers.Get().(*jsonReader)
	j.reset(body, text)
	return j
}

// reset begins with another text.
func (j *jsonReader) reset(body []byte, text string) {
	j.text, j.valid = text, utf8.ValidString(text)
	j.buffer = *bytes.NewBuffer(body)
	j.decoder.Reset(&j.buffer, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// release puts the reader back, without the text that it has read.
func (j *jsonReader) release() {
	clear(j.faults[:cap(j.faults)])
	j.reset(nil, "")
	readers.Put(j)
}

// item reads the next value into i. It returns an error where the text is not JSON.
func (j *jsonReader) item(i *item) error {
	if j.decoder.PeekKind() != '{' {
		value, err := j.value()
		if err != nil {
			return err
		}
		*i = badItem(job.NotAnObject, value,
			`send an object, such as {"name":"dotnet_build","project":"group/app","status":"success"}`)
		return nil
	}
	if _, err := j.decoder.ReadToken(); err != nil {
		return err
	}
	start := j.decoder.InputOffset() - 1
	j.faults = j.faults[:0]
	for j.decoder.PeekKind() != '}' {
		if err := j.member(&i.report); err != nil {
			return err
		}
	}
	if _, err := j.decoder.ReadToken(); err != nil {
		return err
	}
	// Replacement characters in place of invalid bytes could turn two names into one.
	if text := j.text[start:j.decoder.InputOffset()]; !j.valid && !utf8.ValidString(text) {
		*i = badItem(job.InvalidUTF8, text, "send JSON in UTF-8")
		return nil
	}
	i.addFaults(j.faults)
	return nil
}

// member reads a name and its value.
func (j *jsonReader) member(r *job.Report) error {
	name, err := j.value()
	if err != nil {
		return err
	}
	value, err := j.value()
	if err != nil {
		return err
	}
	if f := jsonField(name); f != noField {
		j.set(r, f, value)
	}
	return nil
}

// set stores the value of a field: a string, or a number as it is written, so that a large
// id keeps all of its digits. null means that the field is not there.
func (j *jsonReader) set(r *job.Report, f field, value string) {
	if len(j.faults) > 0 {
		j.faults = slices.DeleteFunc(j.faults, func(earlier fault) bool { return earlier.field == f })
	}
	text, reason := "", job.Reason("")
	switch c := value[0]; {
	case c == 'n':
	case c == '-' || '0' <= c && c <= '9':
		text = value
	case c != '"':
		reason = job.WrongType
	default:
		var ok bool
		if text, ok = unquote(value); !ok {
			text, reason = "", job.InvalidUTF8
		}
	}
	*f.in(r) = text
	if reason != "" {
		j.faults = append(j.faults, fault{f, reason, value})
	}
}

// value reads the next value, or name, and returns it as it is written.
func (j *jsonReader) value() (string, error) {
	raw, err := j.decoder.ReadValue()
	end := int(j.decoder.InputOffset())
	return j.text[end-len(raw) : end], err
}

// skipArray reads the rest of an array, and returns an error where it is not JSON.
func (j *jsonReader) skipArray() error {
	for j.decoder.PeekKind() != ']' {
		if err := j.decoder.SkipValue(); err != nil {
			return err
		}
	}
	_, err := j.decoder.ReadToken()
	return err
}

// end returns an error if anything but white space follows.
func (j *jsonReader) end() error {
	rest := strings.TrimLeft(j.text[j.decoder.InputOffset():], " \t\r\n")
	if rest == "" {
		return nil
	}
	c, _ := utf8.DecodeRuneInString(rest)
	return &jsontext.SyntacticError{ByteOffset: int64(len(j.text) - len(rest)),
		Err: fmt.Errorf("invalid character %q after top-level value", c)}
}

// jsonField returns the field whose name is written this way in JSON, or noField.
func jsonField(quoted string) field {
	name, ok := unquote(quoted)
	if !ok {
		return noField
	}
	if f := fieldNamed(name); f != noField {
		return f
	}
	return field(slices.IndexFunc(fieldNames[:], func(known string) bool { return strings.EqualFold(known, name) }))
}

// unquote returns what a JSON string stands for. It is not ok if the string escapes half of
// a UTF-16 pair, which would become the replacement character.
func unquote(quoted string) (text string, ok bool) {
	if !strings.Contains(quoted, `\`) {
		return quoted[1 : len(quoted)-1], true
	}
	unquoted, err := jsontext.AppendUnquote(nil, quoted)
	return string(unquoted), err == nil
}

// jsonFault describes where text is not JSON.
func jsonFault(err error) string {
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		return err.Error()
	}
	const remedy = "quotes, backslashes and line breaks in values must be escaped"
	if errors.Is(syntax.Err, io.ErrUnexpectedEOF) {
		return fmt.Sprintf("unexpected end of JSON input at byte %d; %s", syntax.ByteOffset, remedy)
	}
	return fmt.Sprintf("%v at byte %d; %s", syntax.Err, syntax.ByteOffset+1, remedy)
}

// A fault is the reason why a field holds no text.
type fault struct {
	field  field
	reason job.Reason
	value  string // as it is written
}

// addFaults adds the problems of the fields that hold no text: warnings about optional
// fields, rejections for the others.
func (i *item) addFaults(faults []fault) {
	slices.SortFunc(faults, func(a, b fault) int { return int(a.field - b.field) })
	for _, fault := range faults {
		name := fieldNames[fault.field]
		p := job.Problem{Field: name, Reason: fault.reason, Value: job.Quote(fault.value)}
		switch {
		case p.Reason == job.InvalidUTF8:
			p.Remedy = "send whole characters: \\ud800 to \\udfff mean something in pairs only"
		case fault.field.needed():
			p.Remedy = "send " + name + " as text or a number"
		default:
			p.Remedy = "send " + name + " as text or a number; the field was left out"
			i.warnings = append(i.warnings, p)
			continue
		}
		i.problems = append(i.problems, p)
	}
}

// decodeJSON reads one object or an array. The whole request is refused if the body is not
// JSON; otherwise a problem costs its item only.
func decodeJSON(body []byte, c *claim) ([]item, error) {
	body = trim(body)
	if len(body) == 0 {
		return nil, badRequest("the body is empty: send a JSON object or an array of them")
	}
	j := readJSON(body, string(body))
	defer j.release()
	if body[0] == '[' {
		return decodeArray(j, c)
	}
	items := make([]item, 1)
	err := j.item(&items[0])
	if err == nil {
		err = j.end()
	}
	if err != nil {
		return nil, badRequest("the body is not one JSON value: %s", jsonFault(err))
	}
	return items, nil
}

func decodeArray(j *jsonReader, c *claim) ([]item, error) {
	items, err := j.array(c)
	if syntax := (*jsontext.SyntacticError)(nil); errors.As(err, &syntax) {
		return nil, badRequest("the body is not a JSON array: %s", jsonFault(err))
	}
	return items, err
}

// array reads an array. It reads all of it even if it has too many items: a body that is
// not JSON always gets the same answer.
func (j *jsonReader) array(c *claim) ([]item, error) {
	if _, err := j.decoder.ReadToken(); err != nil {
		return nil, err
	}
	items := listFor(j.text, "{")
	for j.decoder.PeekKind() != ']' && len(items) < MaxItems {
		if err := c.forJob(len(items)); err != nil {
			return nil, err
		}
		items = append(items, item{})
		if err := j.item(&items[len(items)-1]); err != nil {
			return nil, err
		}
	}
	more := j.decoder.PeekKind() != ']'
	if err := j.skipArray(); err != nil {
		return nil, err
	}
	if err := j.end(); err != nil {
		return nil, err
	}
	if more {
		return nil, tooMany()
	}
	return items, nil
}

// decodeNDJSON reads a JSON object from each line that isn't blank. Another line is an
// item with a problem, so one bad line costs one job.
func decodeNDJSON(body []byte, c *claim) ([]item, error) {
	body = trim(body)
	text := string(body)
	items := listFor(text, "\n")
	j := readJSON(nil, "")
	defer j.release()
	for line := range strings.Lines(text) {
		raw := bytes.TrimSpace(body[:len(line)])
		body = body[len(line):]
		if len(raw) == 0 {
			continue
		}
		if len(items) == MaxItems {
			return nil, tooMany()
		}
		if err := c.forJob(len(items)); err != nil {
			return nil, err
		}
		j.reset(raw, strings.TrimSpace(line))
		items = append(items, item{})
		j.line(&items[len(items)-1])
	}
	if len(items) == 0 {
		return nil, badRequest("the body is empty: send a JSON object on each line")
	}
	return items, nil
}

// line reads the only value of a text into i.
func (j *jsonReader) line(i *item) {
	err := j.item(i)
	if err == nil {
		err = j.end()
	}
	if err != nil {
		*i = badItem(job.NotJSON, j.text, "send one JSON object on each line: "+jsonFault(err))
	}
}

// listFor returns an empty list with room for the items that a text seems to have. It stays
// small for texts that only look like many.
func listFor(text, each string) []item {
	return make([]item, 0, min(1+strings.Count(text, each), 2*jobsAtATime))
}

// trim removes white space, and the byte order mark that some editors write.
func trim(body []byte) []byte {
	return bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\uFEFF")))
}
