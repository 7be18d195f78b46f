// Package expositiontest reads what the exposition wrote, for tests, and is
// stricter than any scraper: Prometheus' own parsers accept a family that is
// declared twice, a series that comes twice, or samples that stray from their
// family.
//
// [Parse] takes a body and its content type, checks everything that is stated at
// [Document], and returns the document or every complaint. [Model] says what the
// samples of some jobs should be, computed the naive way, and [Expect] what those of
// some totals should be; [Jobs] reads such jobs from a text, for golden files, and
// [Random] makes them up, for fuzzing. The tests of other packages use all this on what
// a running receiver answers.
package expositiontest

import (
	"errors"
	"fmt"
	"mime"
	"strings"
	"time"
)

// A Document is an exposition that was found sound:
//   - every family is declared once, with HELP, then TYPE, and has samples; in
//     OpenMetrics a UNIT may come between;
//   - all samples of a family follow its declaration, and none stands elsewhere;
//   - names, labels, escapes and values are written as the format asks;
//   - no label set comes twice;
//   - buckets ascend, are cumulative, and end in +Inf, the count; an exemplar is in
//     its bucket;
//   - in OpenMetrics, no name that one family stands for (its own, its samples')
//     is one that another family stands for, and one # EOF is the end; in text
//     there is none;
//   - in protobuf, families are of one type, and native buckets are as many as the
//     count.
type Document struct {
	OpenMetrics bool
	Families    []*Family // in the order in which they were written

	// Of protobuf only, by Key of the metric, without a suffix, and its labels.
	Created map[string]time.Time
	Native  map[string]map[int]uint64 // buckets by index; that of zero is math.MinInt
}

// A Family is a metric family under the name by which it was declared.
type Family struct {
	Name, Type, Help string
	Samples          []Sample
}

// A Sample is one line.
type Sample struct {
	Name   string
	Labels []Label // in the order in which they were written
	Text   string  // the value as it was written
	Value  float64

	Exemplar *Exemplar // nil if there is none
}

// An Exemplar is what stands behind a sample's value.
type Exemplar struct {
	Labels      []Label
	Value, Time float64 // of Unix time: seconds
}

// A Label is a name and the value it stands for, unescaped.
type Label struct{ Name, Value string }

// Label returns the value of a label, empty if there is none.
func (s *Sample) Label(name string) string {
	for _, l := range s.Labels {
		if l.Name == name {
			return l.Value
		}
	}
	return ""
}

// Key is the sample's name and labels in one text, the same for both formats:
// le is as text 0.0.4 writes it.
func (s *Sample) Key() string { return Key(s.Name, s.Labels...) }

// Values returns the values of all samples by their Key.
func (d *Document) Values() map[string]float64 {
	values := map[string]float64{}
	for _, f := range d.Families {
		for i := range f.Samples {
			values[f.Samples[i].Key()] = f.Samples[i].Value
		}
	}
	return values
}

// Exemplars returns those of all samples by their Key.
func (d *Document) Exemplars() map[string]Exemplar {
	exemplars := map[string]Exemplar{}
	for _, f := range d.Families {
		for i := range f.Samples {
			if e := f.Samples[i].Exemplar; e != nil {
				exemplars[f.Samples[i].Key()] = *e
			}
		}
	}
	return exemplars
}

// Family returns the family of that name, nil if there is none.
func (d *Document) Family(name string) *Family {
	for _, f := range d.Families {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// Parse reads an exposition. The error joins all complaints.
func Parse(contentType string, body []byte) (*Document, error) {
	p := parser{declared: map[string]bool{}, seen: map[string]bool{}}
	switch kind, _, err := mime.ParseMediaType(contentType); {
	case err != nil:
		return nil, fmt.Errorf("content type: %w", err)
	case kind == "application/vnd.google.protobuf":
		return parseProtobuf(body)
	case kind == "application/openmetrics-text":
		p.doc.OpenMetrics = true
	case kind != "text/plain":
		return nil, fmt.Errorf("content type %q is no text exposition", contentType)
	}
	text, complete := strings.CutSuffix(string(body), "\n")
	if complete {
		for line := range strings.SplitSeq(text, "\n") {
			p.line++
			p.read(line)
		}
	} else if text != "" {
		p.complain("the last line does not end")
	}
	p.end()
	return &p.doc, errors.Join(p.complaints...)
}

type parser struct {
	doc        Document
	line       int
	now        *Family         // whose block this is
	declared   map[string]bool // names of all families
	help       string          // name of the HELP line directly before
	seen       map[string]bool // name and labels of all samples
	eof        bool
	complaints []error
}

func (p *parser) complain(format string, args ...any) {
	p.complaints = append(p.complaints, fmt.Errorf("line %d: %w", p.line, fmt.Errorf(format, args...)))
}

func (p *parser) read(line string) {
	switch {
	case p.eof:
		p.complain("something after # EOF: %q", line)
	case line == "# EOF":
		p.eof = true
		if !p.doc.OpenMetrics {
			p.complain("# EOF in text 0.0.4")
		}
	case strings.HasPrefix(line, "# HELP "):
		p.readHelp(line[len("# HELP "):])
	case strings.HasPrefix(line, "# TYPE "):
		p.readType(line[len("# TYPE "):])
	case strings.HasPrefix(line, "# UNIT ") && p.doc.OpenMetrics:
		p.readUnit(line[len("# UNIT "):])
	case strings.HasPrefix(line, "#") || line == "":
		p.complain("neither a sample nor a declaration: %q", line)
	default:
		p.readSample(line)
	}
}

func (p *parser) readHelp(rest string) {
	name, help, _ := strings.Cut(rest, " ")
	if p.declared[name] {
		p.complain("family %s is declared again", name)
	}
	p.declared[name] = true
	escapes := `\n`
	if p.doc.OpenMetrics {
		escapes = `\n"`
	}
	unescaped, err := unescape(help, escapes)
	if err != nil {
		p.complain("help of %s: %w", name, err)
	}
	p.help = name
	p.now = &Family{Name: name, Help: unescaped}
	p.doc.Families = append(p.doc.Families, p.now)
}

func (p *parser) readType(rest string) {
	name, typ, _ := strings.Cut(rest, " ")
	if name != p.help {
		p.complain("TYPE %s does not follow its HELP", name)
		return
	}
	p.help = ""
	if !metricName.MatchString(name) {
		p.complain("%q is no metric name", name)
	}
	if _, known := p.suffixes(typ); !known {
		p.complain("unknown type %q", typ)
	}
	p.now.Type = typ
}

func (p *parser) readUnit(rest string) {
	name, unit, _ := strings.Cut(rest, " ")
	switch {
	case p.now == nil || p.now.Type == "" || p.now.Name != name || len(p.now.Samples) > 0:
		p.complain("UNIT %s does not follow its TYPE", name)
	case !strings.HasSuffix(name, "_"+unit):
		p.complain("unit %s is no suffix of %s", unit, name)
	}
}

func (p *parser) readSample(line string) {
	s, err := parseSample(line, p.doc.OpenMetrics)
	if err != nil {
		p.complain("%w in %q", err, line)
		return
	}
	if p.now == nil || p.now.Type == "" {
		p.complain("sample %s before any TYPE", s.Name)
		return
	}
	if err := p.fits(&s); err != nil {
		p.complain("%w", err)
	}
	if k := s.Key(); p.seen[k] {
		p.complain("%s comes again", k)
	} else {
		p.seen[k] = true
	}
	p.now.Samples = append(p.now.Samples, s)
}

func (p *parser) end() {
	if p.doc.OpenMetrics && !p.eof {
		p.complain("no # EOF")
	}
	for _, f := range p.doc.Families {
		if len(f.Samples) == 0 {
			p.complain("family %s has no samples", f.Name)
		}
		if f.Type == "histogram" {
			p.histograms(f)
		}
	}
	if p.doc.OpenMetrics {
		p.clashes()
	}
}
