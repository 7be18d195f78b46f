package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"ci-jobs-metrics/internal/api"
	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/query"
)

// A description is openapi.json, and what its schemas say of documents.
type description struct {
	Paths      map[string]map[string]operation
	Components struct {
		Parameters map[string]parameter
		Schemas    map[string]json.RawMessage
	}
	compiler *jsonschema.Compiler
}

type operation struct {
	Parameters []struct {
		Ref string `json:"$ref"`
	}
	Responses map[string]struct {
		Ref     string `json:"$ref"`
		Content map[string]struct{ Schema json.RawMessage }
	}
}

type parameter struct {
	Name, In string
	Required bool
	Schema   schema
	Example  any
}

// A schema is what the schemas of parameters use.
type schema struct {
	Type                 string
	Enum                 []string
	Default              any
	Minimum, Maximum     *int
	MinLength, MaxLength *int
	MaxItems             *int
	Items                *schema
}

func readDescription(t *testing.T) *description {
	t.Helper()
	text, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	d := &description{compiler: jsonschema.NewCompiler()}
	if err := json.Unmarshal(text, d); err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource("openapi.json", document); err != nil {
		t.Fatal(err)
	}
	return d
}

// check validates a document against what is at a place of the description.
func (d *description) check(t *testing.T, place, where string, body []byte) {
	t.Helper()
	compiled, err := d.compiler.Compile("openapi.json#" + place)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Fatalf("%s: %v: %s", where, err, body)
	}
	if err := compiled.Validate(document); err != nil {
		t.Errorf("%s: %v", where, err)
	}
}

// place is where the schema of an answer is.
func place(path, status string, of operation) string {
	if ref := of.Responses[status].Ref; ref != "" {
		return strings.TrimPrefix(ref, "#") + "/content/application~1problem+json/schema"
	}
	return "/paths/" + strings.ReplaceAll(path, "/", "~1") + "/get/responses/" + status + "/content/application~1json/schema"
}

// parameters are those of a question in its query, by name.
func (d *description) parameters(t *testing.T, path string) map[string]parameter {
	t.Helper()
	found := map[string]parameter{}
	for _, p := range d.Paths[path]["get"].Parameters {
		one, ok := d.Components.Parameters[strings.TrimPrefix(p.Ref, "#/components/parameters/")]
		if !ok {
			t.Fatalf("%s: no %s", path, p.Ref)
		}
		if one.In == "query" {
			found[one.Name] = one
		}
	}
	return found
}

// needed are the parameters without which a question can't be asked.
func needed(parameters map[string]parameter) url.Values {
	values := url.Values{}
	for name, p := range parameters {
		if p.Required {
			values.Set(name, fmt.Sprint(p.Example))
		}
	}
	return values
}

// The description has the questions and parameters that there are.
func TestOpenAPIHasEverything(t *testing.T) {
	s, d := serve(t, "UTC", nil), readDescription(t)
	want := []string{"/api/v1/openapi.json"}
	for _, question := range query.Names() {
		path := query.Path + question
		want = append(want, path)
		_, body := s.ask(t, "GET", path+"?nonsense=1") // the refusal names what there is
		_, known, _ := strings.Cut(fmt.Sprint(parse(t, body)["remedy"]), "some of ")
		parameters := slices.Sorted(maps.Keys(d.parameters(t, path)))
		if program := slices.Sorted(slices.Values(strings.Split(known, ", "))); !slices.Equal(program, parameters) {
			t.Errorf("%s takes %v, described are %v", path, program, parameters)
		}
		csv := slices.Contains(parameters, "format")
		if status := d.Paths[path]["get"].Responses; (status["200"].Content["text/csv"].Schema != nil) != csv || status["304"].Ref == "" || status["503"].Ref == "" {
			t.Errorf("%s: %v", path, status)
		}
	}
	if got := slices.Sorted(maps.Keys(d.Paths)); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("described are %v, there are %v", got, want)
	}
	_, served := s.ask(t, "GET", "/api/v1/openapi.json")
	if text, err := os.ReadFile("openapi.json"); err != nil || !bytes.Equal(served, text) {
		t.Errorf("something else is served: %v", err)
	}
}

// The program takes every value that the description allows, and no other.
func TestOpenAPIParameters(t *testing.T) {
	s, d := serve(t, "UTC", nil), readDescription(t)
	for _, question := range query.Names() {
		path := query.Path + question
		parameters := d.parameters(t, path)
		ask := func(want int, name string, values ...string) (tag string) {
			t.Helper()
			all := needed(parameters)
			all[name] = values
			response, body := s.ask(t, "GET", path+"?"+all.Encode())
			if response.StatusCode != want {
				t.Errorf("%s?%.100s: %s, want %d: %s", path, all.Encode(), response.Status, want, body)
			}
			if want == 400 {
				d.check(t, place(path, "400", d.Paths[path]["get"]), path+"?"+name, body)
				if got := parse(t, body)["parameter"]; got != name {
					t.Errorf("%s?%s: the refusal is about %v", path, name, got)
				}
			}
			return response.Header.Get("ETag")
		}
		response, _ := s.ask(t, "GET", path+"?"+needed(parameters).Encode())
		tag := response.Header.Get("ETag")
		for name, p := range parameters {
			one := p.Schema
			if one.Items != nil {
				one = *one.Items
				ask(200, name, slices.Repeat([]string{valid(one)}, *p.Schema.MaxItems)...)
				ask(400, name, slices.Repeat([]string{valid(one)}, *p.Schema.MaxItems+1)...)
			} else {
				ask(400, name, valid(one), valid(one))
			}
			if p.Required {
				response, body := s.ask(t, "GET", path)
				if response.StatusCode != 400 {
					t.Errorf("%s without %s: %s", path, name, body)
				}
			}
			if p.Schema.Default != nil && ask(200, name, fmt.Sprint(p.Schema.Default)) != tag {
				t.Errorf("%s: %s=%v is not what is taken without it", path, name, p.Schema.Default)
			}
			if p.Example == nil {
				t.Errorf("%s: %s has no example", path, name)
			}
			if name != "to" { // needs from
				ask(200, name, examples(p.Example)...)
			}
			tryValues(ask, name, one)
		}
	}
}

// tryValues asks with what a schema allows, and with what is just beyond.
func tryValues(ask func(int, string, ...string) string, name string, s schema) {
	for _, value := range s.Enum {
		ask(200, name, value)
		ask(400, name, value+"x")
		ask(400, name, strings.ToUpper(value))
	}
	if s.MaxLength != nil {
		ask(200, name, strings.Repeat("ü", *s.MaxLength))
		ask(400, name, strings.Repeat("ü", *s.MaxLength+1))
		ask(map[int]int{0: 200, 1: 400}[*s.MinLength], name, "")
	}
	if s.Type == "integer" {
		ask(200, name, fmt.Sprint(*s.Minimum))
		ask(400, name, fmt.Sprint(*s.Minimum-1))
		ask(200, name, fmt.Sprint(*s.Maximum))
		ask(400, name, fmt.Sprint(*s.Maximum+1))
	}
}

func valid(s schema) string {
	switch {
	case len(s.Enum) > 0:
		return s.Enum[0]
	case s.Type == "integer":
		return "1"
	}
	return "x"
}

func examples(example any) (values []string) {
	list, ok := example.([]any)
	if !ok {
		list = []any{example}
	}
	for _, v := range list {
		values = append(values, fmt.Sprint(v))
	}
	return values
}

// Real answers are as described: nothing is missing, and nothing more is there.
func TestOpenAPIAnswers(t *testing.T) {
	d := readDescription(t)
	empty, some := serve(t, "UTC", nil), full(t)
	record(t, some.ledger, job.Job{Name: "dotnet_build", Project: "shop/web", Status: job.TimedOut, Finished: now.Add(-time.Minute)}) // with no text that can be left out
	for _, question := range query.Names() {
		path := query.Path + question
		values := needed(d.parameters(t, path)).Encode()
		for _, s := range []*service{empty, some} {
			for _, more := range []string{"", "&template=*&project=*", "&version=1.*&status=failed&last=24h", "&interval=hour&last=2d", "&limit=1000&offset=1", "&sort=share", "&last=1h"} {
				response, body := s.ask(t, "GET", path+"?"+values+more)
				d.check(t, place(path, fmt.Sprint(response.StatusCode), d.Paths[path]["get"]), path+"?"+values+more, body)
			}
		}
	}
	for _, path := range []string{"", "nowhere"} {
		_, body := some.ask(t, "GET", query.Path+path)
		d.check(t, "/components/schemas/ProblemDocument", path, body)
	}
	_, body := some.ask(t, "POST", "/api/v1/overview")
	d.check(t, "/components/schemas/ProblemDocument", "POST", body)
	slow := serve(t, "UTC", func(o *api.Options) { o.Timeout = time.Nanosecond })
	_, body = slow.ask(t, "GET", "/api/v1/overview")
	d.check(t, place("/api/v1/overview", "503", d.Paths["/api/v1/overview"]["get"]), "503", body)
}

// The examples in schemas are valid themselves, and everything has a description or is a
// reference to something that has one.
func TestOpenAPIExamples(t *testing.T) {
	d := readDescription(t)
	for name, raw := range d.Components.Schemas {
		var s map[string]any
		if err := json.Unmarshal(raw, &s); err != nil {
			t.Fatal(err)
		}
		if s["description"] == nil {
			t.Errorf("%s has no description", name)
		}
		properties, _ := s["properties"].(map[string]any)
		for property, value := range properties {
			p := value.(map[string]any)
			list, _ := p["examples"].([]any)
			for _, example := range list {
				body, err := json.Marshal(example)
				if err != nil {
					t.Fatal(err)
				}
				d.check(t, "/components/schemas/"+name+"/properties/"+property, name+"."+property, body)
			}
			if p["description"] == nil && p["$ref"] == nil && p["enum"] == nil && p["const"] == nil {
				t.Errorf("%s.%s has no description", name, property)
			}
		}
	}
}
