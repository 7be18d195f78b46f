package kpi_test

import (
	"cmp"
	"math"
	"slices"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/kpi"
)

func (r *recount) template(template string, q kpi.Query) *kpi.Template {
	q.Filter.Templates = []kpi.Pattern{exactly(template)}
	jobs := r.chosen(q.Filter)
	return &kpi.Template{
		Meta: r.meta(q), Template: template, Compared: r.compared(jobs, q),
		Series: r.points(jobs, q), Distribution: r.distribution(jobs, q),
	}
}

// exactly is the pattern of a text, with more backslashes than it needs.
func exactly(text string) (p kpi.Pattern) {
	for _, c := range text {
		p += `\` + kpi.Pattern(c)
	}
	return p
}

func (r *recount) distribution(jobs []*counted, q kpi.Query) (d kpi.Distribution) {
	var succeeded, lost []int64
	heat := [][]int64{}
	for _, p := range r.points(jobs, q) {
		var micros []int64
		for _, c := range in(jobs, p.From, p.To) {
			if !c.Job.Timed {
				continue
			}
			if len(q.Filter.Statuses) > 0 || c.is(job.Success) {
				micros = append(micros, c.micros())
			}
			switch {
			case c.is(job.Success):
				succeeded = append(succeeded, c.micros())
			case c.is(job.Failed, job.TimedOut):
				lost = append(lost, c.micros())
			}
		}
		heat = append(heat, micros)
	}
	d.Bounds = boundsOf(slices.Concat(append(heat, succeeded, lost)...))
	d.Success, d.Failed, d.Heat = into(d.Bounds, succeeded), into(d.Bounds, lost), [][]int64{}
	for _, micros := range heat {
		d.Heat = append(d.Heat, into(d.Bounds, micros))
	}
	return d
}

// boundsOf are those of the buckets that durations need, but for durations of 0, which go
// into the first whichever that is.
func boundsOf(micros []int64) (bounds []float64) {
	micros = slices.DeleteFunc(micros, func(us int64) bool { return us == 0 })
	if len(micros) == 0 {
		return []float64{1}
	}
	for i := -100; i < 100; i++ {
		below, bound := math.Exp2(float64(i-1)/2), math.Exp2(float64(i)/2)
		if float64(slices.Max(micros))/1e6 > below && float64(slices.Min(micros))/1e6 <= bound {
			bounds = append(bounds, bound)
		}
	}
	return bounds
}

func into(bounds []float64, micros []int64) []int64 {
	counts := make([]int64, len(bounds))
	for _, us := range micros {
		i := 0
		for float64(us)/1e6 > bounds[i] {
			i++
		}
		counts[i]++
	}
	return counts
}

func (r *recount) project(project string, q kpi.Query) *kpi.Project {
	q.Filter.Projects = nil
	all := r.chosen(q.Filter)
	q.Filter.Projects = []kpi.Pattern{exactly(project)}
	jobs := r.chosen(q.Filter)
	return &kpi.Project{
		Meta: r.meta(q), Project: project, Compared: r.compared(jobs, q),
		Series: r.points(jobs, q), Unused: unused(project, in(all, q.Period.From, q.Period.To)),
	}
}

func unused(project string, jobs []*counted) []kpi.Usage {
	usage := []kpi.Usage{}
	for template, of := range groupBy(jobs, func(c *counted) string { return c.Job.Name }) {
		projects := groupBy(of, func(c *counted) string { return c.Job.Project })
		if projects[project] == nil {
			usage = append(usage, kpi.Usage{Template: template, Projects: len(projects), Jobs: int64(len(of))})
		}
	}
	slices.SortFunc(usage, func(a, b kpi.Usage) int {
		return cmp.Or(b.Projects-a.Projects, int(b.Jobs-a.Jobs), cmp.Compare(a.Template, b.Template))
	})
	return usage[:min(len(usage), 100)]
}

func groupBy[K comparable](jobs []*counted, key func(*counted) K) map[K][]*counted {
	groups := map[K][]*counted{}
	for _, c := range jobs {
		groups[key(c)] = append(groups[key(c)], c)
	}
	return groups
}

// inEither are the jobs of a period or of the one before.
func inEither(jobs []*counted, p kpi.Period) []*counted {
	from, _ := previous(p)
	return in(jobs, from, p.To)
}

func (r *recount) trend(jobs []*counted, q kpi.Query) (trend []int64, first, last string) {
	jobs = in(jobs, q.Period.From, q.Period.To)
	for _, day := range r.days(q.Period) {
		n := len(ofDay(jobs, day))
		trend = append(trend, int64(n))
		if n > 0 {
			last = day.Format(time.DateOnly)
			first = cmp.Or(first, last)
		}
	}
	return trend, first, last
}

func (r *recount) failures(q kpi.Query, cut kpi.Cut) *kpi.Page[kpi.FailedJob] {
	var failures []*counted
	for _, c := range in(r.chosen(q.Filter), q.Period.From, q.Period.To) {
		if c.is(job.Failed, job.TimedOut) {
			failures = append(failures, c)
		}
	}
	// Of those whose rows are gone only the quarter of an hour is known, of which they
	// come last.
	slices.SortFunc(failures, func(a, b *counted) int {
		return cmp.Or(quarter(b.Job.Finished).Compare(quarter(a.Job.Finished)), cmp.Compare(r.missing(a), r.missing(b)),
			b.Job.Finished.Compare(a.Job.Finished), cmp.Compare(b.Seq, a.Seq))
	})
	page := &kpi.Page[kpi.FailedJob]{Meta: r.meta(q), Total: len(failures), Offset: cut.Offset, Items: []kpi.FailedJob{}}
	for _, c := range part(failures, cut) {
		if r.missing(c) == 0 {
			page.Items = append(page.Items, r.failedJob(c))
		}
	}
	return page
}

func (r *recount) missing(c *counted) int {
	if r.row(c.Seq) {
		return 0
	}
	return 1
}

func (r *recount) failedJob(c *counted) kpi.FailedJob {
	j := c.Job
	f := kpi.FailedJob{Number: c.Seq, ID: j.ID, Template: j.Name, Project: j.Project, Version: j.Version, Status: j.Status,
		Finished: j.Finished.In(r.zone), Job: j.Job, URL: j.URL, Stage: j.Stage, Ref: j.Ref, SHA: j.SHA,
		Pipeline: j.Pipeline, Runner: j.Runner, Source: j.Source}
	if j.Timed {
		f.Duration = new(float64(c.micros()) / 1e6)
	}
	return f
}

// part is the part of rows that a cut asks for.
func part[Row any](rows []Row, cut kpi.Cut) (part []Row) {
	for i, row := range rows {
		if i >= cut.Offset && (cut.Limit == 0 || i < max(cut.Offset, 0)+cut.Limit) {
			part = append(part, row)
		}
	}
	return part
}
