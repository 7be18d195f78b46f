// Package history makes up the CI jobs of a company: some months of them, so that a
// demonstration has something to show, a benchmark something to read, and a test
// something to find.
//
// A [Shape] says how much there is and until when. [Shape.Entries] yields the jobs as
// the receiver would have recorded them, in the order of their receipt; [Shape.Fill]
// records them in a ledger. The same shape makes the same jobs everywhere: all chance
// comes from its Seed, and the clock is never asked.
//
// What is assumed, with the numbers in docs/history.md:
//
//   - Sizes: the popularity of templates and the sizes of projects fall by a power of
//     their rank. A project uses 5 to 15 templates and keeps to them.
//   - Rhythm: weekdays from 9 to 18 h UTC are busy, nights and weekends are quiet but
//     for schedules at full hours in the night.
//   - Pipelines: one commit, in which each template of the project runs or not, stage
//     by stage. Every commit is built in one pipeline.
//   - Ends: 88 % success, 8 % failed, 2 % canceled, 0.5 % skipped, 0.7 % timedout and
//     0.8 % unknown, over all; templates fail more and less often.
//   - Durations: log-normal, around a median of the template's (10 s to 30 min) that a
//     project is a little faster or slower than. Failed jobs are shorter, those that
//     timed out took the template's timeout, and 1 % have none.
//   - Retries: a tenth of the failed jobs run again some minutes later, for the same
//     commit in the same pipeline, and mostly fail again.
//   - Versions: a template's new version is in all projects within five days.
//   - Receipt: within seconds of the end, but for 0.1 % that come hours later.
//
// There are no trends in any of this, unless stories are planted: see [Plant].
//
// Jobs of a pipeline end independently of each other: a build that fails does not keep
// its deployment from running.
package history

import (
	"iter"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
)

// A Shape says how much history there is. Each of its numbers is at least 1, or there
// is none.
type Shape struct {
	Templates int
	Projects  int
	Jobs      int       // over all, exactly, retries among them
	Days      int       // of 24 hours, before End
	End       time.Time // no job is received later; it counts in whole microseconds
	Seed      uint64    // another one is another company

	// Planted adds the stories that Plants lists, for which there must be at least
	// 10 templates and 20 projects.
	Planted bool
}

// Demo is a company to look at: 60 000 jobs of 90 days, with stories.
func Demo(end time.Time) Shape {
	return Shape{Templates: 20, Projects: 200, Jobs: 60_000, Days: 90, End: end, Seed: 1, Planted: true}
}

// Bench is a large company: 10 million jobs of 90 days, with stories.
func Bench(end time.Time) Shape {
	return Shape{Templates: 100, Projects: 1000, Jobs: 10_000_000, Days: 90, End: end, Seed: 1, Planted: true}
}

// Entries yields the jobs in the order of their receipt. It makes them hour by hour,
// so it keeps not many more in memory than the busiest hour has.
//
// A job's id is its number at GitLab, which rises with the creation of jobs and starts
// anew in every history: a ledger takes one of them only.
func (s Shape) Entries() iter.Seq[ledger.Entry] {
	return func(yield func(ledger.Entry) bool) {
		if s.exists() {
			newGenerator(newWorld(s)).run(yield)
		}
	}
}

func (s Shape) exists() bool {
	return min(s.Templates, s.Projects, s.Jobs, s.Days) > 0
}

const day = 24 * time.Hour

// never is later than every moment of a history.
const never = time.Duration(1<<63 - 1)

// bounds are when a history begins, which is at a full hour so that its hours are those
// of the clock, and how long it is. Moments within are durations since its begin.
func (s Shape) bounds() (begin time.Time, span time.Duration) {
	end := job.Instant(s.End)
	earliest := end.Add(-time.Duration(s.Days) * day)
	begin = earliest.Truncate(time.Hour)
	if begin.Before(earliest) {
		begin = begin.Add(time.Hour)
	}
	return begin, end.Sub(begin)
}
