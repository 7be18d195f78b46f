package exposition

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/totals"
)

// A family is a metric with its series, ready to be written in any format.
type family struct {
	metric string // the full name; of a counter with its _total
	help   string // one line, not escaped
	kind   kind
	labels []string // names, as many of key's fields as the family shows
	series []series
}

type kind int

const (
	counter kind = iota
	histogram
)

// A key is the values of a series' labels, in the order in which they are
// written and sorted. Of a label that its family doesn't have it is empty.
type key struct {
	template, project string
	status            job.Status
}

// A series is one counter or one histogram.
type series struct {
	key
	count   uint64
	sum     int64    // of a histogram: microseconds
	buckets []uint64 // of a histogram: per bound, not added up, and one more for the rest
}

// collect arranges a snapshot as families: sorted by the name of their metric,
// their series by key, each label set once.
func (e *Exposition) collect(s *totals.Snapshot) []*family {
	c := collector{families: map[string]*family{}, namings: map[string]naming{}}
	if e.families != Labelled {
		c.named(s)
	}
	if e.families != Named {
		c.labelled(s)
	}
	sorted := slices.SortedFunc(maps.Values(c.families), func(a, b *family) int {
		return strings.Compare(a.metric, b.metric)
	})
	for _, f := range sorted {
		f.arrange()
	}
	return sorted
}

// A collector hands each entry of a snapshot to the family it belongs to.
type collector struct {
	families map[string]*family // by metric
	namings  map[string]naming  // by template
}

func (c *collector) named(s *totals.Snapshot) {
	for i := range s.Runs {
		r := &s.Runs[i]
		n := c.name(r.Template)
		f := c.families[n.counter]
		if f == nil {
			f = c.add(family{metric: n.counter, kind: counter, labels: []string{"project", "status"},
				help: "The number of " + n.words + " used"})
		}
		f.run(key{project: r.Project, status: r.Status}, r)
	}
	for i := range s.Durations {
		d := &s.Durations[i]
		n := c.name(d.Template)
		f := c.families[n.histogram]
		if f == nil {
			f = c.add(family{metric: n.histogram, kind: histogram, labels: []string{"status"},
				help: "The duration of the " + n.words + " usage"})
		}
		f.duration(key{status: d.Status}, d)
	}
}

func (c *collector) labelled(s *totals.Snapshot) {
	if len(s.Runs) > 0 {
		f := c.add(family{metric: "cijob_runs_total", kind: counter,
			labels: []string{"template", "project", "status"},
			help:   "Finished CI jobs, by the template they ran, their project and how they ended."})
		for i := range s.Runs {
			r := &s.Runs[i]
			f.run(key{template: r.Template, project: r.Project, status: r.Status}, r)
		}
	}
	if len(s.Durations) > 0 {
		f := c.add(family{metric: "cijob_duration_seconds", kind: histogram,
			labels: []string{"template", "status"},
			help:   "How long finished CI jobs took, by the template they ran and how they ended."})
		for i := range s.Durations {
			d := &s.Durations[i]
			f.duration(key{template: d.Template, status: d.Status}, d)
		}
	}
}

func (c *collector) name(template string) naming {
	n, ok := c.namings[template]
	if !ok {
		n = name(template)
		c.namings[template] = n
	}
	return n
}

func (c *collector) add(f family) *family {
	c.families[f.metric] = &f
	return &f
}

func (f *family) run(k key, r *totals.Run) {
	f.series = append(f.series, series{key: k, count: r.Count})
}

func (f *family) duration(k key, d *totals.Duration) {
	f.series = append(f.series, series{key: k, count: d.Count, sum: d.Sum, buckets: d.Buckets})
}

// arrange sorts the series and adds up those of the same key, which come from
// templates that share a naming.
func (f *family) arrange() {
	slices.SortFunc(f.series, func(a, b series) int { return a.compare(b.key) })
	distinct := f.series[:0]
	for _, s := range f.series {
		if last := len(distinct) - 1; last >= 0 && distinct[last].key == s.key {
			distinct[last].add(s)
		} else {
			distinct = append(distinct, s)
		}
	}
	f.series = distinct
}

// add adds another series up into s. Like the totals, a sum stays at its largest
// value rather than wrap. The snapshot's buckets are not written to.
func (s *series) add(o series) {
	s.count += o.count
	if s.sum += o.sum; s.sum < 0 {
		s.sum = math.MaxInt64
	}
	s.buckets = slices.Clone(s.buckets)
	for i, n := range o.buckets {
		s.buckets[i] += n
	}
}

// compare orders keys by template, project, status as in job.Statuses.
func (k key) compare(o key) int {
	return cmp.Or(
		strings.Compare(k.template, o.template),
		strings.Compare(k.project, o.project),
		cmp.Compare(k.status.Rank(), o.status.Rank()),
		cmp.Compare(k.status, o.status)) // statuses of a later version have one rank
}
