package exposition

import (
	"bufio"
	"math"
	"strconv"
	"strings"
)

// An encoder writes the families of one document as lines.
type encoder struct {
	out      *bufio.Writer
	format   Format
	declared declared
	bounds   []string // le of each bucket, as the format writes it; the last is +Inf
}

func newEncoder(out *bufio.Writer, format Format, families []*family, bounds []float64) *encoder {
	enc := &encoder{out: out, format: format, declared: declare(families)}
	for _, b := range bounds {
		enc.bounds = append(enc.bounds, format.number(b))
	}
	enc.bounds = append(enc.bounds, "+Inf")
	return enc
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

// Both formats escape label values alike, but of help texts OpenMetrics escapes
// the quotes too.
var (
	escapeLabel = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
	escapeHelp  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
)

func (enc *encoder) family(f *family) {
	enc.head(f)
	for i := range f.series {
		if s := &f.series[i]; f.kind == counter {
			enc.labels(f, s, "", "")
			enc.integer(s.count)
		} else {
			enc.histogram(f, s)
		}
	}
}

func (enc *encoder) head(f *family) {
	name, typ, escape := f.metric, "counter", escapeHelp
	if f.kind == histogram {
		typ = "histogram"
	}
	if enc.format.openMetrics() {
		name, typ = enc.declared.openMetrics(f)
		escape = escapeLabel
	}
	enc.text("# HELP ", name, " ")
	_, _ = escape.WriteString(enc.out, f.help)
	enc.text("\n# TYPE ", name, " ", typ, "\n")
}

func (enc *encoder) histogram(f *family, s *series) {
	var upTo uint64
	for i, n := range s.buckets {
		upTo += n
		enc.labels(f, s, "_bucket", enc.bounds[i])
		enc.integer(upTo)
	}
	enc.labels(f, s, "_sum", "")
	enc.seconds(s.sum)
	enc.labels(f, s, "_count", "")
	enc.integer(s.count)
}

// labels writes a sample up to its value: metric, suffix, labels, and le last
// where there is one.
func (enc *encoder) labels(f *family, s *series, suffix, le string) {
	enc.text(f.metric, suffix)
	before := "{"
	for _, label := range f.labels {
		enc.text(before, label, `="`)
		_, _ = escapeLabel.WriteString(enc.out, s.value(label))
		enc.text(`"`)
		before = ","
	}
	if le != "" {
		enc.text(before, `le="`, le, `"`)
	}
	enc.text("} ")
}

func (k *key) value(label string) string {
	switch label {
	case "template":
		return k.template
	case "project":
		return k.project
	default:
		return string(k.status)
	}
}

func (enc *encoder) text(parts ...string) {
	for _, p := range parts {
		_, _ = enc.out.WriteString(p)
	}
}

func (enc *encoder) integer(n uint64) {
	line := strconv.AppendUint(enc.out.AvailableBuffer(), n, 10)
	_, _ = enc.out.Write(append(line, '\n'))
}

// seconds writes microseconds as exact seconds. Through a float64 sums beyond
// 2^53 microseconds would lose digits, and large ones would have exponents.
func (enc *encoder) seconds(us int64) {
	line := strconv.AppendInt(enc.out.AvailableBuffer(), us/1e6, 10)
	if rest := us % 1e6; rest != 0 {
		digits := strconv.Itoa(int(1e6 + rest)) // keeps the leading zeros: 1000050
		line = append(line, '.')
		line = append(line, strings.TrimRight(digits[1:], "0")...)
	}
	_, _ = enc.out.Write(append(line, '\n'))
}
