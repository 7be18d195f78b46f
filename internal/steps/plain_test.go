package steps

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ci-jobs-metrics/internal/job"
)

// FuzzPlain wants the short way of reading JSON, where it is taken, to lead where
// encoding/json does. It is inside the package, for from outside nobody can tell which
// way was taken.
func FuzzPlain(f *testing.F) {
	for _, text := range []string{
		`{"name":"n","project":"p","status":"success","id":18446744073709551616,"duration":-0.5}`,
		` { "name" : "n" , "name":"m","other":1 } `,
		`[{"name":"n"},{"project":"p"}]`,
		`[{"name":"n"} , {"id":0}]`,
		`{"id":01}`, `{"id":1e3}`, `{"id":1.}`, `{"id":-}`, `{"id":.5}`, `{"id":00}`, `{"id":-0}`,
		`{"name":"n"}` + "\x00", `{"name":"a\u0041"}`, `{"name":"☃"}`, `{"NAME":"n"}`, `{"name":null}`, `{"name":{}}`,
		`{}`, `[]`, `[{}]`, `{"name":"n",}`, `[{"name":"n"},]`, `{"name":"n"`, `{"name"}`, `{"name":"n"}{`, `"`, ``,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got, ok := plainObject(text); ok {
			check(t, text, []item{got}, []item{decodeObject(trim([]byte(text)))})
		}
		p := plain{text: text}
		if got, ok, _ := p.array(&claim{from: newBudget(MaxInFlight)}); ok {
			want, err := decodeArray([]byte(text), &claim{from: newBudget(MaxInFlight)})
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			check(t, text, got, want)
		}
	})
}

func check(t *testing.T, text string, got, want []item) {
	t.Helper()
	if !json.Valid([]byte(text)) {
		t.Fatalf("%q is not JSON", text)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(item{})); diff != "" {
		t.Fatalf("%q (-encoding/json +plain):\n%s", text, diff)
	}
}

// The short way is taken for what our own exporter, and the README's lines, send.
func TestPlain(t *testing.T) {
	for _, text := range []string{
		`{"started":"2026-03-01T11:58:00Z","status":"failed","project":"group/app","name":"dotnet_build"}`,
		`{"name": "deploy: [eu, 1]", "id": 12, "duration": 1.5}`,
	} {
		if _, ok := plainObject(text); !ok {
			t.Errorf("%s is not plain", text)
		}
	}
	if r, ok := plainQuery("name=n&project=group/app&started=2026-03-01T11:58:00%2B01:00&other=1"); !ok ||
		r != (job.Report{Name: "n", Project: "group/app", Started: "2026-03-01T11:58:00+01:00"}) {
		t.Errorf("query: %+v, %t", r, ok)
	}
}
