package exposition

import (
	"mime"
	"strconv"
	"strings"
)

// A Format is a way to write metrics.
type Format int

// The formats. The two versions of OpenMetrics differ in nothing that is written
// here; a client gets the one it asked for.
const (
	Text           Format = iota // Prometheus text 0.0.4
	OpenMetrics                  // OpenMetrics text 1.0.0
	OpenMetrics001               // OpenMetrics text 0.0.1, for old clients
	Protobuf                     // delimited MetricFamily messages, the only format with native histograms
)

// ContentType is what the format is called in HTTP.
func (f Format) ContentType() string {
	switch f {
	case OpenMetrics:
		return "application/openmetrics-text; version=1.0.0; charset=utf-8"
	case OpenMetrics001:
		return "application/openmetrics-text; version=0.0.1; charset=utf-8"
	case Protobuf:
		return "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
	default:
		return "text/plain; version=0.0.4; charset=utf-8"
	}
}

func (f Format) openMetrics() bool { return f.shape() == openMetricsShape }

func (f Format) shape() shape {
	switch f {
	case OpenMetrics, OpenMetrics001:
		return openMetricsShape
	case Protobuf:
		return protobufShape
	default:
		return textShape
	}
}

// Negotiate picks the format that the lines of an Accept header like best. Among
// those liked equally it is of those that the client named the one that can carry
// most, protobuf before OpenMetrics, and otherwise text, which everybody reads; so it
// is for a client that names nothing we offer. A header that rules everything out is not obeyed: a scrape
// that fails helps nobody.
func Negotiate(accept []string) Format {
	ranges := parseQualities(accept)
	best, bestQuality, bestNamed := Text, 0.0, true
	for _, f := range []Format{Protobuf, OpenMetrics, OpenMetrics001, Text} {
		quality, named := f.quality(ranges)
		if quality > bestQuality || quality == bestQuality && !bestNamed {
			best, bestQuality, bestNamed = f, quality, named
		}
	}
	return best
}

// quality is that of the most specific range which the format is in, and whether
// that range names it. OpenMetrics 0.0.1 is only for those who name its version, and
// protobuf for those who name the message and the encoding.
func (f Format) quality(ranges []qualified) (quality float64, named bool) {
	name, params, _ := mime.ParseMediaType(f.ContentType())
	major, _, _ := strings.Cut(name, "/")
	most := 0
	for _, r := range ranges {
		specific := 0
		switch version, versioned := r.params["version"]; {
		case f == Protobuf:
			if r.value == name && r.params["proto"] == params["proto"] && r.params["encoding"] == params["encoding"] {
				specific = 4
			}
		case r.value == name && versioned && version == params["version"]:
			specific = 4
		case f == OpenMetrics001:
		case r.value == name && !versioned:
			specific = 3
		case r.value == major+"/*":
			specific = 2
		case r.value == "*/*":
			specific = 1
		}
		if specific > most {
			most, quality = specific, r.quality
		}
	}
	return quality, most >= 3
}

// AcceptsGzip reports whether the lines of an Accept-Encoding header ask for
// gzip, and don't like it less than nothing at all.
func AcceptsGzip(acceptEncoding []string) bool {
	gzip, identity, rest := -1.0, -1.0, 0.0
	for _, c := range parseQualities(acceptEncoding) {
		switch c.value {
		case "gzip", "x-gzip":
			gzip = c.quality
		case "identity":
			identity = c.quality
		case "*":
			rest = c.quality
		}
	}
	if gzip < 0 {
		gzip = rest
	}
	return gzip > 0 && gzip >= identity
}

// A qualified is one element of an Accept or Accept-Encoding header.
type qualified struct {
	value   string // in lower case
	params  map[string]string
	quality float64 // 0 to 1
}

// parseQualities reads the lines of such a header. What can't be read is as if
// it were not there.
func parseQualities(lines []string) []qualified {
	var list []qualified
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
			list = append(list, qualified{value, params, quality})
		}
	}
	return list
}
