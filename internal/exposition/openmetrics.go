package exposition

import "strings"

// In OpenMetrics a counter's family is declared without the _total of its
// samples, and no name that a family stands for, its own or a sample's, may be
// one that another family stands for. A counter ci_x stands for ci_x, ci_x_total
// and ci_x_created; a histogram h for h, h_bucket, h_sum, h_count and h_created;
// a family of unknown type for its name alone. (This is the reading of the
// specification's reference parser.)
//
// A counter whose names are not all free is therefore declared as unknown under
// its full name. That keeps the sample as it is, and full names are always free:
// they are all different, and none of a histogram's names ends in _total.
//
// Each counter is judged by its own name and the full names that are there, not
// by how other counters were judged, so no order has to be found. Beside x, the
// counter of x_duration is unknown, for ci_x_duration is a histogram; next to
// that of x_duration, which has the sample ci_x_duration_total whatever its
// type, the counter of x_duration_total is unknown; and so on down the chain.

// openMetrics returns the name and type under which OpenMetrics declares f.
func (d *document) openMetrics(f *family) (name, typ string) {
	if f.kind == histogram {
		return f.metric, "histogram"
	}
	stem := strings.TrimSuffix(f.metric, "_total")
	if d.clashes(stem) {
		return f.metric, "unknown"
	}
	return stem, "counter"
}

// clashes reports whether a counter can't be declared as stem.
func (d *document) clashes(stem string) bool {
	if d.byMetric[stem] != nil { // a histogram, or another counter's sample
		return true
	}
	for _, suffix := range histogramSuffixes {
		of, ok := strings.CutSuffix(stem, suffix)
		if !ok {
			continue
		}
		if f := d.byMetric[of]; f != nil && f.kind == histogram {
			return true
		}
		if suffix == "_created" && d.byMetric[of+"_total"] != nil {
			return true
		}
	}
	return false
}

var histogramSuffixes = []string{"_bucket", "_sum", "_count", "_created"}

// disturbs returns the metrics of the counters that clashes may judge otherwise now
// that f is there.
func (f *family) disturbs() []string {
	disturbed := []string{f.metric + "_total"}
	if f.kind == histogram {
		for _, suffix := range histogramSuffixes {
			disturbed = append(disturbed, f.metric+suffix+"_total")
		}
		return disturbed
	}
	return append(disturbed, strings.TrimSuffix(f.metric, "_total")+"_created_total")
}
