package page

import (
	"context"
	"strings"
	"time"

	"ci-jobs-metrics/internal/kpi"
)

// templateRows adds a table of templates.
func (v *request) templateRows(ctx context.Context, id, title string, measures ...*measure) (*kpi.Meta, error) {
	p, a, err := answer(v, "templates", func(a asked) (*kpi.Page[kpi.TemplateRow], error) {
		return v.asker.Templates(ctx, a.Query, a.Cut)
	})
	if err != nil {
		return nil, err
	}
	t := v.tableOf(&a, id, title).text(v, &a, "Template", "template").measures(v, &a, measures...).trend(&p.Period)
	for i := range p.Items {
		r := &p.Items[i]
		row := append([]cell{v.named("template", r.Template)}, v.cells(item(i), &r.Compared, measures...)...)
		t.Rows = append(t.Rows, append(row, trendCells(&p.Period, r.Trend)...))
	}
	t.Empty = "No template was used."
	t.pages(v, &a, p.Total, len(p.Items))
	return &p.Meta, nil
}

// projectRows adds a table of projects.
func (v *request) projectRows(ctx context.Context, id, title string, measures ...*measure) (*kpi.Meta, error) {
	p, a, err := answer(v, "projects", func(a asked) (*kpi.Page[kpi.ProjectRow], error) {
		return v.asker.Projects(ctx, a.Query, a.Cut)
	})
	if err != nil {
		return nil, err
	}
	t := v.tableOf(&a, id, title).text(v, &a, "Project", "project").measures(v, &a, measures...).
		column("Last job", false).trend(&p.Period)
	for i := range p.Items {
		r := &p.Items[i]
		row := append([]cell{v.named("project", r.Project)}, v.cells(item(i), &r.Compared, measures...)...)
		t.Rows = append(t.Rows, append(append(row, dayCell(r.LastDay)), trendCells(&p.Period, r.Trend)...))
	}
	t.Empty = "No project had a job."
	t.pages(v, &a, p.Total, len(p.Items))
	return &p.Meta, nil
}

// versionRows adds the table of a template's versions.
func (v *request) versionRows(ctx context.Context, measures ...*measure) error {
	p, a, err := answer(v, "versions", func(a asked) (*kpi.Page[kpi.VersionRow], error) {
		return v.asker.Versions(ctx, a.Query, a.Cut)
	})
	if err != nil {
		return err
	}
	t := v.tableOf(&a, "versions", "Versions in use").text(v, &a, "Version", "version")
	t.Columns = append(t.Columns, heading{Title: "Share", Help: "of the jobs", Number: true, Sort: v.sorting(t, &a, "share", true)})
	t.measures(v, &a, measures...).column("First job", false).column("Last job", false).trend(&p.Period)
	for i := range p.Items {
		r := &p.Items[i]
		part := number{Text: none, Of: item(i) + ".share"}
		if r.Share != nil {
			part.Text, part.Unit, part.Value = share(*r.Share), percent, raw(*r.Share)
		}
		only := v.address.with("version", string(kpi.Exactly(r.Version)))
		if r.Version == "" { // a value that is empty is one too
			only.values["version"] = []string{""}
		}
		row := append([]cell{{Name: &name{Text: r.Version, Link: only.fromStart().String()}}, {Number: &part}}, v.cells(item(i), &r.Compared, measures...)...)
		t.Rows = append(t.Rows, append(append(row, dayCell(r.FirstDay), dayCell(r.LastDay)), trendCells(&p.Period, r.Trend)...))
	}
	t.Empty = "No version was used."
	t.pages(v, &a, p.Total, len(p.Items))
	return nil
}

// failureRows adds a table of the last failures. of is what they are not all of already:
// template or project.
func (v *request) failureRows(ctx context.Context, of string) error {
	p, a, err := answer(v, "failures", func(a asked) (*kpi.Page[kpi.FailedJob], error) {
		return v.asker.Failures(ctx, a.Query, a.Cut)
	})
	if err != nil {
		return err
	}
	t := v.tableOf(&a, "failures", "Last failures").column("Finished", false).column("Job", false).
		column(strings.ToUpper(of[:1])+of[1:], false).column("Version", false).column("Status", false).column("Took", true).column("Ref", false)
	for i := range p.Items {
		f := &p.Items[i]
		who := v.named("project", f.Project)
		if of == "template" {
			who = v.named("template", f.Template)
		}
		took := number{Text: none, Of: item(i) + ".duration_seconds"}
		if f.Duration != nil {
			took.Text, took.Value = seconds(*f.Duration), raw(*f.Duration)
		}
		t.Rows = append(t.Rows, []cell{
			{Moment: momentOf(f.Finished)}, {Name: jobName(f)}, who, {Name: &name{Text: f.Version}}, {Status: &status{string(f.Status), statusWord(f.Status)}}, {Number: &took}, {Name: &name{Text: f.Ref}},
		})
	}
	t.Empty = "No job failed or timed out."
	if len(p.Items) == 0 && p.Total > 0 {
		t.Empty = "These jobs are past the time that single jobs are kept (--ledger.retention)."
	}
	t.pages(v, &a, p.Total, len(p.Items))
	return nil
}

// jobName leads to a job, through /jobs where it has an id: that writes the address as
// browsers take it.
func jobName(f *kpi.FailedJob) *name {
	n := &name{Text: f.Job, Outside: true}
	if n.Text == "" {
		n.Text = f.Template
	}
	switch {
	case f.URL == "":
	case f.ID != "":
		n.Link = address{"/jobs", map[string][]string{"id": {f.ID}}}.String()
	case strings.HasPrefix(f.URL, "http://"), strings.HasPrefix(f.URL, "https://"):
		n.Link = f.URL
	}
	return n
}

// named leads to the page of a template or project.
func (v *request) named(kind, text string) cell {
	to := v.address.to("/" + kind)
	to.values.Set("name", text)
	return cell{Name: &name{Text: text, Link: to.String()}}
}

func dayCell(date string) cell {
	t, err := time.Parse(time.DateOnly, date)
	if err != nil { // empty: no job
		return cell{Text: none}
	}
	return cell{Moment: &moment{t.Format(toDay), date}}
}

// trendCells is a row's jobs by day, where the table has a column of them.
func trendCells(p *kpi.Period, days []int64) []cell {
	if length(*p) < leastSpark*24*time.Hour {
		return nil
	}
	return []cell{{Spark: trend(days, !p.From.Equal(midnight(p.From)), !p.To.Equal(midnight(p.To)))}}
}
