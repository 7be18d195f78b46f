package findings

import (
	"fmt"
	"math"

	"ci-jobs-metrics/internal/significance"
)

// The least differences that are shown. docs/findings.md gives the reasons.
const (
	leastFall     = 0.03 // of the success rate
	leastSlowdown = 1.15 // of the p95
	leastLateness = 1.3  // of failed time or the failure rate, against other templates
	leastLost     = 0.02 // of all hours lost
	flakyLimit    = 0.02 // of successful jobs
)

func badOf(s *sums) (hits, of int64)   { return s.bad, s.ended }
func againOf(s *sums) (hits, of int64) { return s.again, s.succeeded }
func aboveOf(s *sums) (hits, of int64) { return s.above, s.okTimed }

func share(part, of int64) *float64 {
	if of == 0 {
		return nil
	}
	return new(float64(part) / float64(of))
}

// successFell tests whether a template succeeds less often than before in the same projects.
func (f *finder) successFell(t int) {
	before, after := f.ofTemplate(t, previous), f.ofTemplate(t, current)
	if min(before.ended, after.ended) < MinRuns {
		return
	}
	was, is := share(before.succeeded, before.ended), share(after.succeeded, after.ended)
	strata, _ := f.byProject(t, badOf)
	p := significance.Rose(strata, f.byDay(t, previous, badOf), f.byDay(t, current, badOf))
	f.test(p, *was-*is >= leastFall, func() Finding {
		per := float64(before.lost) / float64(before.ended)
		found := f.about(t, SuccessFell, SuccessShare, f.side(t, previous, was, before.ended), f.side(t, current, is, after.ended))
		found.Cost = f.hours(float64(after.lost) - per*float64(after.ended))
		found.Projects = f.named(t, func(p *pair) float64 {
			return float64(p.parts[current].lost) - per*float64(p.parts[current].ended)
		})
		found.Text = fmt.Sprintf("%s succeeds in %s of its runs instead of %s.", found.Template, percent(*is), percent(*was))
		return found
	})
}

// notSlower is the limit of templates that did not become slower by enough.
const notSlower = math.MaxInt

// limit is the bucket of a template's former p95, if the p95 rose by enough since.
func (f *finder) limit(t int) int {
	before, after := f.durations(t, previous), f.durations(t, current)
	was, _ := before.Quantile(0.95)
	is, _ := after.Quantile(0.95)
	if min(before.Count(), after.Count()) < MinRuns || is < was*leastSlowdown || is == was {
		return notSlower
	}
	rank, limit := uint64(math.Ceil(0.95*float64(before.Count()))), 0
	before.Each(func(index int, _ bool, n uint64) {
		if rank > 0 {
			limit = index
		}
		rank -= min(rank, n)
	})
	return limit
}

// slower tests whether more of a template's successful jobs take longer than 95 % of them
// did before, in the same projects.
func (f *finder) slower(t int) {
	before, after := f.durations(t, previous), f.durations(t, current)
	if min(before.Count(), after.Count()) < MinRuns {
		return
	}
	if f.limits[t] == notSlower {
		f.test(1, false, nil)
		return
	}
	was, is := quantile(before, 0.95), quantile(after, 0.95)
	strata, _ := f.byProject(t, aboveOf)
	above := f.usage.templates[t].above
	p := significance.Rose(strata, above[f.begin[previous]:f.begin[current]], above[f.begin[current]:f.end])
	f.test(p, true, func() Finding {
		found := f.about(t, Slower, P95, f.side(t, previous, was, int64(before.Count())), f.side(t, current, is, int64(after.Count()))) //nolint:gosec // jobs
		longer := 0.0
		for i := range f.usage.templates[t].pairs {
			longer += f.usage.templates[t].pairs[i].longer()
		}
		found.Cost = f.hours(longer)
		found.Projects = f.named(t, (*pair).longer)
		found.Text = fmt.Sprintf("%s takes up to %s instead of %s in 95 %% of its successful runs.", found.Template, seconds(*is), seconds(*was))
		return found
	})
}

// longer is how much longer all successful jobs of the current part took than if each had
// taken the mean of before, in microseconds.
func (p *pair) longer() float64 {
	before, after := &p.parts[previous], &p.parts[current]
	if before.okTimed == 0 {
		return 0
	}
	return float64(after.okMicros) - float64(before.okMicros)/float64(before.okTimed)*float64(after.okTimed)
}

// flaky tests whether too many of a template's successes came after a failure of the same commit.
func (f *finder) flaky(t int) {
	after := f.ofTemplate(t, current)
	if after.succeeded < MinRuns {
		return
	}
	is := share(after.again, after.succeeded)
	_, projects := f.byProject(t, againOf)
	p := significance.Exceeds(flakyLimit, f.byDay(t, current, againOf), projects)
	f.test(p, *is > flakyLimit, func() Finding {
		before := f.ofTemplate(t, previous)
		found := f.about(t, FlakyRuns, FlakyShare,
			f.side(t, previous, share(before.again, before.succeeded), before.succeeded), f.side(t, current, is, after.succeeded))
		found.Expected = flakyLimit
		found.Cost = f.hours(float64(after.wasted))
		found.Projects = f.named(t, func(p *pair) float64 { return float64(p.parts[current].wasted) })
		found.Text = fmt.Sprintf("%s of the successes of %s come after a failure of the same commit.", percent(*is), found.Template)
		return found
	})
}

// lostTime tests whether a template fails later than other templates, and whether it fails more
// often.
func (f *finder) lostTime(t int) {
	if f.late == nil {
		f.estimate()
	}
	f.standsOut(t, f.late, FailedTime, func(s *sums) float64 { return float64(s.failedMicros) },
		"The failed runs of %s take %s of what its successful ones do, where %s is usual.")
	f.standsOut(t, f.often, FailureRate, func(s *sums) float64 { return float64(s.lost) },
		"%s fails or times out in %s of its runs, where %s is usual.")
}

// estimate makes the estimates of all templates, which are compared with each other. One
// with too few runs that failed has no variance.
func (f *finder) estimate() {
	f.late, f.often = make([]significance.Estimate, len(f.templates)), make([]significance.Estimate, len(f.templates))
	for t := range f.templates {
		if all := f.ofTemplate(t, current); min(all.failedTimed, all.okTimed) >= MinRuns {
			f.late[t] = f.failedTime(t)
			f.often[t] = f.failureRate(t, &all)
		}
	}
}

func (f *finder) failedTime(t int) significance.Estimate {
	failed := f.logRatio(t, func(s *sums) (int64, int64) { return s.failedMicros, s.failedTimed })
	ok := f.logRatio(t, func(s *sums) (int64, int64) { return s.okMicros, s.okTimed })
	return significance.Estimate{Value: failed.Value - ok.Value, Variance: failed.Variance + ok.Variance}
}

func (f *finder) failureRate(t int, all *sums) significance.Estimate {
	e := f.logRatio(t, badOf)
	e.Variance = max(e.Variance, float64(all.succeeded)/float64(all.ended)/float64(all.bad)) // of independent jobs
	return e
}

// logRatio takes days or projects as independent of each other, whichever is less sure.
func (f *finder) logRatio(t int, of func(*sums) (num, den int64)) significance.Estimate {
	var days, projects []significance.Part
	part := func(num, den int64) significance.Part {
		return significance.Part{Num: float64(num), Den: float64(den)}
	}
	for day := f.begin[current]; day < f.end; day++ {
		days = append(days, part(of(&f.templates[t].days[day])))
	}
	for i := range f.usage.templates[t].pairs {
		projects = append(projects, part(of(&f.usage.templates[t].pairs[i].parts[current])))
	}
	e := significance.LogRatio(days)
	if p := significance.LogRatio(projects); len(projects) > 1 {
		e.Variance = max(e.Variance, p.Variance)
	}
	return e
}

// standsOut tests whether a template's estimate is an outlier. Its cost is the part above the usual
// value, of the microseconds that the estimate is about.
func (f *finder) standsOut(t int, of []significance.Estimate, measure Measure, micros func(*sums) float64, text string) {
	one, others := of[t], []significance.Estimate{}
	for i, e := range of {
		if i != t && known(e) {
			others = append(others, e)
		}
	}
	if !known(one) || len(others) < significance.MinOthers {
		return
	}
	p, log := significance.StandsOut(one, others)
	is, usual := math.Exp(one.Value), math.Exp(log)
	after, lost := f.ofTemplate(t, current), int64(0)
	for i := range f.templates {
		all := f.ofTemplate(i, current)
		lost += all.lost
	}
	cost := micros(&after) * (1 - usual/is)
	f.test(p, is >= leastLateness*usual && cost >= leastLost*float64(lost), func() Finding {
		before := f.ofTemplate(t, previous)
		found := f.about(t, LostTime, measure, f.side(t, previous, nil, before.ended), f.side(t, current, &is, after.ended))
		found.Before.Value = measured(measure, &before)
		found.Expected = usual
		found.Cost = f.hours(cost)
		found.Projects = f.named(t, func(p *pair) float64 { return micros(&p.parts[current]) })
		found.Text = fmt.Sprintf(text, found.Template, percent(is), percent(usual))
		return found
	})
}

func known(e significance.Estimate) bool { return e.Variance > 0 && !math.IsInf(e.Variance, 1) }

// measured is what a measure of lost time is for some jobs.
func measured(m Measure, s *sums) *float64 {
	if m == FailureRate {
		return share(s.bad, s.ended)
	}
	if s.failedTimed == 0 || s.okMicros == 0 {
		return nil
	}
	return new(float64(s.failedMicros) / float64(s.failedTimed) / float64(s.okMicros) * float64(s.okTimed))
}
