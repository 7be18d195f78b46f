package kpi

import (
	"cmp"
	"context"
	"slices"
	"strings"
)

// FalseDiscoveries is the share of findings that may be chance: of those that all questions
// together ever show, on average.
const FalseDiscoveries = 0.05

// MinRuns is how many runs there have to be on each side of a comparison.
const MinRuns = 30

// Findings is the answer to where there is something to improve. docs/findings.md has the
// definition of each kind.
type Findings struct {
	Meta
	// After is the whole weeks at the end of the period, and Before the ones that they are
	// compared with: null if the ledger has less than two weeks, both without jobs.
	Before *Period `json:"before"`
	After  *Period `json:"after"`
	// Tested is how many questions were asked, of which each might have made a finding.
	Tested int       `json:"tested"`
	Level  float64   `json:"false_discovery_rate"` // FalseDiscoveries
	Items  []Finding `json:"items"`                // what costs the most hours first
}

// A FindingKind is what a finding is about.
type FindingKind string

// The kinds.
const (
	LostTime    FindingKind = "lost_time"    // a template fails later, or more often, than others do
	SuccessFell FindingKind = "success_fell" // a template succeeds less often than before
	Slower      FindingKind = "slower"       // a template takes longer than before
	FlakyRuns   FindingKind = "flaky"        // a template fails and then succeeds for the same commit
	Outdated    FindingKind = "outdated"     // projects stay on a version that most have left
	Fading      FindingKind = "fading"       // a template falls out of use
	Stopped     FindingKind = "stopped"      // a project runs no jobs any more
)

// FindingKinds are all of them.
var FindingKinds = []FindingKind{LostTime, SuccessFell, Slower, FlakyRuns, Outdated, Fading, Stopped}

// A Measure is what the values of a finding are.
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

// A Finding is something that is worse than it was, or than elsewhere, by more than chance
// and by enough to matter.
type Finding struct {
	Kind     FindingKind `json:"kind"`
	Template string      `json:"template,omitempty"`
	// Projects are those that it is about, or that it costs most; MaxNamed at most.
	Projects []string `json:"projects"`
	Versions []string `json:"versions"` // the old one, and the one that most run instead

	Measure Measure `json:"measure"`
	Before  Side    `json:"before"`
	After   Side    `json:"after"`
	// Expected is the value that After was compared with.
	Expected float64 `json:"expected"`
	Test     string  `json:"test"` // its name
	P        float64 `json:"p"`
	Q        float64 `json:"q"` // P, with regard to how many questions were asked

	// Cost is null where no hours can be said to be lost. Those come behind all others, in
	// the order of RunsPerMonth.
	Cost         *float64 `json:"cost_hours_per_month"`
	RunsPerMonth float64  `json:"runs_per_month"` // that it is about, in 30 days

	Text     string   `json:"text"`    // what there is, in a sentence
	LookAt   string   `json:"look_at"` // what to do first
	Evidence Evidence `json:"evidence"`
}

// MaxNamed is how many projects a finding names.
const MaxNamed = 10

// A Side is one of the two that a finding compares.
type Side struct {
	Period   Period   `json:"period"`
	Value    *float64 `json:"value"`
	Runs     int64    `json:"runs"`
	Projects int      `json:"projects"`
}

// Evidence is the question whose answers show a finding.
type Evidence struct {
	Filter Filter `json:"filter"`
	Period Period `json:"period"`
}

// Findings answers where there is something to improve. Filters by version and status
// don't matter. One by template chooses what may be found, not what it is compared with.
func (a *Asker) Findings(ctx context.Context, q Query) (*Findings, error) {
	q.Interval = Daily
	q.Filter.Versions, q.Filter.Statuses = nil, nil
	s, err := a.newSurvey(q)
	if err != nil {
		return nil, err
	}
	f := finder{survey: s, filter: q.Filter}
	s.Filter = Filter{} // all jobs are to be seen
	if f.census, err = f.takeCensus(ctx, a); err != nil {
		return nil, err
	}
	answer := &Findings{Meta: s.meta(f.asOf), Level: FalseDiscoveries, Items: []Finding{}}
	answer.Filter = q.Filter
	if !f.frame() {
		return answer, nil
	}
	if f.usage, err = f.takeUsage(ctx, a); err != nil {
		return nil, err
	}
	answer.After = &f.periods[current]
	if f.comparable() {
		answer.Before = &f.periods[previous]
	}
	f.search()
	answer.Tested = len(f.tried)
	answer.Items = append(answer.Items, f.found()...)
	return answer, nil
}

// search asks all questions.
func (f *finder) search() {
	for t := range f.templates {
		if !MatchesAny(f.filter.Templates, f.templates[t].name) {
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

// compareFindings ranks them: what costs hours by those, then the others by their runs.
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
