package file_test

import (
	"encoding/binary"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"ci-jobs-metrics/internal/exporter/file"
)

// FuzzRead: whatever is in the file, reading it ends, what it gives are JSON
// objects that are where it says, and appending takes none of them away.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"", "{}", `{"name":"build","status":"success"}`, "[{},{}]", "{}\n{}", "{}{", "[", "[1,{}", "null", "}",
		`{"a":"b"c"}`, "{x\n{}\n", "\xEF\xBB\xBF{}", "\xFF\xFE{\x00}\x00", "\xFE\xFF\x00{\x00}", "\xFF\xFE\x3d\xd8",
		"{\"a\":\"\xff\"}", "\x00\x01", strings.Repeat("[", 20_000), strings.Repeat("{\"a\":\n", 50),
		utf16Text(binary.LittleEndian, smiley), `{"id":1e400}`, "{\"a\":1\n{\"b\":2}",
	} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "f")
	f.Fuzz(func(t *testing.T, raw []byte) {
		write(t, path, string(raw))
		content, err := file.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range content.Items {
			var object map[string]json.RawMessage
			if err := json.Unmarshal(item.JSON, &object); err != nil || object == nil {
				t.Fatalf("item %q: %v", item.JSON, err)
			}
			if !strings.HasPrefix(string(content.Text[item.Start:]), string(item.JSON)) {
				t.Fatalf("item %q is not at %d", item.JSON, item.Start)
			}
		}
		if len(content.Items) == 0 && !content.Half && len(content.Faults) == 0 &&
			strings.Trim(string(content.Text), "[] \t\r\n") != "" {
			t.Fatal("something was dropped without a word")
		}
		longer := file.Parse(append(content.Text[:len(content.Text):len(content.Text)], "\n{}"...))
		if len(longer.Items) < len(content.Items) {
			t.Fatalf("%d items became %d", len(content.Items), len(longer.Items))
		}
	})
}
