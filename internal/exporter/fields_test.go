package exporter

import (
	"bytes"
	"encoding/json"
	"testing"
)

// What is written by hand is what encoding/json would write: ids are made of it.
func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{`{"name":"a","b":[1, 2],"c":{"x" : null}}`, `{"é":"\u2028<>&","\"":"\\"," ":1e5}`, `{"a":"\ud800","":"\x7f"}`, "{\"a\":\"\xff\"}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var object map[string]json.RawMessage
		if json.Unmarshal(text, &object) != nil || object == nil {
			return
		}
		want := encode(object)
		if got := fields(object).canonical(); !bytes.Equal(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
		for name, raw := range object {
			var s string
			if json.Unmarshal(raw, &s) == nil && plain(raw) && string(encode(s)) != string(quoted(s)) {
				t.Errorf("%s: %s", name, quoted(s))
			}
		}
	})
}
