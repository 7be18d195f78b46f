package steps

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"ci-jobs-metrics/internal/job"
)

// FuzzJSON compares what is read from JSON with what encoding/json reads: the one item of a
// line, the items of a body, and whether the text is JSON at all.
func FuzzJSON(f *testing.F) {
	for _, text := range []string{
		`{"name":"n","project":"p","status":"success","id":18446744073709551616,"duration":-0.5}`,
		` { "name" : "n" , "name":"m","other":1 } `,
		`[{"name":"n"},{"project":"p"}]`,
		`[{"name":"n"} , {"id":0}]`,
		`{"id":01}`, `{"id":1e3}`, `{"id":1.}`, `{"id":-}`, `{"id":.5}`, `{"id":00}`, `{"id":-0}`,
		`{"name":"n"}` + "\x00", `{"name":"a\u0041"}`, `{"name":"☃"}`, `{"NAME":"n"}`, `{"name":null}`, `{"name":{}}`,
		`{}`, `[]`, `[{}]`, `{"name":"n",}`, `[{"name":"n"},]`, `{"name":"n"`, `{"name"}`, `{"name":"n"}{`, `"`, ``,
		`{"name":["n"],"name":"x","project":true,"status":"success","ref":[1],"ref":null,"id":"\udc00"}`,
		`{"na\u006de":"n","\u017ftatus":"failed","project":"\ud83d\ude00 \\ud800","na\ud800me":1}`,
		"[{\"name\":\"\xff\"},{\"\xff\":1},1,null,[],{\"a\":{\"b\":[1,2]}},\"x\"]", `{"a":1}}`, `{"a"1}`, `{"a":"` + "\n" + `"}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		trimmed := trim([]byte(text))
		if len(trimmed) == 0 {
			return
		}
		got, err := decodeJSON([]byte(text), &claim{from: newBudget(MaxInFlight)})
		if (err == nil) != json.Valid(trimmed) {
			t.Fatalf("%q: %v", text, err)
		}
		var line [1]item
		j := readJSON(trimmed, string(trimmed))
		defer j.release()
		j.line(&line[0])
		if err != nil {
			if p := line[0].problems; len(p) != 1 || p[0].Reason != job.NotJSON || !strings.Contains(p[0].Remedy, " at byte ") {
				t.Fatalf("%q: %+v", text, p)
			}
			return
		}
		compare(t, text, line[:], []item{itemByJSON(trimmed)})
		compare(t, text, got, itemsByJSON(t, trimmed))
	})
}

func compare(t *testing.T, text string, got, want []item) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(item{})); diff != "" {
		t.Fatalf("%q (-encoding/json +steps):\n%s", text, diff)
	}
}

// itemsByJSON are the items of a body that is JSON, as encoding/json reads them.
func itemsByJSON(t *testing.T, body []byte) []item {
	t.Helper()
	if body[0] != '[' {
		return []item{itemByJSON(body)}
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(body, &raw); err != nil {
		t.Fatal(err)
	}
	items := []item{}
	for _, text := range raw {
		items = append(items, itemByJSON(text))
	}
	return items
}

func itemByJSON(text []byte) (i item) {
	if text[0] != '{' {
		return badItem(job.NotAnObject, string(text),
			`send an object, such as {"name":"dotnet_build","project":"group/app","status":"success"}`)
	}
	if !utf8.Valid(text) {
		return badItem(job.InvalidUTF8, string(text), "send JSON in UTF-8")
	}
	var o struct {
		Name, Project, Status, Started, Finished, Duration, ID, Version textByJSON
		Job, URL, Stage, Ref, SHA, Pipeline, Runner, Source             textByJSON
	}
	if err := json.Unmarshal(text, &o); err != nil {
		return badItem(job.NotJSON, string(text), err.Error())
	}
	var faults []fault
	for f, from := range []textByJSON{o.Name, o.Project, o.Status, o.Started, o.Finished, o.Duration, o.ID, o.Version,
		o.Job, o.URL, o.Stage, o.Ref, o.SHA, o.Pipeline, o.Runner, o.Source} {
		if from.fault != "" {
			faults = append(faults, fault{field(f), from.fault, from.value})
		} else {
			*field(f).in(&i.report) = from.value
		}
	}
	i.addFaults(faults)
	return i
}

type textByJSON struct {
	value string
	fault job.Reason
}

func (t *textByJSON) UnmarshalJSON(raw []byte) error {
	*t = textByJSON{}
	switch c := raw[0]; {
	case c == 'n':
	case c == '"':
		if err := json.Unmarshal(raw, &t.value); err != nil || hasLoneSurrogate(raw) {
			*t = textByJSON{string(raw), job.InvalidUTF8}
		}
	case c == '-' || '0' <= c && c <= '9':
		t.value = string(raw)
	default:
		*t = textByJSON{string(raw), job.WrongType}
	}
	return nil
}

// hasLoneSurrogate reports whether a JSON string escapes half of a UTF-16 pair.
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

// escape returns the length of the escape that text begins with, a pair being one, and
// whether it is half of a pair.
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

// FuzzForm compares a form with what net/url makes of it.
func FuzzForm(f *testing.F) {
	for _, query := range []string{
		"name=n&project=p&status=success",
		"name=dotnet%20build&project=a%2Fb&status=failed&started=2026-03-01T11:58:00+01:00&id=1&id=2",
		"name=a+b&project=%3B&status=canceled&unknown=%41&unknown2=a;b",
		"&&name=n&=x&project=p&status=success&",
		"name=&name=n&project=p&status=success",
		"name=n&name=%zz&project=p&status=success",
		"other=%zz&name=n&project=p&status=success",
		"name=n%&project=p&status=success",
		"name&project=p&status=success",
		"n%61me=n&project=p&status=success",
		"Name=n&project=p&status=success&name=m",
		"Name=n&NAME=m&nAME=o&Name=p&%49d=1&iD=2", "İd=1",
		"name=n;project=p&status=success", "name=%zz&a;b",
		"name=%E2%98%83&project=p=q&status=success&finished=&version=1&job=j&url=https://x&stage=s&ref=r&sha=f&pipeline=1&runner=r&source=s&duration=1",
		"",
	} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		if strings.Count(query, "&") >= 10_000 { // net/url refuses more
			return
		}
		var got form
		err := got.parse(query)
		values, wantErr := url.ParseQuery(query)
		if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
			t.Fatalf("%q: %v, want %v", query, err, wantErr)
		}
		if err != nil {
			return
		}
		var want form
		for field := range fieldCount {
			want.spelled[field], *field.in(&want.report) = first(values, fieldNames[field])
		}
		if got != want {
			t.Fatalf("%q: %+v, want %+v", query, got, want)
		}
	})
}

// first is the value of a field that counts, and the name that it has.
func first(values url.Values, field string) (name, value string) {
	var names []string
	for name := range values {
		if strings.ToLower(name) == field {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if a == field || b == field {
			return map[bool]int{true: -1, false: 1}[a == field]
		}
		return strings.Compare(a, b)
	})
	if len(names) == 0 {
		return "", ""
	}
	return names[0], values.Get(names[0])
}
