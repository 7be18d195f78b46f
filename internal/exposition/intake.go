package exposition

import (
	"cmp"
	"slices"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/totals"
)

// A document is the jobs as they were last told. It is the [totals.Visitor]: while
// jobs wait it only notes what came, and settle, for which nobody waits but scrapers,
// puts that where it belongs.
type document struct {
	named, labelled bool // the views that are shown

	settings  totals.Settings
	bounds    [2][]string // le of each bucket as text and OpenMetrics write it; the last is +Inf
	symbols   symbols
	labelSets labelSets

	runs          paged[run]
	durations     []*duration
	distributions []distribution

	families []*family // by birth
	sorted   []*family // by metric
	byMetric map[string]*family
	ofName   map[nameOf]*family
	chunks   []*chunk
	chunkOf  paged[uint32] // by line

	bornRuns, bornDurations paged[birth]
	movedRuns               []move
	movedDurations          []int
}

// A view is one of the two ways to show an entry of the totals.
type view int

const (
	namedView view = iota
	labelledView
	views
)

// A run is a counter of the totals. Of a view that is not shown the line is 0.
type run struct {
	count uint64
	lines [views]uint32
}

// A birth is an entry that has no lines yet. There may be a million at once.
type birth struct {
	key
	number  uint32
	family  uint32
	created int64 // microseconds of Unix time
}

type move struct {
	number int
	count  uint64
}

// Reset implements totals.Visitor.
func (d *document) Reset(s totals.Settings) {
	*d = document{
		named: d.named, labelled: d.labelled,
		settings: s,
		symbols:  newSymbols(),
		byMetric: map[string]*family{},
		ofName:   map[nameOf]*family{},
		bounds:   [2][]string{leTexts(s.Bounds, Text), leTexts(s.Bounds, OpenMetrics)},
	}
	d.labelSets = newLabelSets(s.Labels)
}

// Run implements totals.Visitor.
func (d *document) Run(number int, r totals.Run) {
	if number < d.runs.len {
		d.movedRuns = append(d.movedRuns, move{number, r.Count})
		return
	}
	d.runs.add(run{count: r.Count})
	d.bornRuns.add(birth{
		key:     d.key(r.Template, r.Project, r.Status, r.Labels),
		number:  uint32(number),
		created: r.Created.UnixMicro(),
	})
}

// Duration implements totals.Visitor.
func (d *document) Duration(number int, h *totals.Duration) {
	if number < len(d.durations) {
		moved := d.durations[number]
		for _, n := range moved.shownIn {
			d.distributions[n].move(&moved.Duration, h)
		}
		copyDuration(&moved.Duration, h)
		d.movedDurations = append(d.movedDurations, number)
		return
	}
	added := &duration{}
	copyDuration(&added.Duration, h)
	d.durations = append(d.durations, added)
	d.bornDurations.add(birth{
		key:     d.key(h.Template, "", h.Status, h.Labels),
		number:  uint32(number),
		created: h.Created.UnixMicro(),
	})
}

func (d *document) key(template, project string, status job.Status, labels string) key {
	return key{
		template: d.symbols.number(template),
		project:  d.symbols.number(project),
		status:   d.symbols.status(status),
		labels:   d.labelSets.number(labels),
	}
}

// settle brings the lines up to what was noted.
func (d *document) settle() {
	d.settleBirths()
	for _, m := range d.movedRuns {
		d.moveRun(m)
	}
	for _, number := range d.movedDurations {
		d.moveDuration(number)
	}
	d.movedRuns, d.movedDurations = emptied(d.movedRuns), emptied(d.movedDurations)
	d.sortFamilies()
}

// emptied keeps the memory of a list for the next scrape unless it is large.
func emptied[T any](list []T) []T {
	if cap(list) > 1<<15 {
		return nil
	}
	return list[:0]
}

func (d *document) shows(v view) bool {
	return v == namedView && d.named || v == labelledView && d.labelled
}

// settleBirths gives the new entries their lines. They are sorted first, so that
// neighbours find their places next to each other, and a million fills its chunks.
func (d *document) settleBirths() {
	runs, durations := d.bornRuns.take(), d.bornDurations.take()
	for _, s := range []*symbols{&d.symbols, &d.labelSets.symbols} {
		if len(runs)+len(durations) > len(s.list)/8 { // else ranking costs more than it saves
			s.rank()
		}
	}
	// The named view comes last, because it takes from the keys what it doesn't show.
	if d.labelled {
		d.settleRuns(labelledView, runs)
		d.settleDurations(labelledView, durations)
	}
	if d.named {
		d.settleRuns(namedView, runs)
		d.settleDurations(namedView, durations)
	}
}

func (d *document) settleRuns(v view, births []birth) {
	d.sortBirths(v, counter, births)
	for i := range births {
		b := &births[i]
		r := d.runs.at(b.number)
		c, at, born := d.line(d.families[b.family], b.key)
		l := &c.lines[at]
		l.value += r.count
		l.begin(b.created, born)
		c.changed()
		r.lines[v] = l.id
	}
}

func (d *document) settleDurations(v view, births []birth) {
	d.sortBirths(v, histogram, births)
	for i := range births {
		b := &births[i]
		c, at, born := d.line(d.families[b.family], b.key)
		l := &c.lines[at]
		if born {
			l.value = uint64(len(d.distributions))
			d.distributions = append(d.distributions, distribution{})
		}
		d.distributions[l.value].add(d.durations, int(b.number))
		l.begin(b.created, born)
		c.changed()
		of := d.durations[b.number]
		of.lines[v] = l.id
		of.shownIn = append(of.shownIn, uint32(l.value))
	}
}

func (l *line) begin(created int64, born bool) {
	if born || created < l.created {
		l.created = created
	}
}

func (d *document) sortBirths(v view, k kind, births []birth) {
	for i := range births {
		b := &births[i]
		b.family = uint32(d.familyOf(v, k, b.template).number)
		if v == namedView {
			b.template, b.labels = 0, 0
		}
	}
	slices.SortFunc(births, func(a, b birth) int {
		if a.family != b.family {
			return cmp.Compare(a.family, b.family)
		}
		return d.compare(a.key, b.key)
	})
}

func (d *document) moveRun(m move) {
	r := d.runs.at(uint32(m.number))
	by := m.count - r.count
	r.count = m.count
	for v := range views {
		if d.shows(v) {
			c, l := d.whereIs(r.lines[v])
			l.value += by
			c.changed()
		}
	}
}

func (d *document) moveDuration(number int) {
	for v := range views {
		if d.shows(v) {
			c, _ := d.whereIs(d.durations[number].lines[v])
			c.changed()
		}
	}
}
