package queries

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"

	"ci-jobs-metrics/internal/history"
	"ci-jobs-metrics/internal/job"
)

const (
	// evaluation is how often rules are evaluated here: seldomer than they would be, for a month is
	// long. An hour has a whole number of them.
	evaluation = time.Hour
	ruleFiles  = "../../../deploy/prometheus/rules/*.yml"
)

// recordedRules has for each series that our rules record what it is of the jobs of a period,
// which ends with the evaluation. Those that are about no period are of all jobs, since the ledger was made.
var recordedRules = map[string]struct {
	period time.Duration
	ago    time.Duration // of the period's end
	answer answer
}{
	"job:cijob_ledger_created_timestamp_seconds:max": {0, 0, each1(func(q question) float64 { return float64(q.scraped.made.Unix()) })},

	"job_template_status:cijob_runs_total:sum":                 {0, 0, counted(number, anyJob, "job", "template", "status")},
	"job:cijob_runs_total:sum":                                 {0, 0, counted(number, anyJob, "job")},
	"job_template_status:cijob_duration_seconds_sum:sum":       {0, 0, counted(seconds, anyJob, "job", "template", "status")},
	"job_template_status:cijob_duration_seconds_count:sum":     {0, 0, counted(number, timed, "job", "template", "status")},
	"job_template_status_le:cijob_duration_seconds_bucket:sum": {0, 0, cumulated},
	"job_template_status:cijob_duration_seconds:sum":           {0, 0, nil}, // a histogram: its quantiles are judged

	"job:cijob_ledger:unchanged1d":                                    {day, 0, each1(unchanged)},
	"job_template_status:cijob_runs:increase1d":                       {day, 0, counted(number, anyJob, "job", "template", "status")},
	"job:cijob_runs:increase1d":                                       {day, 0, counted(number, anyJob, "job")},
	"job_template:cijob_judged_runs:increase1d":                       {day, 0, counted(number, judged, "job", "template")},
	"job_template:cijob_success:ratio1d":                              {day, 0, counted(share, judged, "job", "template")},
	"job_template_status:cijob_duration_seconds_sum:increase1d":       {day, 0, counted(seconds, anyJob, "job", "template", "status")},
	"job_template_status:cijob_duration_seconds_count:increase1d":     {day, 0, counted(number, timed, "job", "template", "status")},
	"job_template:cijob_timed_successes:increase1d":                   {day, 0, counted(number, timedSuccess, "job", "template")},
	"job_template:cijob_duration_seconds:mean1d":                      {day, 0, counted(mean, timedSuccess, "job", "template")},
	"job_template_status_le:cijob_duration_seconds_bucket:increase1d": {day, 0, cumulated},
	"job_template_status:cijob_duration_seconds:increase1d":           {day, 0, nil},
	"job_template:cijob_duration_seconds:p50_1d":                      {day, 0, quantiles(0.5, "job", "template")},
	"job_template:cijob_duration_seconds:p80_1d":                      {day, 0, quantiles(0.8, "job", "template")},
	"job_template:cijob_duration_seconds:p95_1d":                      {day, 0, quantiles(0.95, "job", "template")},

	"job:cijob_ledger:unchanged7d":                                    {7 * day, 0, each1(unchanged)},
	"job_template_status:cijob_runs:increase7d":                       {7 * day, 0, counted(number, anyJob, "job", "template", "status")},
	"job_template:cijob_judged_runs:increase7d":                       {7 * day, 0, counted(number, judged, "job", "template")},
	"job_template:cijob_success:ratio7d":                              {7 * day, 0, counted(share, judged, "job", "template")},
	"job_template_status:cijob_duration_seconds_sum:increase7d":       {7 * day, 0, counted(seconds, anyJob, "job", "template", "status")},
	"job_template_status:cijob_duration_seconds_count:increase7d":     {7 * day, 0, counted(number, timed, "job", "template", "status")},
	"job_template:cijob_timed_successes:increase7d":                   {7 * day, 0, counted(number, timedSuccess, "job", "template")},
	"job_template:cijob_duration_seconds:mean7d":                      {7 * day, 0, counted(mean, timedSuccess, "job", "template")},
	"job_template_status_le:cijob_duration_seconds_bucket:increase7d": {7 * day, 0, cumulated},
	"job_template_status:cijob_duration_seconds:increase7d":           {7 * day, 0, nil},
	"job_template:cijob_duration_seconds:p95_7d":                      {7 * day, 0, quantiles(0.95, "job", "template")},

	"job_template:cijob_judged_runs:increase7d_offset1d":     {7 * day, day, counted(number, judged, "job", "template")},
	"job_template:cijob_success:ratio7d_offset1d":            {7 * day, day, counted(share, judged, "job", "template")},
	"job_template:cijob_timed_successes:increase7d_offset1d": {7 * day, day, counted(number, timedSuccess, "job", "template")},
	"job_template:cijob_duration_seconds:mean7d_offset1d":    {7 * day, day, counted(mean, timedSuccess, "job", "template")},
	"job_template:cijob_duration_seconds:p95_7d_offset1d":    {7 * day, day, quantiles(0.95, "job", "template")},
	"job_template:cijob_success:ratio_pooled":                {day, 0, pooled},
	"job_template:cijob_success:fall_zscore":                 {day, 0, fall},

	"job:cijob_ledger:unchanged3h": {3 * time.Hour, 0, each1(unchanged)},
	"job:cijob_runs:increase3h":    {3 * time.Hour, 0, counted(number, anyJob, "job")},
}

// unchanged is 1 if the ledger was there at the period's begin.
func unchanged(q question) float64 {
	if q.scraped.made.After(q.end.Add(-q.period)) {
		return 0
	}
	return 1
}

func timed(j *job.Job) bool        { return j.Timed }
func timedSuccess(j *job.Job) bool { return j.Timed && j.Status == job.Success }
func mean(jobs []job.Job) float64  { return seconds(jobs) / number(jobs) }

// each1 is one number of the scrape job.
func each1(of func(question) float64) answer {
	return func(q question, got result) []string {
		return truth{values: result{fmt.Sprintf("{job=%q}", scrapeOf): of(q)}}.differences(got)
	}
}

// cumulated are the successful durations up to each bound.
func cumulated(q question, got result) []string {
	want := truth{values: result{}}
	for key, jobs := range groups(where(q.jobs, timedSuccess), []string{"job", "template", "status"}) {
		for _, bound := range append(slices.Clone(bounds), math.Inf(1)) {
			with := strings.Replace(key, ", status=", fmt.Sprintf(`, le="%.1f", status=`, bound), 1)
			want.values[sorted(with)] = number(where(jobs, func(j *job.Job) bool { return j.Duration.Seconds() <= bound }))
		}
	}
	return want.differences(got)
}

// sorted writes labels in the order of their names.
func sorted(key string) string {
	parts := strings.Split(strings.Trim(key, "{}"), ", ")
	slices.Sort(parts)
	return "{" + strings.Join(parts, ", ") + "}"
}

// fall is the z of two proportions, pooled: the last day against the seven before.
func fall(q question, got result) []string {
	by := []string{"job", "template"}
	before := groups(where(q.jobs[:len(q.jobs)-q.recent], judged), by)
	all := groups(where(q.jobs, judged), by)
	var wrong []string
	for key, jobs := range groups(where(q.jobs[len(q.jobs)-q.recent:], judged), by) {
		n, m, p := number(jobs), number(before[key]), share(all[key])
		want := (share(before[key]) - share(jobs)) / math.Sqrt(p*(1-p)*(1/n+1/m))
		v, ok := got[key]
		delete(got, key)
		if m > 0 && !(ok && (math.Abs(v-want) <= 1e-6*max(1, math.Abs(want)) || math.IsNaN(v) && math.IsNaN(want))) {
			wrong = append(wrong, fmt.Sprintf("%s is %v, want %v", key, v, want))
		}
	}
	for key, v := range got {
		wrong = append(wrong, fmt.Sprintf("%s is %v, but it had no jobs", key, v))
	}
	return wrong
}

// pooled is the success ratio of both periods together, where both had jobs.
func pooled(q question, got result) []string {
	by := []string{"job", "template"}
	before := groups(where(q.jobs[:len(q.jobs)-q.recent], judged), by)
	last := groups(where(q.jobs[len(q.jobs)-q.recent:], judged), by)
	want := each(where(q.jobs, judged), by, share)
	maps.DeleteFunc(want.values, func(key string, _ float64) bool { return len(before[key]) == 0 || len(last[key]) == 0 })
	return want.differences(got)
}

// evaluated are the jobs of a period up to an evaluation, as rules see them: its begin is that of
// the last evaluation within an hour that knew anything.
func (r *recording) evaluated(end time.Time, period time.Duration) (_ []job.Job, known bool) {
	to, ok := r.edge(end)
	if !ok {
		return nil, false
	}
	begin := end.Add(-period)
	for at := begin; at.After(begin.Add(-time.Hour)); at = at.Add(-evaluation) {
		if r.asleep(at) || at.Before(r.begin.Add(evaluation)) {
			continue
		}
		if from, ok := r.edge(at); ok && from.ledger == to.ledger {
			return r.of(to.ledger, from.n, to.n), true
		}
	}
	if to.made.After(begin) {
		return r.of(to.ledger, 0, to.n), true
	}
	return nil, false
}

// asleep says whether Prometheus did not run, so that it evaluated no rules.
func (r *recording) asleep(at time.Time) bool { return happens(r.story.gaps, at.Sub(r.begin)) }

// An evaluator runs the rules that we ship, as Prometheus' own manager does, at the times
// that it is given.
type evaluator struct{ groups []*rules.Group }

func newEvaluator(t *testing.T, r *recording) *evaluator {
	t.Helper()
	files, err := filepath.Glob(ruleFiles)
	if err != nil || len(files) == 0 {
		t.Fatalf("no %s: %v", ruleFiles, err)
	}
	p := prometheus{engine(), r.db}
	manager := rules.NewManager(&rules.ManagerOptions{
		NameValidationScheme: model.UTF8Validation,
		Context:              t.Context(),
		QueryFunc:            rules.EngineQueryFunc(p.Engine, p.Queryable),
		NotifyFunc:           func(context.Context, string, ...*rules.Alert) {},
		Appendable:           r.db,
		Queryable:            p,
		Logger:               slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
		Parser:               parser.NewParser(parser.Options{}),
	})
	groups, errs := manager.LoadGroups(evaluation, labels.EmptyLabels(), "", nil, false, files...)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return &evaluator{slices.SortedFunc(maps.Values(groups), func(a, b *rules.Group) int {
		return strings.Compare(b.File()+b.Name(), a.File()+a.Name()) // recording before alerts
	})}
}

// evaluate is one evaluation of all rules.
func (e *evaluator) evaluate(t *testing.T, at time.Time) {
	t.Helper()
	for _, g := range e.groups {
		g.Eval(t.Context(), at)
		for _, r := range g.Rules() {
			if err := r.LastError(); err != nil {
				t.Fatalf("%s at %v: %v", r.Name(), at, err)
			}
		}
	}
}

// names are those of all rules, recording ones and alerts.
func (e *evaluator) names() (recording, alerts []string) {
	for _, g := range e.groups {
		for _, r := range g.Rules() {
			if _, ok := r.(*rules.AlertingRule); ok {
				alerts = append(alerts, r.Name())
			} else {
				recording = append(recording, r.Name())
			}
		}
	}
	return recording, alerts
}

// firing are the alerts that fire, with what they are about.
func (e *evaluator) firing() (all []string) {
	for _, g := range e.groups {
		for _, r := range g.AlertingRules() {
			for _, a := range r.ActiveAlerts() {
				if a.State == rules.StateFiring {
					all = append(all, r.Name()+" "+a.Labels.Get("template")+a.Labels.Get("reason"))
				}
			}
		}
	}
	return all
}

// TestRules evaluates all rules over the month, and compares what they record with the jobs
// and the alerts that fire with what happens in it.
func TestRules(t *testing.T) {
	t.Parallel()
	r := theMonth(t)
	e := newEvaluator(t, r)
	recording, alerts := e.names()
	known := maps.Clone(recordedRules)
	for _, name := range recording {
		if _, ok := recordedRules[name]; !ok {
			t.Errorf("nothing is known of what %s records", name)
		}
		delete(known, name)
	}
	for name := range known {
		t.Errorf("no rule records %s", name)
	}
	p := prometheus{engine(), r.db}
	fired, first := map[string]int{}, map[string]time.Time{}
	var fell map[string]bool // templates whose success had fallen at the evaluation before
	n, compared := 0, 0
	expected := map[string]bool{"CIJobsRejected missing": true, "CIJobRequestsInvalid malformed": true, "CIJobLedgerNotWritable ": true} // the last of another's
	for _, story := range monthOfJobs().shape.Plants() {
		if story.Kind == history.Slower {
			expected["CIJobTemplateSlower "+story.Template] = true
		}
	}
	begin := time.Now()
	for at := r.begin.Add(evaluation); !at.After(r.end); at = at.Add(evaluation) {
		if r.asleep(at) {
			continue
		}
		e.evaluate(t, at)
		n++
		firing := e.firing()
		for _, alert := range firing {
			if fired[alert]++; fired[alert] == 1 {
				first[alert] = at
			}
		}
		before := fell
		fell = r.fell(at)
		for template := range fell {
			alert := "CIJobTemplateSuccessFell " + template
			if before[template] != slices.Contains(firing, alert) { // for half an hour
				t.Errorf("%s at %v: fires %v, had fallen %v", alert, at, !before[template], before[template])
			}
			expected[alert] = expected[alert] || before[template]
		}
		if n%13 != 0 && !r.eventful(at) {
			continue
		}
		for _, name := range recording {
			if rule := recordedRules[name]; rule.answer != nil {
				compared++
				if wrong := r.judgeRule(t, p, name, at); len(wrong) > 0 {
					t.Errorf("%s at %v: %s", name, at, strings.Join(wrong[:min(len(wrong), 3)], "; "))
				}
			}
		}
	}
	t.Logf("%d evaluations of %d recording rules and %d alerts in %v, %d results compared", n, len(recording), len(alerts), time.Since(begin).Round(time.Second), compared)
	for _, alert := range slices.Sorted(maps.Keys(fired)) {
		t.Logf("%s fired first at %v, in %d evaluations", alert, first[alert], fired[alert])
		template, slower := strings.CutPrefix(alert, "CIJobTemplateSlower ")
		if !expected[alert] && (!slower || !r.slower(template, first[alert])) {
			t.Errorf("%s fired for nothing", alert)
		}
		delete(expected, alert)
	}
	for alert, want := range expected {
		if want {
			t.Errorf("%s did not fire", alert)
		}
	}
}

// fell are the templates whose success fell, as docs/alerts.md has it.
func (r *recording) fell(at time.Time) map[string]bool {
	all := map[string]bool{}
	last, known := r.evaluated(at, day)
	before, knownBefore := r.recorded(at.Add(-day), 7*day)
	if !known || !knownBefore {
		return all
	}
	by := []string{"template"}
	earlier := groups(where(before, judged), by)
	for key, jobs := range groups(where(last, judged), by) {
		was := earlier[key]
		n, m, p, q := number(jobs), number(was), share(jobs), share(was)
		pooled := (p*n + q*m) / (n + m)
		z := (q - p) / math.Sqrt(pooled*(1-pooled)*(1/n+1/m))
		if n >= 30 && m >= 30 && q-p > 0.05 && z > 4 {
			all[jobs[0].Name] = true
		}
	}
	return all
}

// slower says whether a template took longer in truth: quantiles of histograms are up to 9.1 %
// off, so that an alert can be early, but not for nothing.
func (r *recording) slower(template string, at time.Time) bool {
	keep := func(j *job.Job) bool { return timedSuccess(j) && j.Name == template }
	last, _ := r.evaluated(at, day)
	before, _ := r.recorded(at.Add(-day), 7*day)
	last, before = where(last, keep), where(before, keep)
	_, now := around(0.95, last)
	was, _ := around(0.95, before)
	return min(len(last), len(before)) >= 30 && now > 1.25/1.0906/1.0906*was && mean(last) >= 1.1*mean(before)
}

// eventful are moments around which something happens in the month, or has happened a day or
// seven before.
func (r *recording) eventful(at time.Time) bool {
	since := at.Sub(r.begin)
	for _, o := range slices.Concat(r.story.gaps, r.story.stops) {
		for _, later := range []time.Duration{0, day, 7 * day, 8 * day} {
			if (outage{o.from + later - evaluation, o.to + later + 150*time.Minute}).at(since) {
				return true
			}
		}
	}
	return false
}

// judgeRule compares what a rule recorded in an evaluation with the jobs of its period.
func (r *recording) judgeRule(t *testing.T, p prometheus, name string, at time.Time) []string {
	t.Helper()
	rule := recordedRules[name]
	got := p.instant(t, fmt.Sprintf(`label_replace({__name__=%q}, "__name__", "", "", "")`, name), at)
	maps.DeleteFunc(got, func(key string, _ float64) bool { return strings.Contains(key, `job="another"`) })
	last, known := r.edge(at)
	jobs := r.of(last.ledger, 0, last.n)
	q := question{asked: asked{prometheus: p, native: true, classic: true, end: at, period: rule.period}, known: true, scraped: last, of: r}
	switch {
	case name == "job_template:cijob_success:fall_zscore", name == "job_template:cijob_success:ratio_pooled":
		before, beforeKnown := r.recorded(at.Add(-day), 7*day)
		jobs, known = r.evaluated(at, day)
		known = known && beforeKnown
		q.recent = len(jobs)
		jobs = slices.Concat(before, jobs)
	case rule.ago > 0:
		jobs, known = r.recorded(at.Add(-rule.ago), rule.period)
	case rule.period > 0:
		jobs, known = r.evaluated(at, rule.period)
	}
	if q.jobs = jobs; known {
		return rule.answer(q, got)
	}
	if len(got) > 0 {
		return []string{fmt.Sprintf("%v, but nothing is known of then", got)}
	}
	return nil
}

// recorded are the jobs of a period up to the last evaluation that knew them, of those within an hour.
func (r *recording) recorded(end time.Time, period time.Duration) ([]job.Job, bool) {
	for at := end; at.After(end.Add(-time.Hour)); at = at.Add(-evaluation) {
		if r.asleep(at) || !at.After(r.begin) {
			continue
		}
		if jobs, known := r.evaluated(at, period); known {
			return jobs, true
		}
	}
	return nil, false
}
