package exposition

import (
	"slices"
	"strings"
)

// A nameOf is what leads to a family in the named view; in the labelled one there is
// one per kind.
type nameOf struct {
	template uint32
	kind     kind
	view     view
}

// familyOf finds the family in which a view shows an entry, a new one if need be.
func (d *document) familyOf(v view, k kind, template uint32) *family {
	if v == labelledView {
		template = 0
	}
	of := nameOf{template, k, v}
	f := d.ofName[of]
	if f == nil {
		f = d.begin(d.describe(of))
		d.ofName[of] = f
	}
	return f
}

func (d *document) describe(of nameOf) family {
	if of.view == labelledView && of.kind == counter {
		return family{metric: "cijob_runs_total", labelled: true,
			help: "Finished CI jobs, by template, project and status."}
	}
	if of.view == labelledView {
		return family{metric: "cijob_duration_seconds", kind: histogram, labelled: true,
			help: "Duration of finished CI jobs in seconds, by template and status."}
	}
	n := name(d.symbols.list[of.template].text)
	if of.kind == counter {
		return family{metric: n.counter, help: "The number of " + n.words + " used"}
	}
	return family{metric: n.histogram, kind: histogram, help: "The duration of the " + n.words + " usage"}
}

// begin adds a family, unless another template's name has led to it.
func (d *document) begin(f family) *family {
	if there := d.byMetric[f.metric]; there != nil {
		return there
	}
	f.number = len(d.families)
	d.families = append(d.families, &f)
	d.byMetric[f.metric] = &f
	for _, metric := range f.disturbs() {
		if other := d.byMetric[metric]; other != nil {
			other.headChanged()
		}
	}
	return &f
}

func (f *family) headChanged() {
	for _, p := range f.heads {
		if p != nil {
			p.stale = true
		}
	}
}

// sortFamilies makes good for begin, which appends: thousands may begin at once.
func (d *document) sortFamilies() {
	if len(d.sorted) != len(d.families) {
		d.sorted = append(d.sorted[:0], d.families...)
		slices.SortFunc(d.sorted, func(a, b *family) int { return strings.Compare(a.metric, b.metric) })
	}
}
