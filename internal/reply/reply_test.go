package reply_test

import (
	"bytes"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"ci-jobs-metrics/internal/reply"
)

func TestTags(t *testing.T) {
	tag := reply.Tag("a", 1)
	if tag != reply.Tag("a", 1) || tag == reply.Tag("a", 2) || !strings.HasPrefix(tag, `"`) || !strings.HasSuffix(tag, `"`) {
		t.Fatalf("Tag: %s, %s", tag, reply.Tag("a", 2))
	}
	for header, want := range map[string]bool{
		"": false, tag: true, "W/" + tag: true, `"x", ` + tag: true, `"x",W/"y,z" , ` + tag + `, "w"`: true, "*": true,
		`"x"`: false, `"x`: false, strings.Trim(tag, `"`): false, "nonsense, " + tag: false, `W/"x"`: false,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		if header != "" {
			r.Header.Set("If-None-Match", header)
		}
		tags := reply.TagsOf(r)
		if tags.Has(tag) != want || tags.Has(reply.Weak(tag)) != want || tags.Has("") != (header == "*") {
			t.Errorf("%s: %v", header, tags)
		}
	}
}

func TestCompress(t *testing.T) {
	body := bytes.Repeat([]byte("text "), 1000)
	for range 2 { // the second time with a compressor that was used
		compressed := reply.Compress(body)
		z, err := gzip.NewReader(bytes.NewReader(compressed))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, body) || len(compressed) > 100 {
			t.Errorf("%d bytes of %d, %v", len(compressed), len(got), err)
		}
	}
}
