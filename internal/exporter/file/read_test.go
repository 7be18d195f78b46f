package file_test

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"ci-jobs-metrics/internal/exporter/file"
)

func utf16Text(order binary.AppendByteOrder, text string) string {
	raw := order.AppendUint16(nil, 0xFEFF)
	for _, unit := range utf16.Encode([]rune(text)) {
		raw = order.AppendUint16(raw, unit)
	}
	return string(raw)
}

const smiley = "{\"name\":\"bäu \U0001F600\"}"

func TestParse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text   string
		items  []string
		half   bool
		faults []string // how each begins
	}{
		"empty":               {"", nil, true, nil},
		"blank":               {" \r\n\t", nil, true, nil},
		"object":              {`{"a":1}`, []string{`{"a":1}`}, false, nil},
		"object, line end":    {"{\"a\":1}\r\n", []string{`{"a":1}`}, false, nil},
		"spread over lines":   {"{\n  \"a\": {\n    \"b\": 1}\n}\n", []string{"{\n  \"a\": {\n    \"b\": 1}\n}"}, false, nil},
		"array":               {`[{"a":1}, {"b":2}]`, []string{`{"a":1}`, `{"b":2}`}, false, nil},
		"empty array":         {`[]`, nil, false, nil},
		"lines":               {"{\"a\":1}\n\n{\"b\":2}\n", []string{`{"a":1}`, `{"b":2}`}, false, nil},
		"behind each other":   {`{"a":1}{"b":2}`, []string{`{"a":1}`, `{"b":2}`}, false, nil},
		"array and object":    {"[{\"a\":1}]\n{\"b\":2}", []string{`{"a":1}`, `{"b":2}`}, false, nil},
		"half an object":      {`{"a":`, nil, true, nil},
		"half a string":       {`{"a":"x`, nil, true, nil},
		"half an escape":      {`{"a":"x\`, nil, true, nil},
		"half a word":         {`{"a":tr`, nil, true, nil},
		"half an array":       {`[{"a":1},{"b":2}`, nil, true, nil},
		"half a line":         {"{\"a\":1}\n{\"b\":", []string{`{"a":1}`}, true, nil},
		"large number":        {`{"id":12345678901234567890123}`, []string{`{"id":12345678901234567890123}`}, false, nil},
		"no object":           {`"success"`, nil, false, []string{"line 1: it is JSON, but no object"}},
		"no objects in array": {"[1,\n{\"a\":1},\nnull]", []string{`{"a":1}`}, false, []string{"line 1: it is", "line 3: it is"}},
		"quote in a value":    {"{\"a\":\"b\"c\"}\n", nil, false, []string{"line 1: invalid character 'c' after object key:value pair; quotes"}},
		"broken line":         {"{\"a\":1}\n{\"b\":\"x\"y}\n{\"c\":3}\n", []string{`{"a":1}`, `{"c":3}`}, false, []string{"line 2:"}},
		"brace missing":       {"{\"a\":1\n{\"c\":3}\n{\"d\":4}", []string{`{"c":3}`, `{"d":4}`}, false, []string{"line 2:"}},
		"string not closed":   {"{\"a\":\"x\n{\"c\":3}", []string{`{"c":3}`}, false, []string{"line 1: invalid character '\\n' in string; quotes"}},
		"broken, then half":   {"{\"a\":x}\n{\"c\":", nil, true, []string{"line 1:"}},
		"words":               {"job succeeded\n{\"c\":3}", []string{`{"c":3}`}, false, []string{"line 1:"}},
		"inner lines stay":    {"{\n \"a\": \"b\"c\",\n \"d\":\n  {\"e\":1}\n}\n", nil, false, []string{"line 2:"}},
		"trailing comma":      {`{"a":1,}`, nil, false, []string{"line 1:"}},
		"garbage":             {"\x00\x01\x7fELF\xff\xfe", nil, false, []string{"line 1:"}},
		"BOM":                 {"\xEF\xBB\xBF" + smiley, []string{smiley}, false, nil},
		"BOM alone":           {"\xEF\xBB\xBF", nil, true, nil},
		"UTF-16 LE":           {utf16Text(binary.LittleEndian, smiley+"\r\n"), []string{smiley}, false, nil},
		"UTF-16 BE":           {utf16Text(binary.BigEndian, smiley), []string{smiley}, false, nil},
		"UTF-16 odd":          {utf16Text(binary.LittleEndian, smiley) + "\x0a", []string{smiley}, true, nil},
		"UTF-16 half":         {utf16Text(binary.LittleEndian, `{"a":"`) + "\x3d\xd8", nil, true, nil},
		"UTF-16 alone":        {"\xFF\xFE", nil, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			content := read(t, c.text)
			var items []string
			for _, item := range content.Items {
				items = append(items, string(item.JSON))
				if !strings.HasPrefix(string(content.Text[item.Start:]), string(item.JSON)) {
					t.Errorf("%s does not start at %d", item.JSON, item.Start)
				}
			}
			if diff := cmp.Diff(c.items, items); diff != "" {
				t.Errorf("items: %s", diff)
			}
			if content.Half != c.half {
				t.Errorf("half = %v", content.Half)
			}
			if len(content.Faults) != len(c.faults) {
				t.Fatalf("faults %v, want %q", content.Faults, c.faults)
			}
			for i, fault := range content.Faults {
				if !strings.HasPrefix(fault.String(), c.faults[i]) {
					t.Errorf("fault %q, want %q", fault, c.faults[i])
				}
			}
		})
	}
}

func read(t testing.TB, text string) *file.Content {
	t.Helper()
	path := filepath.Join(t.TempDir(), "metrics.json")
	write(t, path, text)
	content, err := file.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTooManyObjectsAndFaults(t *testing.T) {
	t.Parallel()
	many := file.Parse([]byte(strings.Repeat("{}\n", file.MaxItems+5)))
	if len(many.Items) != file.MaxItems || len(many.Faults) != 1 {
		t.Errorf("%d items, faults %v", len(many.Items), many.Faults)
	}
	for name, text := range map[string]string{
		"lines": strings.Repeat("{}\n", file.MaxItems), "array": "[{}" + strings.Repeat(",{}", file.MaxItems-1) + "]",
	} {
		if all := file.Parse([]byte(text)); len(all.Items) != file.MaxItems || len(all.Faults) != 0 {
			t.Errorf("%s, just as many as may be: %d items, faults %v", name, len(all.Items), all.Faults)
		}
	}
	array := file.Parse([]byte("[{}" + strings.Repeat(",{}", file.MaxItems) + "]"))
	if len(array.Items) != file.MaxItems || len(array.Faults) != 1 {
		t.Errorf("%d items, faults %v", len(array.Items), array.Faults)
	}
	bad := file.Parse([]byte(strings.Repeat("{x\n", 100_000)))
	if len(bad.Items) != 0 || len(bad.Faults) > 110 {
		t.Errorf("%d items, %d faults", len(bad.Items), len(bad.Faults))
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "secret")
	write(t, outside, `{"a":1}`)
	for name, c := range map[string]struct {
		make func(path string) error
		why  string
	}{
		"directory":     {func(p string) error { return os.Mkdir(p, 0o755) }, "a directory, not a regular file"},
		"pipe":          {func(p string) error { return syscall.Mkfifo(p, 0o644) }, "a named pipe"},
		"socket":        {listen, "a socket"},
		"link out":      {func(p string) error { return os.Symlink(outside, p) }, "symbolic link out of its directory"},
		"relative link": {func(p string) error { return os.Symlink("../secret", p) }, "symbolic link out of its directory"},
		"link to self":  {func(p string) error { return os.Symlink(p, p) }, "symbolic link"},
		"too large":     {sparse(file.MaxSize + 1), "larger than 1048576 bytes"},
		"100 MB":        {sparse(100 << 20), "larger than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "f")
			if err := c.make(path); err != nil {
				t.Fatal(err)
			}
			content, err := file.Read(path)
			var access *file.AccessError
			if !errors.As(err, &access) || !strings.Contains(err.Error(), c.why) {
				t.Errorf("got %v, %v, want %q", content, err, c.why)
			}
		})
	}
}

func listen(path string) error {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	return l.Close()
}

func sparse(size int64) func(string) error {
	return func(path string) error {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			return err
		}
		return os.Truncate(path, size)
	}
}

func TestReadWhatIsNotThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "plain"), "")
	for _, path := range []string{"f", "no/such/f"} {
		if _, err := file.Read(filepath.Join(dir, path)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range []string{filepath.Join(dir, "plain", "f"), "/", dir + "/"} {
		var access *file.AccessError
		if _, err := file.Read(path); !errors.As(err, &access) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestReadFollowsALinkWithinTheDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "real"), `{"a":1}`)
	if err := os.Symlink("real", filepath.Join(dir, "f")); err != nil {
		t.Fatal(err)
	}
	if content, err := file.Read(filepath.Join(dir, "f")); err != nil || len(content.Items) != 1 {
		t.Errorf("%v, %v", content, err)
	}
}

// The largest file that is read is read whole.
func TestReadLargest(t *testing.T) {
	t.Parallel()
	line := `{"a":"` + strings.Repeat("x", file.MaxSize-len(`{"a":""}`)) + `"}`
	if content := read(t, line); len(content.Items) != 1 || content.Half || len(content.Text) != file.MaxSize {
		t.Errorf("%d items of %d bytes", len(content.Items), len(content.Text))
	}
}

// The identity stays when a file is appended to or overwritten, and changes when
// it is replaced.
func TestIdentity(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells files apart")
	}
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	identity := func(text string) string {
		write(t, path, text)
		content, err := file.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		return content.Identity
	}
	first := identity(`{}`)
	if second := identity(`{}{}`); second != first || first == "" {
		t.Errorf("overwritten: %q, then %q", first, second)
	}
	if err := os.Rename(path, filepath.Join(dir, "old")); err != nil {
		t.Fatal(err)
	}
	if third := identity(`{}`); third == first {
		t.Errorf("replaced: still %q", third)
	}
}
