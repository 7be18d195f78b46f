package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"

	"github.com/klauspost/compress/gzip"
)

// The sums of a body are what is compared to say that two subjects did the same
// work: how many lines of samples there are, and what their values add up to. All
// values are whole numbers below 2^53, so nothing is lost in adding them.
type sums struct {
	lines    int
	counted  float64 // of all counters
	observed float64 // of the _count of all histograms
	seconds  float64 // of their _sum
	buckets  float64 // of all their buckets
}

// sumUp reads a body, compressed or not. What is not a sample of a job's metric is passed over: comments,
// and the gateways' metrics of their own.
func sumUp(body io.Reader, compressed bool) (s sums, err error) {
	if compressed {
		if body, err = gzip.NewReader(body); err != nil {
			return s, err
		}
	}
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 64<<10), 1<<20)
	for lines.Scan() {
		line := lines.Bytes()
		if !bytes.HasPrefix(line, []byte("ci_")) {
			continue
		}
		metric, rest, _ := bytes.Cut(line, []byte("{"))
		value, err := strconv.ParseFloat(string(bytes.TrimSpace(rest[bytes.LastIndexByte(rest, '}')+1:])), 64)
		if err != nil {
			return s, fmt.Errorf("line %q: %w", line, err)
		}
		s.lines++
		switch kind := metric[bytes.LastIndexByte(metric, '_'):]; string(kind) {
		case "_total":
			s.counted += value
		case "_count":
			s.observed += value
		case "_sum":
			s.seconds += value
		case "_bucket":
			s.buckets += value
		default:
			return s, fmt.Errorf("what is %q?", line)
		}
	}
	return s, lines.Err()
}
