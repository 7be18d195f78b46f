package queries

import (
	"bytes"
	"fmt"
	"testing"
	"text/tabwriter"
	"time"
)

// TestTable prints how many jobs there were in some periods of the month, and what is made of
// the counters by our dashboards, by what most people would write, and by a plain
// subtraction.
func TestTable(t *testing.T) {
	t.Parallel()
	r := theMonth(t)
	var jobs shippedQuery
	for _, q := range shippedQueries(t) {
		if q.UID != templateUID && q.Panel.Title == "Jobs" {
			jobs = q
		}
	}
	p := prometheus{engine(), r.db}
	var b bytes.Buffer
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tperiod\ttruth\tours\tsum(increase(x))\tsum(max without (instance, pod) (increase(x)))\tsum(x) - sum(x offset d)\t")
	young := func(age time.Duration, p prometheus) prometheus { return p.since(r.end.Add(-age)) }
	for _, c := range []struct {
		what        string
		p           prometheus
		period, ago time.Duration
	}{
		{"nothing special", p, 6 * time.Hour, 16 * day},
		{"over a restart", p, 2 * time.Hour, restart - time.Hour},
		{"begun in a gap of 45 min", p, day, 0},
		{"a new instance", p, 2 * time.Hour, replacement - time.Hour},
		{"two instances, then one", p, 4 * day, day},
		{"two instances from the middle on", p, 2 * day, second - day},
		{"a week", p, 7 * day, 0},
		{"thirty days", p, 30 * day, 0},
		{"from before the ledger", p, 32 * day, 0},
		{"begun in a gap of 3 h", p, 3 * day, 0},
		{"two hours old, asked for one", young(2*time.Hour, p), time.Hour, 0},
		{"two hours old, asked for a day", young(2*time.Hour, p), day, 0},
	} {
		end := r.end.Add(-c.ago)
		a := asked{prometheus: c.p, end: end, period: c.period, values: jobs.choose(nil)}
		ours := c.p.instant(t, jobs.written(t, a, time.Hour), end)
		truth, known := r.between(end.Add(-c.period), end)
		known = known && (c.p.Queryable == p.Queryable || c.period <= 2*time.Hour)
		if n, ok := ours["{}"]; ok != known || ok && n != number(truth) {
			t.Errorf("%s: %v, want %d (%v)", c.what, ours, len(truth), known)
		}
		said := func(got result) string {
			if v, ok := got["{}"]; ok {
				return fmt.Sprintf("%.2f", v)
			}
			return "nothing"
		}
		others := make([]any, 3)
		for i, query := range []string{
			`sum(increase(cijob_runs_total{job=%[2]q}[%[1]ds]))`,
			`sum(max without (instance, pod) (increase(cijob_runs_total{job=%[2]q}[%[1]ds])))`,
			`sum(cijob_runs_total{job=%[2]q}) - sum(cijob_runs_total{job=%[2]q} offset %[1]ds)`,
		} {
			others[i] = said(c.p.instant(t, fmt.Sprintf(query, int(c.period.Seconds()), scrapeOf), end))
		}
		from, _ := r.edge(end.Add(-c.period)) // whether it is known or not
		to, _ := r.edge(end)
		fmt.Fprintf(table, "%s\t%v\t%d\t%s\t%s\t%s\t%s\t\n", append([]any{c.what, c.period, to.n - from.n, said(ours)}, others...)...)
	}
	_ = table.Flush()
	t.Log("x is cijob_runs_total; the truth is from the last scrape before the begin to the last before the end\n" + b.String())
}
