package page

import (
	"context"
	"strings"

	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/problems"
	"ci-jobs-metrics/internal/query"
)

const (
	problemsPath = "/problems"
	improvePath  = "/improve"
)

// A findingList is the findings of a page.
type findingList struct {
	Items []shownFinding
	All   string // where all of them are; empty: these are all
	Empty string // what is said without any
	Note  string // what else has to be known
}

type shownFinding struct {
	finding
	Hours *number
}

// findings adds the costliest findings, or all if most is 0.
func (v *request) findings(ctx context.Context, q kpi.Query, most int) error {
	answer, err := v.Findings(ctx, q)
	if err != nil {
		return err
	}
	all := answer.Items
	f := &findingList{Empty: "Nothing stands out in this period."}
	if len(q.Filter.Statuses)+len(q.Filter.Versions) > 0 {
		f.Note = "Filters by status and version do not apply here."
	}
	if most > 0 {
		f.All = v.address.to(improvePath).String()
		all = all[:min(most, len(all))]
	}
	for i := range all {
		one := &all[i]
		shown := shownFinding{finding: findingOf(one)}
		if one.Cost != nil {
			text, unit := inHours(*one.Cost)
			shown.Hours = &number{Text: text, Unit: unit, Value: raw(*one.Cost)}
		}
		f.Items = append(f.Items, shown)
	}
	v.document.Findings = f
	return nil
}

// improve is all findings.
func (v *request) improve(ctx context.Context) error {
	o, a, err := answer(v, "overview", func(a asked) (*kpi.Overview, error) { return v.asker.Overview(ctx, a.Query) })
	if err != nil {
		return err
	}
	v.about(a, &o.Meta)
	v.document.Link, v.document.CSV = "", ""
	if v.nothing(&o.Meta, &o.Compared) {
		return nil
	}
	return v.findings(ctx, a.Query, 0)
}

// problems is what was wrong with reports of jobs lately.
func (v *request) problemTable(context.Context) error {
	p, a, err := answer(v, "problems", func(a asked) (*query.ProblemPage, error) {
		return query.CutProblems(v.problems, a.Query.Filter, a.Cut, v.asker.Zone()), nil
	})
	if err != nil {
		return err
	}
	v.document.Zone = p.TimeZone
	v.document.AsOf = momentOf(v.now.In(v.asker.Zone()))
	v.document.Bar = v.bar(&kpi.Meta{Filter: p.Filter})
	t := v.tableOf(&a, "problems", "Input problems")
	t.Help = "Rejected reports do not count. Those with a warning do, but something in them was not understood. Of refused requests nothing was looked at."
	t.text(v, &a, "Problem", "kind").text(v, &a, "Project", "project").text(v, &a, "Template", "template").
		text(v, &a, "Sent", "value").text(v, &a, "What to do", "remedy").text(v, &a, "From", "sender")
	t.Columns = append(t.Columns, heading{Title: "Count", Number: true, Sort: v.sorting(t, &a, "count", true)},
		heading{Title: "Last seen", Sort: v.sorting(t, &a, "last", true)})
	for i := range p.Items {
		one := &p.Items[i]
		t.Rows = append(t.Rows, []cell{
			{Status: &status{string(one.Kind), string(one.Kind)}, Under: reasonOf(one)}, {Name: &name{Text: one.Project}}, {Name: &name{Text: one.Template}},
			{Name: &name{Text: one.Value}}, {Name: &name{Text: one.Remedy, Long: true}}, {Name: &name{Text: one.Sender}},
			{Number: new(whole64(one.Count, item(i)+".count"))},
			{Moment: momentOf(one.Last)},
		})
	}
	t.Empty = "Nothing was wrong with reports lately."
	t.pages(v, &a, p.Total, len(p.Items))
	return nil
}

// reasonOf is what was wrong with which field of a report.
func reasonOf(p *problems.Problem) string {
	reason := strings.ReplaceAll(string(p.Reason), "_", " ")
	if p.Field == "" {
		return reason
	}
	return p.Field + ": " + reason
}
