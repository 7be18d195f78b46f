package findings

import (
	"fmt"
	"time"

	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/rollup"
)

// tests are the names of the statistical tests.
var tests = map[Kind]string{
	LostTime:    "outlier among the templates, t of the random-effects prediction",
	SuccessFell: "Cochran-Mantel-Haenszel by project, with dispersion, t",
	Slower:      "Cochran-Mantel-Haenszel by project of runs above the former p95, with dispersion, t",
	FlakyRuns:   "binomial of effective numbers, against the limit",
	Outdated:    "sign test of projects",
	Fading:      "Cochran-Mantel-Haenszel by project of its share of jobs, with dispersion, t",
	Stopped:     "permutation of busy days",
}

// advice is the first thing to do.
var advice = map[Kind]string{
	LostTime:    "Let what fails most fail first, and look at what its last failures have in common.",
	SuccessFell: "Look at what its failures since then have in common, and what changed just before.",
	Slower:      "Compare its distribution of durations with the former one: did all runs slow down, or some projects?",
	FlakyRuns:   "Look at the failures that a second try mended: none is the fault of a commit.",
	Outdated:    "Ask the projects what keeps them from the newer version.",
	Fading:      "Ask the projects that left what they use instead: it may be time to retire it.",
	Stopped:     "Ask whether the project moved, was archived, or cannot run its jobs.",
}

// about begins a finding about a template.
func (f *finder) about(t int, kind Kind, measure Measure, before, after Side) Finding {
	name := f.templates[t].name
	filter := f.filter
	filter.Templates = []kpi.Pattern{kpi.Exactly(name)}
	found := Finding{
		Kind: kind, Template: name, Projects: []string{}, Versions: []string{},
		Measure: measure, Before: before, After: after,
		Test: tests[kind], LookAt: advice[kind],
		RunsPerMonth: f.monthly(current, float64(after.Runs)),
		Evidence:     Evidence{filter, f.periods[current]},
	}
	if before.Value != nil {
		found.Expected = *before.Value
	}
	return found
}

// hours are microseconds of the current part as hours in 30 days, not below 0.
func (f *finder) hours(micros float64) *float64 {
	return new(max(f.monthly(current, micros)/microsPerHour, 0))
}

func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

func seconds(s float64) string {
	if s < 10 {
		return fmt.Sprintf("%.1f s", s)
	}
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

func dayOf(day int) rollup.Day { return rollup.Day(day) } //nolint:gosec // at most 1600
