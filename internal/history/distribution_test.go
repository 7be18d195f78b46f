package history_test

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ci-jobs-metrics/internal/history"
	"ci-jobs-metrics/internal/job"
)

func TestEnds(t *testing.T) {
	ends := func(more float64) func(*testing.T, history.Shape, jobs) {
		return func(t *testing.T, _ history.Shape, all jobs) {
			between(t, "success", all.in(job.Success).share(all), 0.87-more, 0.89)
			between(t, "failed", all.in(job.Failed).share(all), 0.074, 0.086+more)
			between(t, "canceled", all.in(job.Canceled).share(all), 0.0155, 0.022)
			between(t, "skipped", all.in(job.Skipped).share(all), 0.0037, 0.0062)
			between(t, "timedout", all.in(job.TimedOut).share(all), 0.0055, 0.0082)
			between(t, "unknown", all.in(job.Unknown).share(all), 0.0062, 0.0093)
			untimed := all.where(func(j *job.Job) bool { return !j.Timed })
			between(t, "without a duration", untimed.share(all), 0.0084, 0.0116)
		}
	}
	companies(t, false, ends(0))
	t.Run("planted", func(t *testing.T) { companies(t, true, ends(0.02)) })
}

// Weekdays from 9 to 18 h are busy; at night there are schedules, at full hours.
func TestRhythm(t *testing.T) {
	companies(t, false, func(t *testing.T, _ history.Shape, all jobs) {
		rate := map[string]float64{} // jobs in an hour
		for _, j := range all {
			part, hours := partOf(j.Finished)
			rate[part] += 1 / hours
		}
		between(t, "nights against busy hours", rate["night"]/rate["busy"], 0.01, 0.1)
		between(t, "early hours against busy hours", rate["early"]/rate["busy"], 0.05, 0.2)
		between(t, "weekends against busy hours", rate["weekend"]/rate["busy"], 0.03, 0.15)

		scheduled := all.where(func(j *job.Job) bool { return j.Source == "schedule" })
		between(t, "schedules", scheduled.share(all), 0.03, 0.08)
		between(t, "projects with schedules", float64(len(scheduled.by(byProject)))/200, 0.2, 67.0/200)
		for number, jobs := range scheduled.by(func(j *job.Job) string { return j.Pipeline }) {
			at := begin(jobs)
			if late := at.Sub(at.Truncate(time.Hour)); !at.IsZero() && (at.Hour() < 1 || at.Hour() > 4 || late > 7*time.Minute) {
				t.Errorf("the scheduled pipeline %s starts at %s", number, at)
			}
		}
	})
}

// begin is when the first stage started, of which all have an early one; zero if none of
// its jobs tells.
func begin(pipeline jobs) (first time.Time) {
	early := pipeline.where(func(j *job.Job) bool { return j.Timed && (j.Stage == "prepare" || j.Stage == "build") })
	for _, j := range early {
		if first.IsZero() || j.Started.Before(first) {
			first = j.Started
		}
	}
	return first
}

// partOf is which part of a week a moment is in, and how many of its hours are in the 90
// days of the history, about.
func partOf(at time.Time) (part string, hours float64) {
	const weeks = 90.0 / 7
	h := at.UTC().Hour()
	switch weekday := at.UTC().Weekday(); {
	case h >= 1 && h < 5:
		return "early", weeks * 7 * 4
	case weekday == time.Saturday || weekday == time.Sunday:
		return "weekend", weeks * 2 * 20
	case h >= 9 && h < 18:
		return "busy", weeks * 5 * 9
	case h >= 22 || h < 1:
		return "night", weeks * 5 * 3
	default:
		return "rest", weeks * 5 * 8
	}
}

// The rhythm is that of UTC hours also if the history ends at another minute, and
// doesn't turn with the zone that its end is written in.
func TestRhythmIsUTC(t *testing.T) {
	s := history.Demo(end.Add(5*time.Hour + 31*time.Minute).In(time.FixedZone("", 9*3600)))
	all := collect(s)
	busy := all.where(func(j *job.Job) bool { h := j.Finished.UTC().Hour(); return h >= 9 && h < 18 })
	between(t, "from 9 to 18 h UTC", busy.share(all), 0.7, 0.85)
}

func TestSizes(t *testing.T) {
	companies(t, false, func(t *testing.T, s history.Shape, all jobs) {
		templates, projects := all.by(byTemplate), all.by(byProject)
		if len(templates) != s.Templates || len(projects) != s.Projects {
			t.Errorf("%d templates and %d projects", len(templates), len(projects))
		}
		for _, rank := range []int{4, 9, 19} {
			between(t, "power of templates' ranks", power(templates, rank), 0.35, 1.1)
		}
		for _, rank := range []int{9, 49, 99} {
			between(t, "power of projects' ranks", power(projects, rank), 0.6, 1)
		}
		for _, path := range largest(projects)[:20] {
			early, late := projects[path].until(45).by(byTemplate), projects[path].since(45).by(byTemplate)
			between(t, "templates of "+path, float64(len(early)), 5, 15)
			if len(early) != len(late) {
				t.Errorf("%s had %d templates, later %d", path, len(early), len(late))
			}
		}
	})
}

// power is of the rank, from 0 on, by which the size falls from the largest to it.
func power(groups map[string]jobs, rank int) float64 {
	keys := largest(groups)
	return math.Log(float64(len(groups[keys[0]]))/float64(len(groups[keys[rank]]))) / math.Log(float64(rank+1))
}

func TestLargeCompany(t *testing.T) {
	s := history.Bench(end)
	s.Jobs, s.Planted = 50_000, false
	all := collect(s)
	templates, projects := all.by(byTemplate), all.by(byProject)
	if len(templates) != 100 || len(projects) < 950 { // the smallest have a few jobs
		t.Errorf("%d templates and %d projects", len(templates), len(projects))
	}
	between(t, "power of templates' ranks", power(templates, 99), 0.8, 1.4)
	between(t, "failed", all.in(job.Failed).share(all), 0.074, 0.086)
}

func TestDurations(t *testing.T) {
	companies(t, false, func(t *testing.T, _ history.Shape, all jobs) {
		least, most := math.Inf(1), 0.0
		for name, runs := range all.by(byTemplate) {
			good := runs.in(job.Success)
			median := good.quantile(0.5)
			least, most = min(least, median), max(most, median)
			// One standard deviation of a log-normal one is as far up as down, as a factor.
			up, down := good.quantile(0.84)/median, median/good.quantile(0.16)
			between(t, name+": 84th percentile", up, 1.2, 1.75)
			between(t, name+": skew", up/down, 0.85, 1.2)
			between(t, name+": failed runs", runs.in(job.Failed).quantile(0.5)/median, 0.35, 0.75)
			if out := runs.in(job.TimedOut); len(out) > 0 {
				timeout := out.quantile(0)
				between(t, name+": timeout", timeout/median, 5, 40)
				between(t, name+": over the timeout", out.quantile(1)-timeout, 0, 5)
				between(t, name+": longest", good.quantile(1), 0, timeout)
			}
		}
		between(t, "fastest template", least, 8, 13)
		between(t, "slowest template", most, 25*60, 35*60)
		between(t, "paces of projects", paces(all), 0.07, 0.25)
	})
}

// paces is the standard deviation of the logarithm of projects' medians around their
// templates'.
func paces(all jobs) float64 {
	sum, n := 0.0, 0.0
	for _, runs := range all.in(job.Success).by(byTemplate) {
		for _, own := range runs.by(byProject) {
			if len(own) >= 100 {
				sum += math.Pow(math.Log(own.quantile(0.5)/runs.quantile(0.5)), 2)
				n++
			}
		}
	}
	return math.Sqrt(sum / n)
}

func TestReceipt(t *testing.T) {
	s := history.Demo(end)
	var delays []float64 // seconds
	late := 0
	for _, e := range entries(s) {
		delay := e.Received.Sub(e.Job.Finished)
		switch {
		case delay >= time.Hour && delay <= 12*time.Hour+time.Minute:
			late++
		case delay >= 200*time.Millisecond && delay <= 20*time.Second:
			delays = append(delays, delay.Seconds())
		default:
			t.Fatalf("received %s after its end: %+v", delay, e)
		}
	}
	slices.Sort(delays)
	between(t, "median delay", delays[len(delays)/2], 0.5, 1.2)
	between(t, "late", float64(late)/float64(s.Jobs), 0.0006, 0.0014)
}

func TestRetries(t *testing.T) {
	companies(t, false, func(t *testing.T, _ history.Shape, all jobs) {
		pairs := all.reruns()
		mended := 0
		for _, p := range pairs {
			if wait := p.again.Started.Sub(p.first.Finished); p.first.Status != job.Failed ||
				p.again.Timed && (wait < time.Minute || wait > 2*time.Hour) || p.again.Pipeline != p.first.Pipeline ||
				numberOf(t, p.again) <= numberOf(t, p.first) {
				t.Fatalf("run again:\n%+v\n%+v", p.first, p.again)
			}
			if p.again.Status == job.Success {
				mended++
			}
		}
		between(t, "failures that run again", float64(len(pairs))/float64(len(all.in(job.Failed))), 0.08, 0.12)
		between(t, "successful when run again", float64(mended)/float64(len(pairs)), 0.13, 0.28)
	})
}

// A new version of a template is in all projects a few days after the first had it.
func TestReleases(t *testing.T) {
	companies(t, false, func(t *testing.T, _ history.Shape, all jobs) {
		versions := 0
		for name, runs := range all.by(byTemplate) {
			first := map[string]time.Time{}
			latest := ""
			for _, j := range runs {
				v, at := j.Version, j.Finished
				if first[v].IsZero() {
					first[v], latest = at, v
				}
				if v != latest && at.Sub(first[latest]) > 6*days {
					t.Errorf("%s: %s still in use on %s, %s since %s", name, v, at, latest, first[latest])
				}
			}
			versions += len(first)
		}
		between(t, "versions", float64(versions)/20, 2.5, 6)
	})
}

// forms are what fields look like.
var forms = []struct {
	field string
	of    func(j *job.Job) string
	form  string
}{
	{"name", byTemplate, `[a-z0-9]+(_[a-z0-9]+)+`},
	{"project", byProject, `[a-z-]+(/[a-z0-9-]+){1,3}`},
	{"version", func(j *job.Job) string { return j.Version }, `[1-9]\d*\.\d+\.\d+`},
	{"sha", func(j *job.Job) string { return j.SHA }, `[0-9a-f]{40}`},
	{"stage", func(j *job.Job) string { return j.Stage }, `prepare|build|test|scan|package|deploy`},
	{"source", func(j *job.Job) string { return j.Source }, `push|merge_request_event|schedule`},
	{"ref", func(j *job.Job) string { return j.Ref }, `main|[a-z]+/[a-z0-9-]+`},
	{"runner", func(j *job.Job) string { return j.Runner }, `k8s-[a-z0-9-]+`},
	{"job", func(j *job.Job) string { return j.Job }, `[a-z0-9_-]+( [1-5]/[2-5]|: \[linux, (amd|arm)64\])?`},
}

func TestFields(t *testing.T) {
	companies(t, false, func(t *testing.T, _ history.Shape, all jobs) {
		for _, f := range forms {
			form := regexp.MustCompile(`^(` + f.form + `)$`)
			for value := range all.by(f.of) {
				if !form.MatchString(value) {
					t.Errorf("%s %q", f.field, value)
				}
			}
		}
		main := all.where(func(j *job.Job) bool { return j.Ref == "main" })
		between(t, "on main", main.share(all), 0.6, 0.8)
		parallel := all.where(func(j *job.Job) bool { return strings.Contains(j.Job, "/") })
		matrix := all.where(func(j *job.Job) bool { return strings.Contains(j.Job, ": [") })
		between(t, "parallel jobs", parallel.share(all), 0.02, 0.25)
		between(t, "jobs of a matrix", matrix.share(all), 0.01, 0.2)
		nested := all.where(func(j *job.Job) bool { return strings.Count(j.Project, "/") > 1 })
		between(t, "in nested groups", nested.share(all), 0.2, 0.7)
	})
}
