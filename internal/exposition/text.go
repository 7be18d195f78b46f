package exposition

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"ci-jobs-metrics/internal/totals"
)

// Both text formats escape label values alike, but of help texts OpenMetrics escapes
// the quotes too.
var (
	escapeLabel = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
	escapeHelp  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
)

// leTexts are the bounds as a format writes them, and +Inf.
func leTexts(bounds []float64, f Format) []string {
	var texts []string
	for _, b := range bounds {
		texts = append(texts, f.number(b))
	}
	return append(texts, "+Inf")
}

// number writes a bound. OpenMetrics wants floating-point numbers to be seen as
// such: 60.0.
func (f Format) number(v float64) string {
	s := strconv.FormatFloat(v, 'g', -1, 64)
	if f.openMetrics() && !strings.ContainsAny(s, ".e") && !math.IsInf(v, 0) {
		s += ".0"
	}
	return s
}

// appendHead declares a family as one of the text formats does.
func (d *document) appendHead(b []byte, f *family, s shape) []byte {
	name, typ, help := f.metric, "counter", escapeHelp.Replace(f.help)
	if f.kind == histogram {
		typ = "histogram"
	}
	if s == openMetricsShape {
		name, typ = d.openMetrics(f)
		help = escapeLabel.Replace(f.help)
	}
	return appendTexts(b, "# HELP ", name, " ", help, "\n# TYPE ", name, " ", typ, "\n")
}

func appendTexts(b []byte, texts ...string) []byte {
	for _, t := range texts {
		b = append(b, t...)
	}
	return b
}

// appendCounters writes a chunk of counters, in either text format.
func (d *document) appendCounters(b []byte, c *chunk) []byte {
	for i := range c.lines {
		l := &c.lines[i]
		b = append(b, c.family.metric...)
		b = d.appendLabels(b, c.family, l)
		b = append(b, "} "...)
		b = strconv.AppendUint(b, l.value, 10)
		b = append(b, '\n')
	}
	return b
}

// appendLabels writes the labels of a line up to the brace.
func (d *document) appendLabels(b []byte, f *family, l *line) []byte {
	b = append(b, '{')
	if f.labelled {
		b = appendTexts(b, `template="`, d.symbols.list[l.template].escaped, `",`)
	}
	if f.kind == counter {
		b = appendTexts(b, `project="`, d.symbols.list[l.project].escaped, `",`)
	}
	b = appendTexts(b, `status="`, d.symbols.list[l.status.symbol()].escaped, `"`)
	if f.labelled {
		b = append(b, d.labelSets.list[l.labels].text...)
	}
	return b
}

// appendHistograms writes a chunk of histograms.
func (e *Exposition) appendHistograms(b []byte, c *chunk, s shape) []byte {
	for i := range c.lines {
		l := &c.lines[i]
		e.press.part = e.doc.appendLabels(e.press.part[:0], c.family, l)
		b = e.doc.appendHistogram(b, c.family.metric, e.press.part, e.doc.shown(l), s)
	}
	return b
}

// appendHistogram writes one; labels are as appendLabels leaves them.
func (d *document) appendHistogram(b []byte, metric string, labels []byte, h *totals.Duration, s shape) []byte {
	var upTo uint64
	for i, n := range h.Buckets {
		upTo += n
		b = appendTexts(b, metric, "_bucket")
		b = append(b, labels...)
		b = appendTexts(b, `,le="`, d.bounds[s][i], `"} `)
		b = strconv.AppendUint(b, upTo, 10)
		if s == openMetricsShape && i < len(h.Exemplars) && fits(&h.Exemplars[i]) {
			b = appendExemplar(b, &h.Exemplars[i])
		}
		b = append(b, '\n')
	}
	b = appendTexts(b, metric, "_sum")
	b = append(b, labels...)
	b = append(b, "} "...)
	b = appendSeconds(b, h.Sum)
	b = appendTexts(b, "\n", metric, "_count")
	b = append(b, labels...)
	b = append(b, "} "...)
	b = strconv.AppendUint(b, h.Count, 10)
	return append(b, '\n')
}

// exemplarLabel is the label of an exemplar; its value is the job's id.
const exemplarLabel = "id"

// maxExemplar is how many characters the labels of an exemplar may have together, in
// OpenMetrics as in Prometheus.
const maxExemplar = 128

// fits reports whether there is an exemplar that may be shown.
func fits(e *totals.Exemplar) bool {
	return e.ID != "" && utf8.RuneCountInString(e.ID) <= maxExemplar-len(exemplarLabel)
}

func appendExemplar(b []byte, e *totals.Exemplar) []byte {
	b = appendTexts(b, " # {", exemplarLabel, `="`, escapeLabel.Replace(e.ID), `"} `)
	b = appendSeconds(b, e.Duration)
	b = append(b, ' ')
	return appendSeconds(b, e.At.UnixMicro())
}

// appendSeconds writes microseconds as exact seconds. Through a float64 sums beyond
// 2^53 microseconds would lose digits, and large ones would have exponents.
func appendSeconds(b []byte, us int64) []byte {
	b = strconv.AppendInt(b, us/1e6, 10)
	rest := us % 1e6
	if rest == 0 {
		return b
	}
	b = append(b, '.')
	for digit := int64(1e5); rest > 0; digit /= 10 {
		b = append(b, byte('0'+rest/digit))
		rest %= digit
	}
	return b
}
