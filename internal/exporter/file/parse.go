package file

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxFaults bounds the work on a file that is no JSON at all: each fault is a new
// search for where good JSON may begin.
const maxFaults = 100

// An Item is one complete JSON object of a file.
type Item struct {
	JSON  json.RawMessage
	Start int // where it begins in the text, in bytes
}

// A Fault is something in a file that appending can't mend.
type Fault struct {
	Line   int // from 1
	Reason string
}

func (f Fault) String() string { return fmt.Sprintf("line %d: %s", f.Line, f.Reason) }

// Parsed is what was found in a text.
type Parsed struct {
	Items  []Item
	Half   bool // there is nothing yet, or the last value isn't complete
	Faults []Fault
}

// Parse finds the JSON objects of a text: one, an array of them, or several one
// behind the other, as in NDJSON. A value that is cut off by the end of the text is
// half written and no fault. After a fault it goes on with the next line that
// begins with a brace, so one bad line of NDJSON costs one job.
func Parse(text []byte) Parsed {
	p := parser{text: text}
	for at := 0; at >= 0 && !p.full(); {
		at = p.values(at)
	}
	p.found.Half = p.found.Half || len(bytes.TrimSpace(text)) == 0
	return p.found
}

type parser struct {
	text  []byte
	found Parsed
}

func (p *parser) full() bool {
	switch {
	case len(p.found.Items) > MaxItems:
		p.found.Items = p.found.Items[:MaxItems]
		p.fault(len(p.text), fmt.Sprintf("only the first %d objects are sent: write one per job", MaxItems))
	case len(p.found.Faults) >= maxFaults:
		p.fault(len(p.text), "the rest is not looked at: too much of it is no JSON")
	default:
		return false
	}
	return true
}

func (p *parser) fault(offset int, reason string) {
	line := 1 + bytes.Count(p.text[:min(offset, len(p.text))], []byte("\n"))
	p.found.Faults = append(p.found.Faults, Fault{line, reason})
}

// values reads values from the offset on, up to the first fault. It returns where
// to go on, or -1 for nowhere.
func (p *parser) values(from int) (next int) {
	decoder := json.NewDecoder(bytes.NewReader(p.text[from:]))
	for !p.tooMany() {
		at := from + int(decoder.InputOffset())
		at += len(p.text[at:]) - len(bytes.TrimLeft(p.text[at:], " \t\r\n"))
		var value json.RawMessage
		switch err := decoder.Decode(&value); {
		case err == nil:
			p.value(value, at)
		case errors.Is(err, io.EOF):
			return -1
		case errors.Is(err, io.ErrUnexpectedEOF):
			p.found.Half = true
			return -1
		default:
			p.syntax(from, at, err)
			return p.nextObject(at)
		}
	}
	return len(p.text)
}

func (p *parser) tooMany() bool {
	return len(p.found.Items) > MaxItems || len(p.found.Faults) >= maxFaults
}

// value takes an object, or the objects of an array.
func (p *parser) value(value json.RawMessage, at int) {
	switch value[0] {
	case '{':
		p.found.Items = append(p.found.Items, Item{value, at})
	case '[':
		p.array(value, at)
	default:
		p.fault(at, notObject)
	}
}

const notObject = `it is JSON, but no object: write {"status":"success"} or an array of such`

func (p *parser) array(value json.RawMessage, at int) {
	decoder := json.NewDecoder(bytes.NewReader(value))
	_, _ = decoder.Token() // the bracket; value is valid JSON, so nothing here fails
	for decoder.More() && !p.tooMany() {
		var element json.RawMessage
		if decoder.Decode(&element) != nil {
			return
		}
		start := at + int(decoder.InputOffset()) - len(element)
		if element[0] != '{' {
			p.fault(start, notObject)
			continue
		}
		p.found.Items = append(p.found.Items, Item{element, start})
	}
}

// syntax records what is wrong with the value at the given offset. Offsets of the
// error count from where its decoder began.
func (p *parser) syntax(from, at int, err error) {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		at = from + max(int(syntax.Offset)-1, 0)
	}
	p.fault(at, err.Error()+"; "+remedy(err.Error()))
}

func remedy(fault string) string {
	if strings.Contains(fault, "beginning of value") {
		return `write JSON, such as {"status":"success"}`
	}
	return "quotes, backslashes and line breaks in a value must be escaped (jq -n --arg does it)"
}

// nextObject finds the next line that begins with a brace, or -1. Inner lines of
// an object that is spread over lines don't: they are indented.
func (p *parser) nextObject(after int) int {
	if i := bytes.Index(p.text[after:], []byte("\n{")); i >= 0 {
		return after + i + 1
	}
	return -1
}
