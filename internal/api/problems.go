package api

import (
	"cmp"
	"context"
	"slices"
	"time"

	"ci-jobs-metrics/internal/kpi"
)

// A Problem is something that was wrong with reports of jobs lately, all that are alike
// together. Its texts may be anything that senders send.
type Problem struct {
	Kind     string    `json:"kind"`     // what became of the reports: rejected, warned, or refused with their request
	Project  string    `json:"project"`  // as it was sent; empty: not known
	Template string    `json:"template"` // as it was sent, folded; empty: not known
	Field    string    `json:"field"`    // of the report; empty: the report as a whole
	Reason   string    `json:"reason"`
	Value    string    `json:"value"`  // what was sent last
	Remedy   string    `json:"remedy"` // what to send instead
	Sender   string    `json:"sender"` // the host from which the last one came
	Count    int64     `json:"count"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
}

// A ProblemPage is a part of the table of problems. Theirs is no period, and no number of a
// job as of which they would be.
type ProblemPage struct {
	TimeZone string     `json:"time_zone"`
	Filter   kpi.Filter `json:"filter"`
	Total    int        `json:"total"`
	Offset   int        `json:"offset"`
	Items    []Problem  `json:"items"`
}

// problemColumns are those by which the table can be sorted, in the order in which they
// decide between problems that are equal in the one that was asked for.
var problemColumns = []string{"kind", "project", "template", "field", "reason", "value", "remedy", "sender", "count", "first", "last"}

var problemOrders = map[string]func(a, b *Problem) int{
	"last":     func(a, b *Problem) int { return a.Last.Compare(b.Last) },
	"first":    func(a, b *Problem) int { return a.First.Compare(b.First) },
	"count":    func(a, b *Problem) int { return cmp.Compare(a.Count, b.Count) },
	"kind":     func(a, b *Problem) int { return cmp.Compare(a.Kind, b.Kind) },
	"project":  func(a, b *Problem) int { return cmp.Compare(a.Project, b.Project) },
	"template": func(a, b *Problem) int { return cmp.Compare(a.Template, b.Template) },
	"field":    func(a, b *Problem) int { return cmp.Compare(a.Field, b.Field) },
	"reason":   func(a, b *Problem) int { return cmp.Compare(a.Reason, b.Reason) },
	"value":    func(a, b *Problem) int { return cmp.Compare(a.Value, b.Value) },
	"remedy":   func(a, b *Problem) int { return cmp.Compare(a.Remedy, b.Remedy) },
	"sender":   func(a, b *Problem) int { return cmp.Compare(a.Sender, b.Sender) },
}

// problems answers what was wrong with reports.
func (a *api) problems(ctx context.Context, r *request) (answer, error) {
	all, err := a.Problems(ctx)
	if err != nil {
		return answer{}, err
	}
	p := CutProblems(all, r.query.Filter, r.cut, a.asker.Zone())
	return answer{document: p, rows: p.Items, beyond: p.Total - p.Offset - len(p.Items)}, nil
}

// CutProblems is the part of the table of all problems that a filter and a cut ask for, with
// times of a zone.
func CutProblems(all []Problem, filter kpi.Filter, cut kpi.Cut, zone *time.Location) *ProblemPage {
	p := &ProblemPage{TimeZone: zone.String(), Filter: filter, Offset: cut.Offset}
	found := make([]Problem, 0, len(all))
	for _, one := range all {
		if matches(filter.Templates, one.Template) && matches(filter.Projects, one.Project) {
			one.First, one.Last = one.First.In(zone), one.Last.In(zone)
			found = append(found, one)
		}
	}
	slices.SortFunc(found, problemOrder(cut))
	p.Total = len(found)
	p.Items = found[min(cut.Offset, len(found)):]
	if cut.Limit > 0 {
		p.Items = p.Items[:min(cut.Limit, len(p.Items))]
	}
	return p
}

func problemOrder(cut kpi.Cut) func(a, b Problem) int {
	return func(a, b Problem) int {
		order := problemOrders[cut.Sort](&a, &b)
		if cut.Descending {
			order = -order
		}
		for i := 0; i < len(problemColumns) && order == 0; i++ {
			order = problemOrders[problemColumns[i]](&a, &b)
		}
		return order
	}
}

func matches(patterns []kpi.Pattern, text string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p kpi.Pattern) bool { return p.Match(text) })
}
