package negotiate_test

import (
	"testing"

	"ci-jobs-metrics/internal/negotiate"
)

func TestGzip(t *testing.T) {
	for _, c := range []struct {
		encodings []string
		want      bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{"gzip"}, true},
		{[]string{"GZIP"}, true},
		{[]string{"x-gzip"}, true},
		{[]string{"gzip, deflate, br, zstd"}, true},
		{[]string{"br", "gzip;q=0.1"}, true},
		{[]string{"gzip;q=0"}, false},
		{[]string{"gzip; q=0.000"}, false},
		{[]string{"gzip;q=0, *"}, false},
		{[]string{"*"}, true},
		{[]string{"*;q=0"}, false},
		{[]string{"*;q=0, gzip"}, true},
		{[]string{"identity"}, false},
		{[]string{"identity, gzip;q=0.5"}, false},
		{[]string{"identity;q=0.5, gzip"}, true},
		{[]string{"deflate"}, false},
		{[]string{"gzip;q=high"}, false},
	} {
		if got := negotiate.Gzip(c.encodings); got != c.want {
			t.Errorf("%q: %t, want %t", c.encodings, got, c.want)
		}
	}
}

func TestQuality(t *testing.T) {
	for _, c := range []struct {
		accept  string
		quality float64
		named   bool
	}{
		{"", 0, false},
		{"text/csv", 1, true},
		{"Text/CSV; charset=utf-8", 1, true},
		{"text/csv;q=0.3, */*", 0.3, true},
		{"*/*, text/csv;q=0", 0, true},
		{"*/*;q=0.5, text/*;q=0.2", 0.2, false},
		{"text/html, */*;q=0.1", 0.1, false},
		{"application/json", 0, false},
	} {
		quality, named := negotiate.Quality(negotiate.Parse([]string{c.accept}), "text/csv")
		if quality != c.quality || named != c.named {
			t.Errorf("%s: %v, %t", c.accept, quality, named)
		}
	}
}
