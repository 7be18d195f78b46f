package kpi

import (
	"context"
	"math"
	"time"
)

// A Verdict is what the difference between a period and the period before means.
type Verdict string

// The verdicts. A difference is better or worse only if it is too large for chance and large
// enough to matter; otherwise it is no change.
const (
	Better   Verdict = "better"
	Worse    Verdict = "worse"
	NoChange Verdict = "no_change"
)

// MarshalJSON writes an empty verdict as null.
func (v Verdict) MarshalJSON() ([]byte, error) {
	if v == "" {
		return []byte("null"), nil
	}
	return []byte(`"` + v + `"`), nil
}

// Verdicts has a verdict for each number of [Stats] for which more, or less, is better. It is empty
// where there is nothing to compare: one of the periods has no such number or both have 0, the
// period before is not recorded, or the query filters by status (of failed jobs alone, more projects
// are not better).
type Verdicts struct {
	SuccessRate Verdict `json:"success_rate"`
	Projects    Verdict `json:"projects"`
	HoursLost   Verdict `json:"hours_lost"`
	Flaky       Verdict `json:"flaky"`
	P50         Verdict `json:"p50_seconds"`
	P95         Verdict `json:"p95_seconds"`
}

// RecordedSince returns the time since when jobs are recorded: when the ledger was made, or when
// its first job finished if that was earlier and the job is still kept.
func (a *Asker) RecordedSince(ctx context.Context) (time.Time, error) {
	since := a.ledger.Created()
	first, err := a.ledger.Jobs(ctx, []int64{1})
	if len(first) > 0 && first[0].Job.Finished.Before(since) {
		since = first[0].Job.Finished
	}
	return since.In(a.Zone()), err
}

// comparable reports whether the period before p is recorded, but for a twentieth of it. If the
// first jobs came in the middle of it, every number would seem to grow.
func (p Period) comparable(since time.Time) bool {
	const part = 20
	return !since.After(p.Previous().From.Add(p.To.Sub(p.From) / part))
}

// compare compares two periods.
func (s *Scan) compare(current, previous Stats) Compared {
	c := Compared{Current: current, Previous: previous}
	if !s.comparable || previous.Jobs == 0 {
		return c
	}
	c.Verdicts = Verdicts{
		SuccessRate: c.rateVerdict(),
		Projects:    c.ratioVerdict(moreIsBetter, float64(current.Projects), float64(previous.Projects), c.projectsDiffer),
		HoursLost:   c.ratioVerdict(lessIsBetter, current.HoursLost, previous.HoursLost, c.lossesDiffer),
		Flaky:       c.ratioVerdict(lessIsBetter, float64(current.Flaky), float64(previous.Flaky), c.flakyDiffer),
		P50:         c.durationVerdict(current.Durations.P50, previous.Durations.P50),
		P95:         c.durationVerdict(current.Durations.P95, previous.Durations.P95),
	}
	return c
}

const (
	moreIsBetter = 1
	lessIsBetter = -1
)

// verdict returns the verdict on a number that changed by the given amount.
func verdict(better int, by float64, differs bool) Verdict {
	switch {
	case !differs || by == 0:
		return NoChange
	case (by > 0) == (better == moreIsBetter):
		return Better
	}
	return Worse
}

// ratioVerdict is for a number that is compared by its ratio to the number before. differs reports
// whether a change by the given share is more than chance.
func (c *Compared) ratioVerdict(better int, current, previous float64, differs func(by float64) bool) Verdict {
	if previous == 0 {
		return ""
	}
	by := current/previous - 1
	return verdict(better, by, differs(by))
}

func (c *Compared) durationVerdict(current, previous *float64) Verdict {
	if current == nil || previous == nil {
		return ""
	}
	return c.ratioVerdict(lessIsBetter, *current, *previous, c.durationsDiffer)
}

func (c *Compared) rateVerdict() Verdict {
	current, previous := c.Current.SuccessRate, c.Previous.SuccessRate
	if current == nil || previous == nil || *current == 0 && *previous == 0 {
		return ""
	}
	by := *current - *previous
	return verdict(moreIsBetter, by, c.ratesDiffer(by))
}

// deviations is the number of standard deviations by which chance hardly ever separates two
// numbers.
const deviations = 2.5

// ratesDiffer compares two shares of successful jobs by the test of two proportions.
func (c *Compared) ratesDiffer(by float64) bool {
	successes, all := float64(c.Current.Statuses.Success), ended(&c.Current)
	successesBefore, allBefore := float64(c.Previous.Statuses.Success), ended(&c.Previous)
	if all == 0 || allBefore == 0 {
		return false
	}
	p := (successes + successesBefore) / (all + allBefore)
	return math.Abs(by) >= max(0.005, deviations*math.Sqrt(p*(1-p)*(1/all+1/allBefore)))
}

// ended is the number of jobs that the success rate is about.
func ended(s *Stats) float64 {
	return float64(s.Statuses.Success + s.Statuses.Failed + s.Statuses.TimedOut)
}

// lossesDiffer judges the hours lost by the number of failures, which shows how much is chance.
// Fewer lost hours are no improvement if only fewer jobs ran: the hours per job must change in the
// same direction.
func (c *Compared) lossesDiffer(by float64) bool {
	failures := func(s *Stats) int64 { return s.Statuses.Failed + s.Statuses.TimedOut }
	perJob := c.Current.HoursLost*float64(c.Previous.Jobs) - c.Previous.HoursLost*float64(c.Current.Jobs)
	return math.Abs(by) >= 0.1 && perJob*by > 0 && countsDiffer(failures(&c.Current), failures(&c.Previous))
}

func (c *Compared) flakyDiffer(by float64) bool {
	return math.Abs(by) >= 0.1 && countsDiffer(c.Current.Flaky, c.Previous.Flaky)
}

// projectsDiffer treats the projects of the two periods as different ones, though most are the
// same. So it finds too few changes, not too many.
func (c *Compared) projectsDiffer(by float64) bool {
	return math.Abs(by) >= 0.1 && countsDiffer(int64(c.Current.Projects), int64(c.Previous.Projects))
}

// countsDiffer reports whether two counts of independent events differ by more than chance.
func countsDiffer(a, b int64) bool {
	return math.Abs(float64(a-b)) >= deviations*math.Sqrt(float64(a+b))
}

// durationsDiffer is for quantiles. The p95 of n log-normal durations with the deviation s has a
// standard error of 2.1 s / sqrt(n), the median a smaller one (the standard error of a quantile is
// sqrt(q(1-q)/n) / density). Each quantile is also off by up to half a bucket. Projects that run
// more or fewer jobs than before add to that, so the test takes one more deviation than the others.
func (c *Compared) durationsDiffer(by float64) bool {
	const (
		enough = 30   // jobs
		noise  = 2.11 // sqrt(0.95 * 0.05) / the normal density at p95
		bucket = 0.087
	)
	n, before := float64(c.Current.Durations.Jobs), float64(c.Previous.Durations.Jobs)
	if min(n, before) < enough || by <= -1 {
		return false
	}
	s := max(spread(&c.Current.Durations), spread(&c.Previous.Durations))
	return math.Abs(math.Log1p(by)) >= max(0.1, (deviations+1)*noise*s*math.Sqrt(1/n+1/before)+bucket)
}

// spread is the standard deviation of the logarithm of durations, from their median and p95.
func spread(d *Durations) float64 {
	const p95 = 1.645 // standard deviations above the median
	if d.P50 == nil || d.P95 == nil || *d.P50 <= 0 || *d.P95 <= 0 {
		return 1
	}
	return max(math.Log(*d.P95 / *d.P50)/p95, 0.1)
}
