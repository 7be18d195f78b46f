package kpi_test

import (
	"math"
	"slices"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/ledger"
)

// A recount answers questions the naive way: it goes over all jobs that count, in the
// order of their numbers, and does to them what docs/kpi.md says. Nothing in it is the
// implementation's.
type recount struct {
	*calendar
	last int64 // number of the last job
	jobs []*counted
	// row says whether the row of a job is still there.
	row func(number int64) bool
}

// A counted is a job with what is said of it that does not depend on the question.
type counted struct {
	ledger.Row
	day    time.Time // see calendar
	again  bool      // it is a success that was another try,
	wasted int64     // and what the failures before it had taken, in microseconds
}

func (c *counted) micros() int64 { return c.Job.Duration.Microseconds() }

func (c *counted) is(statuses ...job.Status) bool { return slices.Contains(statuses, c.Job.Status) }

// look finds out whether a job is another try, from those before it.
func (c *counted) look(before []*counted) {
	if c.Job.SHA == "" || !c.is(job.Success) {
		return
	}
	after := c
	for i := len(before) - 1; i >= 0; i-- {
		b := before[i]
		if !sameWork(&b.Job, &c.Job) || !b.is(job.Success, job.Failed, job.TimedOut) {
			continue
		}
		apart := quarter(after.Job.Finished).Sub(quarter(b.Job.Finished)).Abs()
		if b.is(job.Success) || apart > 24*time.Hour {
			return
		}
		c.again = true
		if b.Job.Timed {
			c.wasted += b.micros()
		}
		after = b
	}
}

// sameWork is the same template, project, GitLab job name and commit.
func sameWork(a, b *job.Job) bool {
	name := func(j *job.Job) string {
		if j.Job == "" {
			return j.Name
		}
		return j.Job
	}
	return a.Name == b.Name && a.Project == b.Project && name(a) == name(b) && a.SHA == b.SHA
}

// chosen are the jobs that a filter lets through.
func (r *recount) chosen(f kpi.Filter) (chosen []*counted) {
	for _, c := range r.jobs {
		if anyOf(f.Templates, c.Job.Name) && anyOf(f.Projects, c.Job.Project) && anyOf(f.Versions, c.Job.Version) &&
			(len(f.Statuses) == 0 || slices.Contains(f.Statuses, c.Job.Status)) {
			chosen = append(chosen, c)
		}
	}
	return chosen
}

func in(jobs []*counted, from, to time.Time) (some []*counted) {
	for _, c := range jobs {
		if at := c.Job.Finished; !at.Before(from) && at.Before(to) {
			some = append(some, c)
		}
	}
	return some
}

func ofDay(jobs []*counted, day time.Time) (some []*counted) {
	for _, c := range jobs {
		if c.day.Equal(day) {
			some = append(some, c)
		}
	}
	return some
}

func previous(p kpi.Period) (from, to time.Time) { return p.From.Add(-p.To.Sub(p.From)), p.From }

func (r *recount) compared(jobs []*counted, q kpi.Query) kpi.Compared {
	from, to := previous(q.Period)
	return kpi.Compared{
		Current:  statsOf(in(jobs, q.Period.From, q.Period.To), q.Filter),
		Previous: statsOf(in(jobs, from, to), q.Filter),
	}
}

func statsOf(jobs []*counted, f kpi.Filter) (s kpi.Stats) {
	projects, templates := map[string]bool{}, map[string]bool{}
	var took, lost, wasted int64
	var observed []int64
	for _, c := range jobs {
		s.Jobs++
		*statusOf(&s.Statuses, c.Job.Status)++
		projects[c.Job.Project], templates[c.Job.Name] = true, true
		if c.again {
			s.Flaky++
			wasted += c.wasted
		}
		if !c.Job.Timed {
			continue
		}
		s.Timed++
		took += c.micros()
		if c.is(job.Failed, job.TimedOut) {
			lost += c.micros()
		}
		if len(f.Statuses) > 0 || c.is(job.Success) {
			observed = append(observed, c.micros())
		}
	}
	s.Projects, s.Templates = len(projects), len(templates)
	if all := s.Statuses.Success + s.Statuses.Failed + s.Statuses.TimedOut; all > 0 {
		s.SuccessRate = new(float64(s.Statuses.Success) / float64(all))
	}
	s.CIHours, s.HoursLost, s.FlakyHours = hours(took), hours(lost), hours(wasted)
	s.Durations = durationsOf(observed)
	return s
}

func statusOf(s *kpi.Statuses, status job.Status) *int64 {
	return map[job.Status]*int64{
		job.Success: &s.Success, job.Failed: &s.Failed, job.Canceled: &s.Canceled,
		job.Skipped: &s.Skipped, job.TimedOut: &s.TimedOut, job.Unknown: &s.Unknown,
	}[status]
}

func hours(micros int64) float64 { return float64(micros) / 3_600_000_000 }

func durationsOf(micros []int64) (d kpi.Durations) {
	if len(micros) == 0 {
		return d
	}
	slices.Sort(micros)
	sum := int64(0)
	for _, us := range micros {
		sum += us
	}
	n := len(micros)
	d.Jobs = int64(n)
	d.Mean = new(float64(sum) / 1e6 / float64(n))
	d.P50 = new(middle(micros[(50*n+99)/100-1]))
	d.P95 = new(middle(micros[(95*n+99)/100-1]))
	return d
}

// middle is what a quantile is answered as that is this duration: the geometric middle
// of its bucket.
func middle(micros int64) float64 {
	if micros == 0 {
		return 0
	}
	seconds := float64(micros) / 1e6
	m := math.Exp2((math.Ceil(8*math.Log2(seconds)) - 0.5) / 8)
	if off := max(m/seconds, seconds/m); off > math.Exp2(1./16)*(1+1e-12) {
		panic("a quantile that is too far off")
	}
	return m
}

// points are those of a series.
func (r *recount) points(jobs []*counted, q kpi.Query) (points []kpi.Point) {
	jobs = in(jobs, q.Period.From, q.Period.To)
	add := func(from, to time.Time, of []*counted) {
		points = append(points, kpi.Point{From: from.In(r.zone), To: to.In(r.zone), Stats: statsOf(of, q.Filter)})
	}
	if q.Interval == kpi.Hourly {
		for from := q.Period.From; from.Before(q.Period.To); from = from.Add(time.Hour) {
			to := from.Add(time.Hour)
			if q.Period.To.Before(to) {
				to = q.Period.To
			}
			add(from, to, in(jobs, from, to))
		}
		return points
	}
	for _, day := range r.days(q.Period) {
		from, to := r.start(day), r.start(next(day))
		if from.Before(q.Period.From) {
			from = q.Period.From
		}
		if to.After(q.Period.To) {
			to = q.Period.To
		}
		add(from, to, ofDay(jobs, day))
	}
	return points
}

func (r *recount) meta(q kpi.Query) (m kpi.Meta) {
	m.AsOf.Job = r.last
	from, to := previous(q.Period)
	m.TimeZone = r.zone.String()
	m.Period = kpi.Period{From: q.Period.From.In(r.zone), To: q.Period.To.In(r.zone)}
	m.Previous = kpi.Period{From: from.In(r.zone), To: to.In(r.zone)}
	m.Filter = q.Filter
	return m
}

func (r *recount) overview(q kpi.Query) *kpi.Overview {
	jobs := r.chosen(q.Filter)
	return &kpi.Overview{Meta: r.meta(q), Compared: r.compared(jobs, q), Series: r.points(jobs, q)}
}
