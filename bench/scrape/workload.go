package main

import (
	"fmt"
	"math/rand/v2"
	"strconv"
)

// A shape says which series there are, as many lines as asked for: each template has
// a histogram for each status, and the rest are counters. At a million lines that is
// 973 000 counters and 3 000 histograms of 9 lines.
type shape struct {
	lines    int // of samples, in all
	names    int
	counters int
}

// The limits of a shape: below, not every histogram would be observed by the jobs
// that fill it; above, a receiver refuses series.
const (
	minLines = 100
	maxLines = 2_000_000
)

const (
	linesPerName    = 1000
	linesPerHistory = 9 // six buckets, +Inf, sum, count
)

var (
	statuses = [...]string{"success", "failed", "canceled"}
	bounds   = [...]int{60, 120, 300, 600, 900, 1200} // seconds, the receiver's default
)

func shapeOf(lines int) shape {
	names := max(1, lines/linesPerName)
	return shape{lines, names, lines - names*len(statuses)*linesPerHistory}
}

// A job adds one to a counter and, if it took any time, one to a histogram.
type job struct {
	counter int // 0 to counters-1
	seconds int // 0: nobody said
}

func (s shape) nameOf(counter int) int   { return counter % s.names }
func (s shape) statusOf(counter int) int { return counter / s.names % len(statuses) }

func (s shape) project(counter int) string {
	p := counter / s.names / len(statuses)
	return fmt.Sprintf("group-%d/subgroup/project-%04d", p%10, p)
}

func name(n int) string { return fmt.Sprintf("template_%04d", n) }

// seconds is a duration that falls into any bucket.
func seconds(i int) int { return 1 + i*7919%1999 }

// fill is one job for each counter. A third has a duration, among them one for each
// histogram.
func (s shape) fill() []job {
	jobs := make([]job, s.counters)
	for i := range jobs {
		jobs[i].counter = i
		if i/s.names/len(statuses)%3 == 0 {
			jobs[i].seconds = seconds(i)
		}
	}
	return jobs
}

// A change is what happens between two scrapes.
type change struct {
	name string
	jobs func(shape, *rand.Rand) []job
}

var changes = []change{
	{"none", func(shape, *rand.Rand) []job { return nil }},
	{"500 jobs", func(s shape, random *rand.Rand) []job {
		jobs := make([]job, 500)
		for i := range jobs {
			jobs[i].counter = random.IntN(s.counters)
		}
		return timed(jobs)
	}},
	{"1 %", func(s shape, random *rand.Rand) []job {
		jobs := make([]job, max(1, s.counters/100)) // each another counter
		for i, counter := range random.Perm(s.counters)[:len(jobs)] {
			jobs[i].counter = counter
		}
		return timed(jobs)
	}},
}

// timed gives a third of the jobs a duration.
func timed(jobs []job) []job {
	for i := 0; i < len(jobs); i += 3 {
		jobs[i].seconds = seconds(jobs[i].counter + i)
	}
	return jobs
}

// appendJob writes a line as POST /steps takes it.
func (s shape) appendJob(to []byte, j job) []byte {
	to = append(to, `{"name":"`...)
	to = append(to, name(s.nameOf(j.counter))...)
	to = append(to, `","project":"`...)
	to = append(to, s.project(j.counter)...)
	to = append(to, `","status":"`...)
	to = append(to, statuses[s.statusOf(j.counter)]...)
	to = append(to, '"')
	if j.seconds > 0 {
		to = append(to, `,"duration":`...)
		to = strconv.AppendInt(to, int64(j.seconds), 10)
	}
	return append(to, "}\n"...)
}
