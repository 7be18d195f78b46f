package query

import (
	"cmp"
	"slices"
	"time"

	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/problems"
)

// A ProblemPage is a part of the table of problems. Theirs is no period, and no number of a
// job as of which they would be.
type ProblemPage struct {
	TimeZone string             `json:"time_zone"`
	Filter   kpi.Filter         `json:"filter"`
	Total    int                `json:"total"`
	Offset   int                `json:"offset"`
	Items    []problems.Problem `json:"items"`
}

// problemColumns are those by which the table can be sorted, in the order in which they
// decide between problems that are equal in the one that was asked for.
var problemColumns = []string{"kind", "project", "template", "field", "reason", "value", "remedy", "sender", "count", "first", "last"}

var problemOrders = map[string]func(a, b *problems.Problem) int{
	"last":     func(a, b *problems.Problem) int { return a.Last.Compare(b.Last) },
	"first":    func(a, b *problems.Problem) int { return a.First.Compare(b.First) },
	"count":    func(a, b *problems.Problem) int { return cmp.Compare(a.Count, b.Count) },
	"kind":     func(a, b *problems.Problem) int { return cmp.Compare(a.Kind, b.Kind) },
	"project":  func(a, b *problems.Problem) int { return cmp.Compare(a.Project, b.Project) },
	"template": func(a, b *problems.Problem) int { return cmp.Compare(a.Template, b.Template) },
	"field":    func(a, b *problems.Problem) int { return cmp.Compare(a.Field, b.Field) },
	"reason":   func(a, b *problems.Problem) int { return cmp.Compare(a.Reason, b.Reason) },
	"value":    func(a, b *problems.Problem) int { return cmp.Compare(a.Value, b.Value) },
	"remedy":   func(a, b *problems.Problem) int { return cmp.Compare(a.Remedy, b.Remedy) },
	"sender":   func(a, b *problems.Problem) int { return cmp.Compare(a.Sender, b.Sender) },
}

// CutProblems is the part of the table of all problems that a filter and a cut ask for, with
// times of a zone.
func CutProblems(all []problems.Problem, filter kpi.Filter, cut kpi.Cut, zone *time.Location) *ProblemPage {
	p := &ProblemPage{TimeZone: zone.String(), Filter: filter, Offset: cut.Offset}
	found := make([]problems.Problem, 0, len(all))
	for _, one := range all {
		if kpi.MatchesAny(filter.Templates, one.Template) && kpi.MatchesAny(filter.Projects, one.Project) {
			one.First, one.Last = one.First.In(zone), one.Last.In(zone)
			found = append(found, one)
		}
	}
	slices.SortFunc(found, problemOrder(cut))
	p.Total = len(found)
	p.Items = kpi.CutOut(found, cut)
	return p
}

func problemOrder(cut kpi.Cut) func(a, b problems.Problem) int {
	return func(a, b problems.Problem) int {
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
