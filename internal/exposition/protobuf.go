package exposition

import (
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"ci-jobs-metrics/internal/totals"
)

// Messages are as in io/prometheus/client/metrics.proto of prometheus/client_model. They
// are written by hand, since a family is kept in pieces: each series is one field
// "metric" of its family, with everything in it, and before the first one comes the
// length of them all.

// Fields of MetricFamily.
const (
	familyName protowire.Number = iota + 1
	familyHelp
	familyType
	familyMetric
)

// Fields of Metric, LabelPair, Counter, Bucket, BucketSpan, Exemplar and Timestamp.
const (
	metricLabel     protowire.Number = 1
	metricCounter   protowire.Number = 3
	metricHistogram protowire.Number = 7

	pairName  protowire.Number = 1
	pairValue protowire.Number = 2

	counterValue   protowire.Number = 1
	counterCreated protowire.Number = 3

	bucketUpTo     protowire.Number = 1
	bucketBound    protowire.Number = 2
	bucketExemplar protowire.Number = 3

	spanOffset protowire.Number = 1
	spanLength protowire.Number = 2

	exemplarPair  protowire.Number = 1
	exemplarValue protowire.Number = 2
	exemplarTime  protowire.Number = 3

	timeSeconds protowire.Number = 1
	timeNanos   protowire.Number = 2
)

// Fields of Histogram.
const (
	histogramCount         protowire.Number = 1
	histogramSum           protowire.Number = 2
	histogramBucket        protowire.Number = 3
	histogramSchema        protowire.Number = 5
	histogramZeroThreshold protowire.Number = 6
	histogramZeroCount     protowire.Number = 7
	histogramSpan          protowire.Number = 12
	histogramDelta         protowire.Number = 13
	histogramCreated       protowire.Number = 15
	histogramExemplar      protowire.Number = 16
)

// The metric types of metrics.proto.
const (
	typeCounter   = 0
	typeHistogram = 4
)

// The resolution of totals.Exponential, and below what Prometheus takes a value for zero
// (client_golang's default; no duration but 0 is as short).
const schema = 3

var zeroThreshold = math.Ldexp(1, -128)

// appendFamily appends the beginning of a family of whose metrics the given number of
// bytes follows.
func appendFamily(b []byte, f *family, size int) []byte {
	typ := uint64(typeCounter)
	if f.kind == histogram {
		typ = typeHistogram
	}
	var head []byte
	head = appendText(head, familyName, f.metric)
	head = appendText(head, familyHelp, f.help)
	head = appendUint(head, familyType, typ)
	b = protowire.AppendVarint(b, uint64(len(head)+size))
	return append(b, head...)
}

// appendMetrics writes a chunk as so many metrics.
func (e *Exposition) appendMetrics(b []byte, c *chunk) []byte {
	for i := range c.lines {
		b = nested(b, familyMetric, func(b []byte) []byte { return e.appendMetric(b, c.family, &c.lines[i]) })
	}
	return b
}

func (e *Exposition) appendMetric(b []byte, f *family, l *line) []byte {
	d := &e.doc
	if f.labelled {
		b = appendPair(b, "template", d.symbols.list[l.template].text)
	}
	if f.kind == counter {
		b = appendPair(b, "project", d.symbols.list[l.project].text)
	}
	b = appendPair(b, "status", d.symbols.list[l.status.symbol()].text)
	if f.labelled {
		b = append(b, d.labelSets.pairs[l.labels]...)
	}
	if f.kind == histogram {
		return nested(b, metricHistogram, func(b []byte) []byte { return e.appendDistribution(b, l) })
	}
	return nested(b, metricCounter, func(b []byte) []byte {
		b = appendDouble(b, counterValue, float64(l.value))
		return appendTime(b, counterCreated, l.created)
	})
}

// appendDistribution writes both sorts of buckets: Prometheus takes the exponential ones
// for a native histogram, and the classic ones where it is told to.
func (e *Exposition) appendDistribution(b []byte, l *line) []byte {
	h := e.doc.shown(l)
	b = appendUint(b, histogramCount, h.Count)
	b = appendDouble(b, histogramSum, float64(h.Sum)/1e6)
	var upTo uint64
	for i, n := range h.Buckets {
		upTo += n
		bound := math.Inf(1)
		if i < len(e.doc.settings.Bounds) {
			bound = e.doc.settings.Bounds[i]
		}
		b = nested(b, histogramBucket, func(b []byte) []byte {
			b = appendUint(b, bucketUpTo, upTo)
			b = appendDouble(b, bucketBound, bound)
			if i < len(h.Exemplars) {
				b = appendExemplarField(b, bucketExemplar, &h.Exemplars[i])
			}
			return b
		})
	}
	b = e.appendNative(b, &h.Exp)
	b = appendTime(b, histogramCreated, l.created)
	for i := range h.Exemplars {
		b = appendExemplarField(b, histogramExemplar, &h.Exemplars[i])
	}
	return b
}

// maxGap is how many empty buckets are written rather than begin a new span, as
// client_golang does: a delta takes one byte, a span at least six.
const maxGap = 2

// appendNative writes the exponential buckets: spans of neighbours, each bucket as the
// difference from the one before.
func (e *Exposition) appendNative(b []byte, exp *totals.Exponential) []byte {
	b = appendUint(b, histogramSchema, protowire.EncodeZigZag(schema))
	b = appendDouble(b, histogramZeroThreshold, zeroThreshold)
	b = appendUint(b, histogramZeroCount, exp.Zero)
	indexes := e.press.indexes[:0]
	for i := range exp.Counts {
		indexes = append(indexes, i)
	}
	slices.Sort(indexes)
	e.press.indexes = indexes
	for from, end := 0, 0; from < len(indexes); { // end is behind the last bucket of the span before
		to := from + 1
		for to < len(indexes) && indexes[to]-indexes[to-1] <= maxGap+1 {
			to++
		}
		b = nested(b, histogramSpan, func(b []byte) []byte {
			b = appendUint(b, spanOffset, protowire.EncodeZigZag(int64(indexes[from]-end)))
			return appendUint(b, spanLength, uint64(indexes[to-1]-indexes[from]+1))
		})
		from, end = to, indexes[to-1]+1
	}
	return nested(b, histogramDelta, func(b []byte) []byte { return appendDeltas(b, exp.Counts, indexes) })
}

// appendDeltas writes packed deltas, those of the empty buckets within spans too.
func appendDeltas(b []byte, counts map[int]uint64, indexes []int) []byte {
	before := int64(0)
	for n, i := range indexes {
		if n > 0 && i-indexes[n-1] <= maxGap+1 {
			for range i - indexes[n-1] - 1 {
				b = protowire.AppendVarint(b, protowire.EncodeZigZag(-before))
				before = 0
			}
		}
		count := int64(counts[i])
		b = protowire.AppendVarint(b, protowire.EncodeZigZag(count-before))
		before = count
	}
	return b
}

func appendExemplarField(b []byte, field protowire.Number, x *totals.Exemplar) []byte {
	if !fits(x) {
		return b
	}
	return nested(b, field, func(b []byte) []byte {
		b = nested(b, exemplarPair, func(b []byte) []byte {
			b = appendText(b, pairName, exemplarLabel)
			return appendText(b, pairValue, x.ID)
		})
		b = appendDouble(b, exemplarValue, float64(x.Duration)/1e6)
		return appendTime(b, exemplarTime, x.At.UnixMicro())
	})
}

// appendPair writes a label of a metric.
func appendPair(b []byte, name, value string) []byte {
	return nested(b, metricLabel, func(b []byte) []byte {
		b = appendText(b, pairName, name)
		return appendText(b, pairValue, value)
	})
}

// appendTime writes a time in microseconds as a google.protobuf.Timestamp.
func appendTime(b []byte, field protowire.Number, us int64) []byte {
	t := time.UnixMicro(us)
	return nested(b, field, func(b []byte) []byte {
		b = appendUint(b, timeSeconds, uint64(t.Unix()))
		return appendUint(b, timeNanos, uint64(t.Nanosecond()))
	})
}

func appendText(b []byte, field protowire.Number, text string) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendString(b, text)
}

func appendUint(b []byte, field protowire.Number, v uint64) []byte {
	b = protowire.AppendTag(b, field, protowire.VarintType)
	return protowire.AppendVarint(b, v)
}

func appendDouble(b []byte, field protowire.Number, v float64) []byte {
	b = protowire.AppendTag(b, field, protowire.Fixed64Type)
	return protowire.AppendFixed64(b, math.Float64bits(v))
}

// nested writes a message within a message. Its length, which comes first, is known
// last: most are short, and if it takes more than one byte the message moves on.
func nested(b []byte, field protowire.Number, message func([]byte) []byte) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	b = append(b, 0)
	from := len(b)
	b = message(b)
	length := len(b) - from
	if length < 1<<7 {
		b[from-1] = byte(length)
		return b
	}
	more := protowire.SizeVarint(uint64(length)) - 1
	b = append(b, make([]byte, more)...)
	copy(b[from+more:], b[from:from+length])
	protowire.AppendVarint(b[:from-1], uint64(length))
	return b
}
