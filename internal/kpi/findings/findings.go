// Package findings suggests what to improve: it looks through the roll-ups for templates and
// projects that do worse than before, or worse than others, by more than chance and by enough to
// matter, and ranks them by the CI hours that they cost. docs/findings.md defines each kind.
//
// [Find] takes a query of package kpi and returns findings with their evidence:
//
//	f, err := findings.Find(ctx, asker, kpi.Query{Period: period})
//	for _, finding := range f.Items { ... finding.Text, finding.Cost, finding.Evidence ... }
//
// It scans the roll-ups twice (days.go, pairs.go), tests one hypothesis for each kind, template,
// version and project (templates.go, adoption.go, by package significance), and keeps those that
// stand the correction for the number of tests (finder.go): at most 5 % of the findings of all
// answers together are chance, on average. Packages api and page show them.
package findings

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"ci-jobs-metrics/internal/kpi"
)

// FalseDiscoveries is the share of findings that may be chance: of all findings that are ever shown,
// on average.
const FalseDiscoveries = 0.05

// MinRuns is the least number of runs on each side of a comparison.
const MinRuns = 30

// An Answer has the findings of a query.
type Answer struct {
	kpi.Meta
	// After is the whole weeks at the end of the period, and Before the weeks that they are compared
	// with. Before is null if the ledger has less than two weeks; both are null without jobs.
	Before *kpi.Period `json:"before"`
	After  *kpi.Period `json:"after"`
	// Tested is the number of hypotheses: each might have become a finding.
	Tested int       `json:"tested"`
	Level  float64   `json:"false_discovery_rate"` // FalseDiscoveries
	Items  []Finding `json:"items"`                // those that cost most hours first
}

// A Kind is a kind of finding.
type Kind string

// The kinds.
const (
	LostTime    Kind = "lost_time"    // a template fails later, or more often, than others do
	SuccessFell Kind = "success_fell" // a template succeeds less often than before
	Slower      Kind = "slower"       // a template takes longer than before
	FlakyRuns   Kind = "flaky"        // a template fails and then succeeds for the same commit
	Outdated    Kind = "outdated"     // projects stay on a version that most have left
	Fading      Kind = "fading"       // a template falls out of use
	Stopped     Kind = "stopped"      // a project runs no jobs any more
)

// Kinds are all kinds.
var Kinds = []Kind{LostTime, SuccessFell, Slower, FlakyRuns, Outdated, Fading, Stopped}

// A Measure is the quantity of a finding's values.
type Measure string

// The measures, with the kinds that have them.
const (
	FailedTime   Measure = "failed_time"    // mean duration of failed runs / of successful ones: lost_time
	FailureRate  Measure = "failure_rate"   // failed and timed out / those and successful: lost_time
	SuccessShare Measure = "success_rate"   // of Stats: success_fell
	P95          Measure = "p95_seconds"    // of Durations: slower
	FlakyShare   Measure = "flaky_share"    // flaky / successful: flaky
	OldShare     Measure = "old_share"      // projects on the version / that ever ran it: outdated
	RunsPerMonth Measure = "runs_per_month" // of 30 days: fading, stopped
)

// A Finding is something to improve: it is worse than before, or worse than elsewhere, by more than
// chance and by enough to matter.
type Finding struct {
	Kind     Kind   `json:"kind"`
	Template string `json:"template,omitempty"`
	// Projects are those that the finding is about, or those that it costs most; at most MaxNamed.
	Projects []string `json:"projects"`
	Versions []string `json:"versions"` // the old version, and the one that most projects run instead

	Measure Measure `json:"measure"`
	Before  Side    `json:"before"`
	After   Side    `json:"after"`
	// Expected is the value that After was compared with.
	Expected float64 `json:"expected"`
	Test     string  `json:"test"` // name of the statistical test
	P        float64 `json:"p"`
	Q        float64 `json:"q"` // P, corrected for the number of hypotheses

	// Cost is null for findings that lose no hours. They come last, ordered by RunsPerMonth.
	Cost         *float64 `json:"cost_hours_per_month"`
	RunsPerMonth float64  `json:"runs_per_month"` // that the finding is about, in 30 days

	Text     string   `json:"text"`    // the finding in a sentence
	LookAt   string   `json:"look_at"` // what to do first
	Evidence Evidence `json:"evidence"`
}

// MaxNamed is the largest number of projects that a finding names.
const MaxNamed = 10

// A Side is one of the two sides that a finding compares.
type Side struct {
	Period   kpi.Period `json:"period"`
	Value    *float64   `json:"value"`
	Runs     int64      `json:"runs"`
	Projects int        `json:"projects"`
}

// Evidence is the query whose answers show a finding.
type Evidence struct {
	Filter kpi.Filter `json:"filter"`
	Period kpi.Period `json:"period"`
}

// Find returns the findings of a query. Filters by version and status have no effect. A filter by
// template chooses what may be found; templates are still compared with all others. It fails if
// [kpi.Query.Check] does, or if the ledger can't be read.
func Find(ctx context.Context, a *kpi.Asker, q kpi.Query) (*Answer, error) {
	f := finder{filter: q.Filter}
	f.filter.Versions, f.filter.Statuses = nil, nil
	var err error
	if f.scan, err = a.NewScan(kpi.Query{Period: q.Period}); err != nil { // of all jobs
		return nil, err
	}
	if f.days, err = f.scanDays(ctx, a); err != nil {
		return nil, err
	}
	answer := &Answer{Level: FalseDiscoveries, Items: []Finding{}}
	if answer.Meta, err = f.scan.Meta(ctx, a, f.asOf); err != nil {
		return nil, err
	}
	answer.Filter = f.filter
	if !f.choosePeriods() {
		return answer, nil
	}
	if f.usage, err = f.scanUsage(ctx, a); err != nil {
		return nil, err
	}
	answer.After = &f.periods[current]
	if f.comparable() {
		answer.Before = &f.periods[previous]
	}
	f.testAll()
	answer.Tested = len(f.tried)
	answer.Items = append(answer.Items, f.significant()...)
	return answer, nil
}

// testAll tests all hypotheses.
func (f *finder) testAll() {
	for t := range f.templates {
		if !kpi.MatchesAny(f.filter.Templates, f.templates[t].name) {
			continue
		}
		f.lostTime(t)
		f.flaky(t)
		if f.comparable() {
			f.successFell(t)
			f.slower(t)
			f.fading(t)
			f.outdated(t)
		}
	}
	if len(f.filter.Templates) == 0 {
		f.stopped()
	}
}

// compareFindings ranks findings by the hours that they cost, then those without a cost by their runs.
func compareFindings(a, b Finding) int {
	hours := func(f *Finding) float64 {
		if f.Cost == nil {
			return -1
		}
		return *f.Cost
	}
	return cmp.Or(cmp.Compare(hours(&b), hours(&a)), cmp.Compare(b.RunsPerMonth, a.RunsPerMonth),
		cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Template, b.Template),
		slices.Compare(a.Versions, b.Versions), strings.Compare(strings.Join(a.Projects, "\n"), strings.Join(b.Projects, "\n")))
}
