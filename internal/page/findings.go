package page

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"ci-jobs-metrics/internal/kpi"
)

// FindingsOf has an asker's findings in the words of the page.
func FindingsOf(asker *kpi.Asker) func(context.Context, kpi.Query) ([]Finding, error) {
	return func(ctx context.Context, q kpi.Query) ([]Finding, error) {
		answer, err := asker.Findings(ctx, q)
		if err != nil {
			return nil, err
		}
		found := make([]Finding, len(answer.Items))
		for i := range answer.Items {
			found[i] = findingOf(&answer.Items[i])
		}
		return found, nil
	}
}

// kinds are what the kinds of findings are called.
var kinds = map[kpi.FindingKind]struct{ word, title string }{
	kpi.LostTime:    {"Lost time", "%s loses time to failures"},
	kpi.SuccessFell: {"Success fell", "%s succeeds less often"},
	kpi.Slower:      {"Slower", "%s takes longer"},
	kpi.FlakyRuns:   {"Flaky", "%s fails by chance"},
	kpi.Outdated:    {"Outdated", "Projects stay on an old version of %s"},
	kpi.Fading:      {"Fading", "%s falls out of use"},
	kpi.Stopped:     {"Stopped", "%s runs no jobs any more"},
}

func findingOf(f *kpi.Finding) Finding {
	kind := kinds[f.Kind]
	about := f.Template
	if f.Kind == kpi.Stopped {
		about = strings.Join(f.Projects, ", ")
	}
	return Finding{
		Kind: kind.word, Title: fmt.Sprintf(kind.title, about), Text: f.Text + " " + f.LookAt,
		Cost: f.Cost, Link: evidenceLink(f), Evidence: evidenceOf(f),
	}
}

// evidenceLink leads to the page that shows it: the template or the project, in the period
// that the finding is about.
func evidenceLink(f *kpi.Finding) string {
	period := f.Evidence.Period
	v := url.Values{"from": {period.From.Format(time.RFC3339)}, "to": {period.To.Format(time.RFC3339)}}
	path := "/template"
	v.Set("name", f.Template)
	if f.Kind == kpi.Outdated && len(f.Versions) > 0 {
		v.Set("version", string(kpi.Exactly(f.Versions[0])))
	}
	if f.Kind == kpi.Stopped && len(f.Projects) > 0 {
		path = "/project"
		v.Set("name", f.Projects[0])
	}
	return path + "?" + v.Encode()
}

// measures are what the values of findings are called, and how they are written.
var measures = map[kpi.Measure]struct {
	label string
	text  func(float64) string
}{
	kpi.FailedTime:   {"Failed runs take, of successful ones", percents},
	kpi.FailureRate:  {"Failed", percents},
	kpi.SuccessShare: {"Success rate", percents},
	kpi.P95:          {"p95", seconds},
	kpi.FlakyShare:   {"Flaky", percents},
	kpi.OldShare:     {"Projects on the old version", percents},
	kpi.RunsPerMonth: {"Runs in 30 days", count},
}

func percents(v float64) string { return share(v) + " %" }

func evidenceOf(f *kpi.Finding) []Evidence {
	m := measures[f.Measure]
	text := func(v *float64) string {
		if v == nil {
			return ""
		}
		return m.text(*v)
	}
	before := text(f.Before.Value)
	switch f.Kind {
	case kpi.LostTime:
		before = "usual " + text(&f.Expected)
	case kpi.FlakyRuns:
		before = "limit " + text(&f.Expected)
	default:
	}
	e := []Evidence{
		{m.label, before, text(f.After.Value)},
		{"Runs", runs(&f.Before), runs(&f.After)},
		{"Period", dates(&f.Before), dates(&f.After)},
		{"Chance", "", chance(f.Q) + " (" + f.Test + ")"},
	}
	if len(f.Versions) > 1 {
		e = append(e, Evidence{"Version", f.Versions[0], f.Versions[1]})
	}
	if len(f.Projects) > 0 && f.Kind != kpi.Stopped {
		e = append(e, Evidence{"Projects", "", some(f.Projects)})
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

func runs(s *kpi.Side) string {
	if s.Value == nil {
		return ""
	}
	return count(float64(s.Runs))
}

// dates are the days of a side, which are whole ones.
func dates(s *kpi.Side) string {
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
