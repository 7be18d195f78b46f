package queries

import (
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"ci-jobs-metrics/internal/grafanatest"
	"ci-jobs-metrics/internal/history"
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // a month of samples stays in memory anyway
	code := m.Run()
	for _, cleanup := range recorded {
		cleanup()
	}
	os.Exit(code)
}

// bounds are the receiver's default buckets, seconds.
var bounds = []float64{60, 120, 300, 600, 900, 1200}

// What happens in the month, before its end.
const (
	scrapeGap   = 24*time.Hour + 30*time.Minute // for 45 minutes Prometheus scrapes nothing
	longGap     = 3*day + 90*time.Minute        // and for 3 hours
	restart     = 10 * time.Hour
	firstStart  = 20 * day // another restart
	replacement = 12 * day // receiver-b in the place of receiver-a
	second      = 5 * day  // receiver-c beside receiver-b
	alone       = 2 * day  // receiver-b goes
)

// theMonth is the same for all tests: nothing but samples of rules is added to it.
func theMonth(t *testing.T) *recording {
	t.Helper()
	playMonth.Do(func() { monthPlayed = record(t, monthOfJobs()) })
	if monthPlayed == nil {
		t.Fatal("the month could not be played: see the test before")
	}
	return monthPlayed
}

var (
	playMonth   sync.Once
	monthPlayed *recording
)

func monthOfJobs() story {
	const days = 31
	before := func(d time.Duration) time.Duration { return days*day - d }
	return story{
		shape: history.Shape{Templates: 10, Projects: 24, Jobs: 18_000, Days: days, End: time.Date(2026, 6, 1, 6, 0, 0, 0, time.UTC), Seed: 1, Planted: true},
		targets: []*target{
			{instance: "10.0.0.1:8080", pod: "receiver-a", to: before(replacement)},
			{instance: "10.0.0.2:8080", pod: "receiver-b", from: before(replacement), to: before(alone)},
			{instance: "10.0.0.3:8080", pod: "receiver-c", from: before(second), to: before(-day), phase: time.Minute},
		},
		gaps:     []outage{{before(scrapeGap), before(scrapeGap - 45*time.Minute)}, {before(longGap), before(longGap - 3*time.Hour)}},
		stops:    []outage{{before(firstStart), before(firstStart - 4*time.Minute)}, {before(restart), before(restart - 4*time.Minute)}},
		mistakes: []outage{{before(33*time.Hour + 40*time.Minute), before(33*time.Hour + 20*time.Minute)}, {before(4*time.Hour - 10*time.Minute), before(3*time.Hour + 20*time.Minute)}},
	}
}

// An asked is how queries are asked.
type asked struct {
	prometheus
	native, classic bool // which histograms it has
	values          grafanatest.Values
	end             time.Time
	period          time.Duration
}

// TestMonth asks every query of the dashboards about a month.
func TestMonth(t *testing.T) {
	t.Parallel()
	r := theMonth(t)
	queries := shippedQueries(t)
	all := asked{prometheus: prometheus{engine(), r.db}, native: true, classic: true, end: r.end}
	over := func(period, ago time.Duration) asked {
		a := all
		a.period, a.end = period, r.end.Add(-ago)
		return a
	}
	classic := func(a asked) asked {
		a.prometheus, a.native = a.without("cijob_duration_seconds"), false
		return a
	}
	native := func(a asked) asked {
		a.prometheus, a.classic = a.without("cijob_duration_seconds_bucket", "cijob_duration_seconds_count", "cijob_duration_seconds_sum"), false
		return a
	}
	since := func(age time.Duration, a asked) asked {
		a.prometheus = a.since(r.end.Add(-age))
		return a
	}
	some := over(7*day, 0)
	some.values = grafanatest.Values{
		"template": {"docker_build", "npm_test"},
		"project":  {r.jobs[0].Project, r.jobs[1].Project, r.jobs[5].Project, r.jobs[9].Project},
		"status":   {"failed", "success"},
	}
	n := 0
	for name, a := range map[string]asked{
		"an hour":                         over(time.Hour, 0),
		"a day, begun in a gap":           over(day, 0),
		"begun in a long gap":             over(3*day, 0),
		"a week":                          over(7*day, 0),
		"thirty days":                     over(30*day, 0),
		"up to the middle of a gap":       over(2*day, day+10*time.Minute),
		"up to the middle of a long gap":  over(day, 3*day),
		"over a restart":                  over(2*time.Hour, restart-time.Hour),
		"until it is stopped":             over(6*time.Hour, restart-3*time.Minute),
		"a new instance":                  over(10*time.Minute, replacement-7*time.Minute),
		"two instances, then one":         over(4*day, alone-5*time.Minute),
		"from before the first job":       over(31*day-time.Minute, 0),
		"from before the ledger":          over(32*day, 0),
		"classic histograms":              classic(over(7*day, 0)),
		"classic histograms, thirty days": classic(over(30*day, 0)),
		"native histograms":               native(over(7*day, 0)),
		"two hours old":                   since(2*time.Hour, over(time.Hour, 0)),
		"two hours old, asked for a day":  since(2*time.Hour, over(day, 0)),
		"some of it":                      some,
	} {
		t.Run(name, func(t *testing.T) {
			for _, q := range queries {
				n += r.ask(t, q, a)
			}
		})
	}
	t.Logf("%d queries, asked %d times", len(queries), n)
}

// choose completes what the variables are set to: this scrape job, for there is another ledger, and
// one template where only one can be.
func (q shippedQuery) choose(values grafanatest.Values) grafanatest.Values {
	values = maps.Clone(values)
	if values == nil {
		values = grafanatest.Values{}
	}
	values["job"] = []string{scrapeOf}
	if q.UID == templateUID {
		values["template"] = []string{"docker_build"}
	}
	return values
}

// ask asks a query for a period, or for each of its bars, and returns how many that were.
func (r *recording) ask(t *testing.T, q shippedQuery, a asked) int {
	t.Helper()
	a.values = q.choose(a.values)
	if q.Instant {
		r.judge(t, q, a, a.instant(t, q.written(t, a, time.Hour), a.end))
		return 1
	}
	step := time.Hour // whole steps, as Grafana has them
	for _, longer := range []time.Duration{3 * time.Hour, 6 * time.Hour, 12 * time.Hour, day} {
		if a.period/step > 60 {
			step = longer
		}
	}
	from, to := a.end.Add(-a.period).Truncate(step), a.end.Truncate(step)
	bars := a.over(t, q.written(t, a, step), from, to, step)
	for at, got := range bars {
		a.end, a.period = at, step
		r.judge(t, q, a, got)
	}
	return len(bars)
}

// judge compares a result with the jobs of its period.
func (r *recording) judge(t *testing.T, q shippedQuery, a asked, got result) {
	t.Helper()
	begin := a.end.Add(-a.period)
	jobs, known := r.between(begin, a.end)
	if y, ok := a.Queryable.(young); ok {
		first, _ := r.edge(begin)
		known = known && first.at.UnixMilli() >= y.begin
	}
	if strings.Contains(q.Expr, "_bucket{") && !r.hadDurations(begin) {
		known = false // docs/grafana.md: of the first durations of all
	}
	last, _ := r.edge(a.end)
	if !strings.Contains(q.Expr, "offset") && happens(r.story.targets[0].fails, a.end.Sub(r.begin)) {
		return // what is known of a receiver's health is not that of the last scrape of jobs
	}
	var wrong []string
	switch {
	case known || !strings.Contains(q.Expr, "offset"):
		wrong = q.judge(question{asked: a, jobs: q.let(a.values, jobs), known: known, scraped: last, of: r}, got)
	case len(got) > 0:
		wrong = []string{fmt.Sprintf("%v, but nothing was scraped when it began", got)}
	}
	if len(wrong) > 0 {
		t.Errorf("%v at %v over %v: %s", q, a.end, a.period, strings.Join(wrong[:min(len(wrong), 5)], "; "))
	}
}

// TestTopAndOthers compares the ten with the most jobs, and all others, with the jobs.
func TestTopAndOthers(t *testing.T) {
	t.Parallel()
	r := theMonth(t)
	p := prometheus{engine(), r.db}
	const step, bars = 12 * time.Hour, 20
	to := r.end.Truncate(step)
	from := to.Add(-bars * step)
	asked, pairs := asked{prometheus: p, end: to, period: bars * step}, map[string][2]map[time.Time]result{}
	for _, q := range shippedQueries(t) {
		label, ok := map[string]string{"Jobs by template": "template", "Jobs by project": "project", "Jobs by version": "version"}[q.Panel.Title]
		if !ok {
			continue
		}
		a := asked
		a.values = q.choose(nil)
		got := p.over(t, q.written(t, a, step), from.Add(step), to, step)
		pair := pairs[q.UID+label]
		pair[int(q.RefID[0]-'A')] = got
		pairs[q.UID+label] = pair
		if q.RefID != "A" {
			continue
		}
		by := []string{label}
		if label == "version" && q.UID != templateUID {
			by = []string{"template", "version"}
		}
		jobs, _ := r.between(from, to)
		all := each(q.let(a.values, jobs), by, number)
		shown := result{}
		for _, bar := range got {
			for key, n := range bar {
				shown[key] += n
			}
		}
		maps.DeleteFunc(shown, func(_ string, n float64) bool { return n == 0 })
		if wrong := top(10, number, anyJob, by...)(question{jobs: q.let(a.values, jobs)}, ranked(shown, all)); len(wrong) > 0 {
			t.Errorf("%v: %s", q, strings.Join(wrong, "; "))
		}
	}
	for name, pair := range pairs {
		if strings.HasSuffix(name, "version") {
			continue // has no others
		}
		for at, first := range pair[0] {
			jobs, known := r.between(at.Add(-step), at)
			if !known {
				continue
			}
			if strings.HasPrefix(name, templateUID) {
				jobs = chosen(grafanatest.Values{"template": {"docker_build"}}, jobs, "template")
			}
			n := pair[1][at]["{}"]
			for _, v := range first {
				n += v
			}
			if n != number(jobs) {
				t.Errorf("%s at %v: %v with the others, want %d", name, at, n, len(jobs))
			}
		}
	}
	if len(pairs) != 4 {
		t.Errorf("%d charts of ten and others", len(pairs))
	}
}

// ranked has the jobs of the whole period for what was shown: bars with an edge in a gap are missing.
func ranked(shown result, all truth) result {
	whole := result{}
	for key := range shown {
		whole[key] = all.values[key]
	}
	return whole
}
