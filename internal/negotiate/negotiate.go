// Package negotiate reads the Accept and Accept-Encoding headers of HTTP requests (RFC 9110, section
// 12). Its callers choose: package exposition between formats of metrics, package query between JSON
// and CSV, and packages api and page whether to compress.
package negotiate

import (
	"mime"
	"strconv"
	"strings"
)

// A Range is one element of an Accept or Accept-Encoding header.
type Range struct {
	Value   string // in lower case
	Params  map[string]string
	Quality float64 // 0 to 1
}

// Parse reads the lines of such a header. It skips elements that it can't read.
func Parse(lines []string) []Range {
	var list []Range
	for _, line := range lines {
		for element := range strings.SplitSeq(line, ",") {
			value, params, err := mime.ParseMediaType(element)
			if err != nil {
				continue
			}
			quality := 1.0
			if q, ok := params["q"]; ok {
				quality, err = strconv.ParseFloat(q, 64)
				if err != nil || !(quality >= 0 && quality <= 1) { // NaN neither
					continue
				}
			}
			list = append(list, Range{value, params, quality})
		}
	}
	return list
}

// Quality is how much a media type without parameters is liked: that of the most specific
// range that it is in, and whether that range names it. It is 0 in none.
func Quality(ranges []Range, mediaType string) (quality float64, named bool) {
	major, _, _ := strings.Cut(mediaType, "/")
	most := 0
	for _, r := range ranges {
		specific := 0
		switch r.Value {
		case mediaType:
			specific = 3
		case major + "/*":
			specific = 2
		case "*/*":
			specific = 1
		}
		if specific > most {
			most, quality = specific, r.Quality
		}
	}
	return quality, most == 3
}

// Gzip reports whether the lines of an Accept-Encoding header ask for gzip, and don't like
// it less than nothing at all.
func Gzip(acceptEncoding []string) bool {
	gzip, identity, rest := -1.0, -1.0, 0.0
	for _, c := range Parse(acceptEncoding) {
		switch c.Value {
		case "gzip", "x-gzip":
			gzip = c.Quality
		case "identity":
			identity = c.Quality
		case "*":
			rest = c.Quality
		}
	}
	if gzip < 0 {
		gzip = rest
	}
	return gzip > 0 && gzip >= identity
}
