package history

import (
	"math"
	"math/rand/v2"
	"time"

	"ci-jobs-metrics/internal/job"
)

// Odds are how often runs end in each of job.Statuses but the first, success, which is
// the rest.
type odds [5]float64

// failedAt is where odds have failures.
const failedAt = 0

// failedOdds is how many first runs fail, over all templates. Retries, which mostly
// fail again, make 8 % of it.
const failedOdds = 0.075

func (o *odds) draw(r *rand.Rand) job.Status {
	x := r.Float64()
	for i, share := range o {
		if x < share {
			return job.Statuses[i+1]
		}
		x -= share
	}
	return job.Success
}

// A behavior is how runs of a template end.
type behavior struct {
	odds    odds
	pace    float64 // factor on all durations
	failing float64 // factor on those of failed runs, on average
	retried float64 // share of failed runs that are run again
	mended  float64 // share of those that succeed then
}

// failures say how much more than others the templates of a stage fail.
var failures = map[string]float64{
	"prepare": 0.5, "build": 0.9, "test": 1.4, "scan": 0.7, "package": 0.6, "deploy": 1.1,
}

// ordinary is how a template behaves of which there is nothing to tell. What fails is
// set right by settle, when all are known.
func ordinary(r *rand.Rand, stage string) behavior {
	failed := failedOdds * failures[stage] * math.Exp(0.2*r.NormFloat64())
	return behavior{
		odds: odds{failed, 0.02, 0.005, 0.007, 0.008},
		pace: 1, failing: 0.55, retried: 0.1, mended: 0.2,
	}
}

// timeouts are those that people choose from.
var timeouts = []time.Duration{5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour}

// timeoutFor leaves a run six times as long as it usually takes, at most three hours.
func timeoutFor(median time.Duration) time.Duration {
	for _, t := range timeouts {
		if t >= 6*median {
			return t
		}
	}
	return timeouts[len(timeouts)-1]
}

// duration is how long a run takes that ends in the given way, in whole microseconds.
func (u *use) duration(r *rand.Rand, b *behavior, end job.Status) time.Duration {
	t := u.template
	if end == job.TimedOut {
		return (t.timeout + time.Duration(r.Int64N(int64(5*time.Second)))).Truncate(time.Microsecond)
	}
	factor := b.pace * u.pace * math.Exp(t.spread*r.NormFloat64())
	switch end {
	case job.Failed:
		factor *= b.failing * (0.4 + 1.2*r.Float64())
	case job.Canceled, job.Unknown:
		factor *= r.Float64()
	default:
	}
	d := time.Duration(float64(t.median) * factor)
	return bounded(d, time.Second, t.timeout-time.Second).Truncate(time.Microsecond)
}

// stretch is d times e to the power of by.
func stretch(d time.Duration, by float64) time.Duration {
	return time.Duration(float64(d) * math.Exp(by))
}
