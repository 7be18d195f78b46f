package page

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/kpi/findings"
)

// kinds are what the kinds of findings are called.
var kinds = map[findings.Kind]struct{ word, title string }{
	findings.LostTime:    {"Lost time", "%s loses time to failures"},
	findings.SuccessFell: {"Success fell", "%s succeeds less often"},
	findings.Slower:      {"Slower", "%s takes longer"},
	findings.FlakyRuns:   {"Flaky", "%s fails by chance"},
	findings.Outdated:    {"Outdated", "Projects stay on an old version of %s"},
	findings.Fading:      {"Fading", "%s falls out of use"},
	findings.Stopped:     {"Stopped", "%s runs no jobs any more"},
}

func findingOf(f *findings.Finding) finding {
	kind := kinds[f.Kind]
	about := f.Template
	if f.Kind == findings.Stopped {
		about = strings.Join(f.Projects, ", ")
	}
	return finding{
		Kind: kind.word, Title: fmt.Sprintf(kind.title, about), Text: f.Text + " " + f.LookAt,
		Cost: f.Cost, Link: evidenceLink(f), Evidence: evidenceOf(f),
	}
}

// evidenceLink leads to the page that shows it: the template or the project, in the period
// that the finding is about.
func evidenceLink(f *findings.Finding) string {
	period := f.Evidence.Period
	v := url.Values{"from": {period.From.Format(time.RFC3339)}, "to": {period.To.Format(time.RFC3339)}}
	path := "/template"
	v.Set("name", f.Template)
	if f.Kind == findings.Outdated && len(f.Versions) > 0 {
		v.Set("version", string(kpi.Exactly(f.Versions[0])))
	}
	if f.Kind == findings.Stopped && len(f.Projects) > 0 {
		path = "/project"
		v.Set("name", f.Projects[0])
	}
	return path + "?" + v.Encode()
}

// measures are what the values of findings are called, and how they are written.
var measures = map[findings.Measure]struct {
	label string
	text  func(float64) string
}{
	findings.FailedTime:   {"Failed runs take, of successful ones", percents},
	findings.FailureRate:  {"Failed", percents},
	findings.SuccessShare: {"Success rate", percents},
	findings.P95:          {"p95", seconds},
	findings.FlakyShare:   {"Flaky", percents},
	findings.OldShare:     {"Projects on the old version", percents},
	findings.RunsPerMonth: {"Runs in 30 days", count},
}

func percents(v float64) string { return share(v) + " %" }

func evidenceOf(f *findings.Finding) []evidence {
	m := measures[f.Measure]
	text := func(v *float64) string {
		if v == nil {
			return ""
		}
		return m.text(*v)
	}
	before := text(f.Before.Value)
	switch f.Kind {
	case findings.LostTime:
		before = "usual " + text(&f.Expected)
	case findings.FlakyRuns:
		before = "limit " + text(&f.Expected)
	default:
	}
	e := []evidence{
		{m.label, before, text(f.After.Value)},
		{"Runs", runs(&f.Before), runs(&f.After)},
		{"Period", dates(&f.Before), dates(&f.After)},
		{"Chance", "", chance(f.Q) + " (" + f.Test + ")"},
	}
	if len(f.Versions) > 1 {
		e = append(e, evidence{"Version", f.Versions[0], f.Versions[1]})
	}
	if len(f.Projects) > 0 && f.Kind != findings.Stopped {
		e = append(e, evidence{"Projects", "", some(f.Projects)})
	}
	return e
}

// some are the first few names: the API has more of them.
func some(names []string) string {
	const few = 3
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}

func runs(s *findings.Side) string {
	if s.Value == nil {
		return ""
	}
	return count(float64(s.Runs))
}

// dates are the days of a side, which are whole ones.
func dates(s *findings.Side) string {
	if s.Value == nil || s.Period.From.IsZero() {
		return ""
	}
	const day = "2 Jan"
	return s.Period.From.Format(day) + " – " + s.Period.To.Add(-time.Second).Format(day)
}

// chance is how likely it is that there is nothing.
func chance(q float64) string {
	if q < 0.0001 {
		return "less than 1 in 10 000"
	}
	return "1 in " + count(1/q)
}
