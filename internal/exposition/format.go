package exposition

import (
	"mime"
	"strings"

	"ci-jobs-metrics/internal/negotiate"
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
	ranges := negotiate.Parse(accept)
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
func (f Format) quality(ranges []negotiate.Range) (quality float64, named bool) {
	name, params, _ := mime.ParseMediaType(f.ContentType())
	major, _, _ := strings.Cut(name, "/")
	most := 0
	for _, r := range ranges {
		specific := 0
		switch version, versioned := r.Params["version"]; {
		case f == Protobuf:
			if r.Value == name && r.Params["proto"] == params["proto"] && r.Params["encoding"] == params["encoding"] {
				specific = 4
			}
		case r.Value == name && versioned && version == params["version"]:
			specific = 4
		case f == OpenMetrics001:
		case r.Value == name && !versioned:
			specific = 3
		case r.Value == major+"/*":
			specific = 2
		case r.Value == "*/*":
			specific = 1
		}
		if specific > most {
			most, quality = specific, r.Quality
		}
	}
	return quality, most >= 3
}
