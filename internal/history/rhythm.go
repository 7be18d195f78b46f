package history

import (
	"math"
	"math/rand/v2"
	"time"
)

// What is started in each hour of a day, UTC, against the busiest hour of a weekday.
var (
	byPeople = [24]float64{
		0.02, 0.02, 0.02, 0.02, 0.02, 0.04, 0.12, 0.35, 0.75, 1, 1.1, 1.05,
		0.8, 0.95, 1.1, 1.05, 0.95, 0.75, 0.4, 0.2, 0.15, 0.1, 0.06, 0.04,
	}
	bySchedule = [24]float64{1: 0.08, 2: 0.2, 3: 0.12, 4: 0.06} // every day
)

const (
	weekend = 0.1  // of what people start on a weekday
	unrest  = 0.12 // standard deviation of an hour's logarithm around the rhythm
)

// An hour is a part of a history: one hour of the clock; the last one is longer.
type hour struct {
	from, to  time.Duration
	jobs      int     // how many its pipelines have
	scheduled float64 // share of its pipelines that schedules start
}

// hours divide the history, and its jobs over them. What doesn't make a full hour at the
// end is part of the last one, which so has room for jobs to end in.
func (w *world) hours() []hour {
	r := rand.New(rand.NewPCG(w.shape.Seed, 2))
	n := max(int(w.span/time.Hour), 1)
	made, weights := make([]hour, n), make([]float64, n)
	total := 0.0
	for i := range made {
		h := &made[i]
		h.from, h.to = time.Duration(i)*time.Hour, time.Duration(i+1)*time.Hour
		weights[i], h.scheduled = pace(w.begin.Add(h.from))
		if i == n-1 {
			h.to = w.span
			weights[i] *= (h.to - h.from).Hours()
		}
		weights[i] *= math.Exp(unrest*r.NormFloat64()) * w.activity(h.from)
		total += weights[i]
	}
	share(made, weights, total, w.shape.Jobs)
	return made
}

// pace is how much is started in the hour that begins at t, and which share of it by
// schedules.
func pace(t time.Time) (weight, scheduled float64) {
	people, schedules := byPeople[t.Hour()], bySchedule[t.Hour()]
	if d := t.Weekday(); d == time.Saturday || d == time.Sunday {
		people *= weekend
	}
	return people + schedules, schedules / (people + schedules)
}

// share divides the jobs by weight, so that none is left. Rounding the running sum
// instead of each part does so.
func share(hours []hour, weights []float64, total float64, jobs int) {
	sum, before := 0.0, 0
	for i, weight := range weights {
		sum += weight
		upTo := int(math.Round(float64(jobs) * sum / total))
		hours[i].jobs = upTo - before
		before = upTo
	}
}
