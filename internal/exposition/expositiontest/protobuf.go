package expositiontest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protodelim"
)

// parseProtobuf reads delimited messages as if they were text: a family has the same
// samples in both, and the same checks apply.
func parseProtobuf(body []byte) (*Document, error) {
	p := parser{declared: map[string]bool{}, seen: map[string]bool{}}
	p.doc.Created, p.doc.Native = map[string]time.Time{}, map[string]map[int]uint64{}
	r := bytes.NewReader(body)
	for {
		p.line++ // a message
		var f dto.MetricFamily
		err := protodelim.UnmarshalOptions{MaxSize: -1}.UnmarshalFrom(r, &f)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		p.message(&f)
	}
	p.end()
	return &p.doc, errors.Join(p.complaints...)
}

func (p *parser) message(f *dto.MetricFamily) {
	if p.declared[f.GetName()] {
		p.complain("family %s is declared again", f.GetName())
	}
	p.declared[f.GetName()] = true
	types := map[dto.MetricType]string{dto.MetricType_COUNTER: "counter", dto.MetricType_GAUGE: "gauge",
		dto.MetricType_SUMMARY: "summary", dto.MetricType_HISTOGRAM: "histogram", dto.MetricType_UNTYPED: "untyped"}
	p.now = &Family{Name: f.GetName(), Type: types[f.GetType()], Help: f.GetHelp()}
	p.doc.Families = append(p.doc.Families, p.now)
	if !metricName.MatchString(p.now.Name) {
		p.complain("%q is no metric name", p.now.Name)
	}
	for _, m := range f.GetMetric() {
		p.metric(f, m)
	}
}

func (p *parser) metric(f *dto.MetricFamily, m *dto.Metric) {
	var labels []Label
	for _, l := range m.GetLabel() {
		labels = append(labels, Label{l.GetName(), l.GetValue()})
	}
	simple := func(v float64) { p.sample("", labels, v, nil) }
	switch f.GetType() {
	case dto.MetricType_COUNTER:
		simple(m.GetCounter().GetValue())
		if c := m.GetCounter().GetCreatedTimestamp(); c != nil {
			p.doc.Created[Key(p.now.Name, labels...)] = c.AsTime()
		}
	case dto.MetricType_GAUGE:
		simple(m.GetGauge().GetValue())
	case dto.MetricType_UNTYPED:
		simple(m.GetUntyped().GetValue())
	case dto.MetricType_SUMMARY:
		p.sample("_sum", labels, m.GetSummary().GetSampleSum(), nil)
		p.sample("_count", labels, float64(m.GetSummary().GetSampleCount()), nil)
	case dto.MetricType_HISTOGRAM:
		p.histogram(labels, m.GetHistogram())
	default:
		p.complain("%s has type %s", p.now.Name, f.GetType())
	}
}

func (p *parser) histogram(labels []Label, h *dto.Histogram) {
	for _, b := range h.GetBucket() {
		le := Label{"le", fmt.Sprint(b.GetUpperBound())}
		p.sample("_bucket", append(labels[:len(labels):len(labels)], le), float64(b.GetCumulativeCount()), b.GetExemplar())
	}
	p.sample("_sum", labels, h.GetSampleSum(), nil)
	p.sample("_count", labels, float64(h.GetSampleCount()), nil)
	if c := h.GetCreatedTimestamp(); c != nil {
		p.doc.Created[Key(p.now.Name, labels...)] = c.AsTime()
	}
	if h.Schema != nil {
		p.native(labels, h)
	}
}

// native reads the buckets of schema 3, and compares the exemplars with those of the
// classic buckets.
func (p *parser) native(labels []Label, h *dto.Histogram) {
	key := Key(p.now.Name, labels...)
	if h.GetSchema() != 3 || h.GetZeroThreshold() != 0x1p-128 {
		p.complain("%s: schema %d, zero threshold %v", key, h.GetSchema(), h.GetZeroThreshold())
	}
	buckets := map[int]uint64{math.MinInt: h.GetZeroCount()}
	i, count, total, deltas := 0, int64(0), h.GetZeroCount(), h.GetPositiveDelta()
	for n, span := range h.GetPositiveSpan() {
		if n > 0 && span.GetOffset() <= 0 {
			p.complain("%s: span %d has offset %d", key, n, span.GetOffset())
		}
		i += int(span.GetOffset())
		for range span.GetLength() {
			if len(deltas) == 0 {
				p.complain("%s: more buckets in spans than deltas", key)
				return
			}
			count += deltas[0]
			deltas = deltas[1:]
			if count != 0 {
				buckets[i] = uint64(count)
			}
			total += uint64(count)
			i++
		}
	}
	if len(deltas) > 0 || total != h.GetSampleCount() {
		p.complain("%s: %d deltas too many, %d in buckets, count %d", key, len(deltas), total, h.GetSampleCount())
	}
	p.doc.Native[key] = buckets
	var classic []*dto.Exemplar
	for _, b := range h.GetBucket() {
		if b.GetExemplar() != nil {
			classic = append(classic, b.GetExemplar())
		}
	}
	alike := func(a, b *dto.Exemplar) bool { return a.String() == b.String() }
	if !slices.EqualFunc(h.GetExemplars(), classic, alike) {
		p.complain("%s: exemplars differ: %v, %v", key, h.GetExemplars(), classic)
	}
}

func (p *parser) sample(suffix string, labels []Label, v float64, exemplar *dto.Exemplar) {
	s := Sample{Name: p.now.Name + suffix, Labels: labels, Text: fmt.Sprint(v), Value: v}
	if exemplar != nil {
		s.Exemplar = &Exemplar{Value: exemplar.GetValue()}
		for _, l := range exemplar.GetLabel() {
			s.Exemplar.Labels = append(s.Exemplar.Labels, Label{l.GetName(), l.GetValue()})
		}
		if err := checkExemplarLabels(s.Exemplar.Labels); err != nil {
			p.complain("exemplar of %s: %w", s.Name, err)
		}
		if exemplar.GetTimestamp() == nil {
			p.complain("exemplar of %s has no time", s.Name)
		}
		s.Exemplar.Time = float64(exemplar.GetTimestamp().AsTime().UnixMicro()) / 1e6
	}
	if k := s.Key(); p.seen[k] {
		p.complain("%s comes again", k)
	} else {
		p.seen[k] = true
	}
	p.now.Samples = append(p.now.Samples, s)
}
