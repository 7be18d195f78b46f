package history_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"ci-jobs-metrics/internal/history"
	"ci-jobs-metrics/internal/job"
)

// cast is how many stories there are of each kind.
var cast = map[string]int{
	history.Slower: 1, history.Failing: 1, history.Flaky: 1, history.Costly: 1, history.Rollout: 1,
	history.Outdated: 3, history.Fading: 1, history.Stopped: 2,
}

func TestPlants(t *testing.T) {
	about := map[string]bool{} // stories of the seeds
	for seed := range uint64(20) {
		s := history.Demo(end)
		s.Seed = seed
		kinds, templates := map[string]int{}, map[string]string{}
		for _, p := range s.Plants() {
			kinds[p.Kind]++
			if p.Kind != history.Outdated && p.Template != "" {
				if other := templates[p.Template]; other != "" {
					t.Errorf("seed %d: %s is %s and %s", seed, p.Template, other, p.Kind)
				}
				templates[p.Template] = p.Kind
			}
			about[p.Kind+p.Template] = true
			checkText(t, p)
		}
		if diff := gocmp.Diff(cast, kinds); diff != "" {
			t.Errorf("seed %d: %s", seed, diff)
		}
	}
	if len(about) < 20 {
		t.Errorf("the stories are nearly always about the same: %v", slices.Sorted(maps.Keys(about)))
	}
}

// checkText wants the story's subject and day in it.
func checkText(t *testing.T, p history.Plant) {
	t.Helper()
	for _, word := range []string{p.Template, p.Project, p.Since.Format(time.DateOnly)} {
		if !strings.Contains(p.Text, word) {
			t.Errorf("%s: no %q in %q", p.Kind, word, p.Text)
		}
	}
	if strings.Contains(p.Text, "%!") || p.Since.Location() != time.UTC {
		t.Errorf("%+v", p)
	}
}

func TestNoPlants(t *testing.T) {
	for name, change := range map[string]func(s *history.Shape){
		"not planted":   func(s *history.Shape) { s.Planted = false },
		"few templates": func(s *history.Shape) { s.Templates = 9 },
		"few projects":  func(s *history.Shape) { s.Projects = 19 },
	} {
		s := history.Demo(end)
		change(&s)
		if plants := s.Plants(); len(plants) > 0 {
			t.Errorf("%s: %v", name, plants)
		}
	}
}

// Every story is to be found in a history with stories, and none of them in that of the
// same company without.
func TestStories(t *testing.T) {
	companies(t, true, func(t *testing.T, s history.Shape, planted jobs) {
		s.Planted = false
		calm := collect(s)
		s.Planted = true
		for _, p := range s.Plants() {
			if sign := stories[p.Kind](planted, p); sign != "" {
				t.Errorf("%+v: %s", p, sign)
			}
			if sign := stories[p.Kind](calm, p); sign == "" {
				t.Errorf("%+v: also without stories", p)
			}
		}
	})
}

// stories say why a story is not to be found among jobs; empty if it is.
var stories = map[string]func(all jobs, p history.Plant) string{
	history.Slower: func(all jobs, p history.Plant) string {
		runs := all.template(p.Template).in(job.Success)
		return outside("durations", 1.4, 1.8,
			runs.since(20).quantile(0.5)/runs.until(20).quantile(0.5),
			runs.since(20).quantile(0.95)/runs.until(20).quantile(0.95))
	},
	history.Failing: func(all jobs, p history.Plant) string {
		early, late := all.template(p.Template).until(20), all.template(p.Template).since(20)
		return outside("success before", 0.93, 0.97, early.in(job.Success).share(early)) +
			outside("success since", 0.73, 0.86, late.in(job.Success).share(late))
	},
	history.Flaky: func(all jobs, p history.Plant) string {
		runs := all.template(p.Template)
		mended, failed := 0, runs.in(job.Failed)
		for _, pair := range runs.reruns() {
			if pair.again.Status == job.Success {
				mended++
			}
		}
		return outside("failed", 0.09, 0.15, failed.until(45).share(runs.until(45)), failed.since(45).share(runs.since(45))) +
			outside("mended", 0.75, 0.95, float64(mended)/float64(len(failed)))
	},
	history.Costly: func(all jobs, p history.Plant) string {
		lost, most := all.template(p.Template).in(job.Failed).hours(), 0.0
		for name, failed := range all.in(job.Failed).by(byTemplate) {
			if name != p.Template {
				most = max(most, failed.hours())
			}
		}
		return outside("time lost against the next", 2, 20, lost/most)
	},
	history.Rollout: func(all jobs, p history.Plant) string {
		runs := all.template(p.Template)
		taken := func(from, to int) float64 { // days before the end
			then := runs.since(from).until(to)
			return then.where(func(j *job.Job) bool { return j.Version == p.Version }).share(then)
		}
		return outside("before", 0, 0, taken(90, 45)) + outside("slow start", 0.001, 0.3, taken(45, 33)) +
			outside("midst", 0.2, 0.75, taken(30, 20)) + outside("end", 0.6, 0.97, taken(5, 0)) +
			outside("projects that took it", 0.78, 0.9, adopters(runs.since(20), p.Version))
	},
	history.Outdated: func(all jobs, p history.Plant) string {
		runs := all.template(p.Template)
		own := runs.project(p.Project).since(20)
		old := own.where(func(j *job.Job) bool { return j.Version == p.Version })
		others := runs.since(5).where(func(j *job.Job) bool { return j.Version == p.Version })
		return outside("jobs of the project", 1, 1e6, float64(len(own))) + outside("on the old version", 1, 1, old.share(own)) +
			outside("in all projects", 0.01, 0.4, others.share(runs.since(5)))
	},
	history.Fading: func(all jobs, p history.Plant) string {
		use := func(from, to int) float64 {
			then := all.since(from).until(to)
			return then.template(p.Template).share(then)
		}
		usual := use(90, 45)
		return outside("midst", 0.35, 0.75, use(30, 15)/usual) + outside("end", 0.03, 0.2, use(7, 0)/usual)
	},
	history.Stopped: func(all jobs, p history.Plant) string {
		own := all.project(p.Project)
		return outside("jobs before", 300, 5000, float64(len(own))) + outside("jobs since", 0, 0, float64(len(own.since(24))))
	},
}

// adopters is the share of projects that run a version.
func adopters(runs jobs, version string) float64 {
	projects, took := runs.by(byProject), 0
	for _, own := range projects {
		if own[len(own)-1].Version == version {
			took++
		}
	}
	return float64(took) / float64(len(projects))
}

// outside says which numbers are not within bounds.
func outside(what string, least, most float64, got ...float64) (sign string) {
	for _, n := range got {
		if !(n >= least && n <= most) {
			sign += fmt.Sprintf("%s: %.3f, want %g to %g; ", what, n, least, most)
		}
	}
	return sign
}

// There is no trend where none is planted.
func TestNoTrends(t *testing.T) {
	companies(t, false, func(t *testing.T, _ history.Shape, all jobs) { noTrends(t, all, nil) })
	t.Run("planted", func(t *testing.T) {
		companies(t, true, func(t *testing.T, s history.Shape, all jobs) { noTrends(t, all, s.Plants()) })
	})
}

func noTrends(t *testing.T, all jobs, but []history.Plant) {
	t.Helper()
	told := map[string]bool{}
	for _, p := range but {
		told[p.Template], told[p.Project] = true, true
	}
	early, late := all.until(20), all.since(20)
	for name, runs := range all.by(byTemplate) {
		if told[name] {
			continue
		}
		before, now := runs.until(20), runs.since(20)
		steady(t, name+": success", 1, now.in(job.Success), now, before.in(job.Success), before)
		steady(t, name+": use", 2, now, late, before, early)
		between(t, name+": durations", now.in(job.Success).quantile(0.5)/before.in(job.Success).quantile(0.5), 0.85, 1.18)
	}
	projects := all.by(byProject)
	for _, path := range largest(projects)[:30] {
		if !told[path] {
			steady(t, path, 8, projects[path].since(20), late, projects[path].until(20), early)
		}
	}
}

// What ends takes its jobs with it: nobody else has more of them.
func TestActivity(t *testing.T) {
	companies(t, true, func(t *testing.T, s history.Shape, all jobs) {
		gone := map[string]bool{}
		for _, p := range s.Plants() {
			if p.Kind == history.Fading || p.Kind == history.Stopped {
				gone[p.Template+p.Project] = true
			}
		}
		others := all.where(func(j *job.Job) bool { return !gone[j.Name] && !gone[j.Project] })
		before, now := others.since(84).until(56), others.since(28)
		between(t, "jobs of four weeks, at the end against before", now.share(before), 0.95, 1.06)
	})
}

// steady compares two shares, which may differ by five standard errors. Of jobs that come
// several together, as those of a pipeline do, there is as much chance in fewer.
func steady(t *testing.T, what string, together float64, part, of, partBefore, ofBefore jobs) {
	t.Helper()
	now, before := part.share(of), partBefore.share(ofBefore)
	p := (now + before) / 2
	limit := 5 * math.Sqrt(together*p*(1-p)*(1/float64(len(of))+1/float64(len(ofBefore))))
	between(t, what+": change", now-before, -limit, limit)
}
