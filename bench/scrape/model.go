package main

import (
	"slices"
	"strconv"
	"strings"
)

// A model counts the jobs in the plainest way. What the subjects expose is checked
// against it, and it is where a client of a gateway has the values it pushes from.
type model struct {
	shape
	counts     []uint64
	histograms []histogram // three of a name beside each other
}

type histogram struct {
	buckets [len(bounds) + 1]uint64 // not added up; the last is for what is beyond all bounds
	count   uint64
	sum     int // seconds
}

func newModel(s shape) *model {
	return &model{s, make([]uint64, s.counters), make([]histogram, s.names*len(statuses))}
}

// apply counts jobs, and returns the names they have.
func (m *model) apply(jobs []job) (touched []int) {
	seen := make([]bool, m.names)
	for _, j := range jobs {
		n := m.nameOf(j.counter)
		seen[n] = true
		m.counts[j.counter]++
		if j.seconds > 0 {
			h := &m.histograms[n*len(statuses)+m.statusOf(j.counter)]
			bucket, _ := slices.BinarySearch(bounds[:], j.seconds)
			h.buckets[bucket]++
			h.count++
			h.sum += j.seconds
		}
	}
	for n, yes := range seen {
		if yes {
			touched = append(touched, n)
		}
	}
	return touched
}

// appendText writes the families of names in text format, without what was never
// counted.
func (m *model) appendText(to []byte, names []int) []byte {
	for _, n := range names {
		to = m.appendCounters(to, n)
		to = m.appendHistograms(to, n)
	}
	return to
}

func (m *model) appendCounters(to []byte, n int) []byte {
	metric := "ci_" + name(n) + "_total"
	to = appendHead(to, metric, help(n, "The number of ", " used"), "counter")
	for i := n; i < m.counters; i += m.names {
		if m.counts[i] > 0 {
			to = append(to, metric...)
			to = append(to, `{project="`...)
			to = append(to, m.project(i)...)
			to = append(to, `",status="`...)
			to = append(to, statuses[m.statusOf(i)]...)
			to = append(to, `"} `...)
			to = strconv.AppendUint(to, m.counts[i], 10)
			to = append(to, '\n')
		}
	}
	return to
}

func (m *model) appendHistograms(to []byte, n int) []byte {
	metric := "ci_" + name(n) + "_duration"
	headed := false
	for status, h := range m.histograms[n*len(statuses):][:len(statuses)] {
		if h.count == 0 {
			continue
		}
		if !headed {
			to = appendHead(to, metric, help(n, "The duration of the ", " usage"), "histogram")
			headed = true
		}
		labels := `{status="` + statuses[status] + `"`
		var upTo uint64
		for i, count := range h.buckets {
			le := "+Inf"
			if i < len(bounds) {
				le = strconv.Itoa(bounds[i])
			}
			upTo += count
			to = append(to, metric+"_bucket"+labels+`,le="`+le+`"} `...)
			to = append(strconv.AppendUint(to, upTo, 10), '\n')
		}
		to = append(to, metric+"_sum"+labels+"} "+strconv.Itoa(h.sum)+"\n"...)
		to = append(to, metric+"_count"+labels+"} "+strconv.FormatUint(h.count, 10)+"\n"...)
	}
	return to
}

func appendHead(to []byte, metric, help, kind string) []byte {
	return append(to, "# HELP "+metric+" "+help+"\n# TYPE "+metric+" "+kind+"\n"...)
}

// help is what the receiver says of a template, so that all subjects say the same.
func help(n int, before, after string) string {
	return before + strings.ReplaceAll(name(n), "_", " ") + after
}

// sums is what a body must come to.
func (m *model) sums() sums {
	s := sums{lines: m.lines}
	for _, n := range m.counts {
		s.counted += float64(n)
	}
	for i := range m.histograms {
		h := &m.histograms[i]
		s.observed += float64(h.count)
		s.seconds += float64(h.sum)
		var upTo uint64
		for _, n := range h.buckets {
			upTo += n
			s.buckets += float64(upTo)
		}
	}
	return s
}
