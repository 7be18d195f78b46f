package main

import (
	"fmt"
	"slices"
	"strings"
)

// The counters are durable: they never fall, whatever restarts. So what happened in a
// period is the counter at its end minus the counter at its beginning, exactly; nothing is
// extrapolated, and the first job of a series is not lost. docs/grafana.md explains each
// piece of the formula that the functions below write.
//
// A query is text that people read in Grafana, so it is laid out: every function returns
// lines without an indent, and indent moves what is put into something else.

// A period is what a value is about, in the variables of Grafana.
type period struct {
	length  string // for offset
	seconds string // the same as a number
	at      string // put behind each selector: which moment is the end
}

var (
	// whole is the period of the time picker: for instant queries, which Grafana asks for
	// its end.
	whole = period{length: "$__range", seconds: "$__range_s"}
	// step is a bar, from the one before up to it: for range queries.
	step = period{length: "$__interval", seconds: "$__interval_ms / 1000"}
	// fixed is whole within a range query, the same for all its bars: to rank by.
	fixed = period{length: "$__range", seconds: "$__range_s", at: " @ end()"}
)

// begin and end are what is put behind a selector to look at the period's edges.
func (p period) end() string   { return p.at }
func (p period) begin() string { return p.at + " offset " + p.length }

// A variable's value is put into a matcher as a regular expression within backticks, where
// PromQL escapes nothing. Grafana's own escaping (without :regex) leaves double quotes as
// they are unless its feature prometheusSpecialCharsInLabelValues is on, and then leaves
// single ones: between neither kind of quotes is every name safe. Here all are but
// one with a backtick in it, whose query is then refused. For All it is the variable's allValue
// as it stands.
func matches(label string) string { return fmt.Sprintf("%s=~`${%s:regex}`", label, label) }

// ended chooses by how jobs ended.
func ended(statuses ...string) string {
	if len(statuses) == 1 {
		return fmt.Sprintf("status=%q", statuses[0])
	}
	return fmt.Sprintf("status=~%q", strings.Join(statuses, "|"))
}

const (
	passed   = "success"
	failed   = "failed"
	timedout = "timedout"

	runs     = "cijob_runs_total"
	seconds  = "cijob_duration_seconds"
	created  = "cijob_ledger_created_timestamp_seconds"
	scraped  = "[1h]" // a scrape counts for an edge if it is at most as old
	received = "job"  // Prometheus' label of a scrape job: one ledger each
)

// A choice is which series are meant. The durations have no label project.
type choice []string

func (c choice) with(matchers ...string) choice {
	return append(append(choice{}, c...), matchers...)
}

// of is the metric of the chosen series, as it was at the last scrape before a moment.
func (c choice) of(metric, at string) string { return c.over("last_over_time", metric, at) }

// over is a function of what was scraped within the hour before a moment.
func (c choice) over(function, metric, at string) string {
	return call(function, metric+"{"+strings.Join(c, ", ")+"}"+scraped+at)
}

// newest takes together what several receivers of one ledger show, or a new pod beside the
// old one: the same counters, so the highest is the newest.
func newest(values ...string) string {
	return call("max without (instance, pod)", strings.Join(values, "\nor\n"))
}

// made is when the ledger was made that was there within the hour before a moment: if it was another
// one for a part of it, or receivers of several ledgers have one scrape job, the first or the last of them.
func made(which, at string) string {
	return call(which+" by ("+received+")", choice{matches(received)}.over(which+"_over_time", created, at))
}

// difference is what was added to counters in a period, by the labels. A series that was not
// there at its beginning was 0; so were all if there was another ledger. After a restored backup or
// `receiver forget` a counter may be lower: that is no negative count.
func difference(p period, labels []string, at func(moment string) string) string {
	return call("clamp_min",
		sum(labels,
			at(p.end()),
			"or",
			"# less those when the period began, unless another ledger was there then",
			call("label_replace",
				lines("- "+at(p.begin()), call("and on ("+received+")", same(p)))+",",
				`"edge", "begin", "", ""`))+",",
		"0")
}

// same says that the ledger at a period's end is that of its beginning, and no other was there within the
// hour before either.
func same(p period) string {
	return lines(made("min", p.end()), "==", made("max", p.end()), "==", made("min", p.begin()), "==", made("max", p.begin()))
}

// known leaves a value out where nothing was scraped at the beginning of the period, rather than
// take all that ever was for it; but not if the ledger was made since, for then all is of
// the period. For the hour after a ledger took the place of another one nothing is said either: what is
// found then is of both.
func known(p period, more ...string) string { return only("on ("+received+")", p, more...) }

// only leaves out by what the labels say.
func only(on string, p period, more ...string) string {
	begun := same(p)
	for _, m := range more {
		begun = lines(begun, "and on ("+received+")", m)
	}
	return call("and "+on,
		"# only if it was scraped when the period began, or its ledger was made since",
		begun,
		"or",
		made("min", p.end()),
		"==",
		made("max", p.end())+" > time() - "+p.seconds)
}

// count is the number of jobs in a period, for each scrape job, template, project, status and the labels
// that are added.
func count(p period, c choice, added ...string) string {
	labels := append([]string{received, "template", "project", "status"}, added...)
	all := difference(p, labels, func(moment string) string { return newest(c.of(runs, moment)) })
	if p.at != "" { // to rank by: time() is not the end there
		return all
	}
	return lines(all, known(p))
}

// durations is the sum of their durations in seconds, for each scrape job, template and status, from classic
// histograms or native ones.
func durations(p period, c choice) string {
	return lines(
		difference(p, []string{received, "template", "status"}, func(moment string) string {
			return newest(c.of(seconds+"_sum", moment), call("histogram_sum", c.of(seconds, moment)))
		}),
		known(p))
}

// buckets is the number of durations up to each bound of the classic buckets, likewise. They
// are known if any classic histogram of the ledger was scraped at the beginning: a template that
// is new has none of its own.
func buckets(p period, c choice) string {
	return lines(
		difference(p, []string{received, "template", "status", "le"}, func(moment string) string {
			return newest(c.of(seconds+"_bucket", moment))
		}),
		known(p, call("group by ("+received+")", choice{matches(received)}.of(seconds+"_count", p.begin()))))
}

// native is the histogram of the durations in a period, from native ones. There is no highest of
// histograms: the receiver is taken whose histograms have counted most.
func native(p period, c choice) string {
	at := func(moment string) string {
		counted := call("sum by ("+received+", instance, pod)", call("histogram_count", c.of(seconds, moment)))
		return call("sum by ("+received+", template, status)",
			c.of(seconds, moment),
			"and on ("+received+", instance, pod)",
			call("topk by ("+received+")", "1,", counted))
	}
	return lines(
		at(p.end()),
		"-",
		call("",
			"# those when the period began, unless another ledger was there then",
			at(p.begin()),
			call("and on ("+received+")", same(p)),
			"or",
			"# none, if it was not there yet",
			"0 * "+at(p.end())),
		known(p, call("group by ("+received+")", choice{matches(received)}.of(seconds, p.begin()))))
}

// quantile is that of durations: from native histograms where Prometheus has them, else from classic
// buckets. What had no duration has none.
func quantile(q string, p period, c choice, by ...string) string {
	return lines(
		call("histogram_quantile", q+",", sum(by, native(p, c)))+" >= 0",
		"or",
		call("histogram_quantile", q+",", sum(append(slices.Clone(by), "le"), buckets(p, c)))+" >= 0")
}

// rate is the success rate: of those that passed or did not, the part that passed. Of 0 none there
// is none.
func rate(p period, c choice, by ...string) string { return rateOf(p, c, nil, by...) }

// rateOf is likewise for counts that have added labels.
func rateOf(p period, c choice, added []string, by ...string) string {
	// What only failed has no series that passed: that is 0.
	success := count(p, c.with(ended(passed)), added...)
	if len(by) == 0 {
		success = group(lines(sum(by, success), "or", "vector(0)"))
	} else {
		success = sum(by, success, "or", "0 * "+group(count(p, c.with(ended(failed, timedout)), added...)))
	}
	return lines(success, "/", sum(by, count(p, c.with(ended(passed, failed, timedout)), added...)), ">= 0")
}

// orZero is 0 where nothing was counted but would have been.
func orZero(p period, total string) string {
	return lines(total, "or", "vector(0)", only("on ()", p))
}

// used is how many values of a label had a job, for each of others.
func used(label string, by []string, counts string) string {
	return sum(by, sum(append(append([]string{}, by...), label), counts)+" > bool 0")
}

func sum(by []string, text ...string) string {
	if len(by) == 0 {
		return call("sum", text...)
	}
	return call("sum by ("+strings.Join(by, ", ")+")", text...)
}

func hours(text string) string { return text + " / 3600" }

func group(text string) string { return lines("(", indent(text), ")") }

// wide is how much is too long for a line.
const wide = 110

// call writes a function, or an aggregation with its labels, around text.
func call(function string, text ...string) string {
	if strings.HasSuffix(function, ")") {
		function += " "
	}
	inner := lines(text...)
	if !strings.Contains(inner, "\n") && len(function)+len(inner) < wide {
		return function + "(" + inner + ")"
	}
	return lines(function+"(", indent(inner), ")")
}

func lines(text ...string) string { return strings.Join(text, "\n") }

func indent(text string) string { return "  " + strings.ReplaceAll(text, "\n", "\n  ") }
