package ledger

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
	"unicode/utf8"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/rollup"
	"ci-jobs-metrics/internal/totals"
)

// A Source is what Verify reads. A Store is one, and gives a true verdict while
// nobody writes to it: everything has to be of one moment.
type Source interface {
	Rows(ctx context.Context, after int64, limit int) ([]Row, error)
	LoadTotals(ctx context.Context, take func(part *totals.Checkpoint) error) (upTo int64, err error)
	LoadRollups(ctx context.Context) (head rollup.Head, ahead map[rollup.Key]int64, err error)
	// AllBlocks hands over all blocks of the roll-ups, which are the caller's. An error of
	// take ends it and is returned.
	AllBlocks(ctx context.Context, take func(*rollup.Block) error) error
}

// Progress is told now and then how far long work has come: so much of total, which
// is 0 where nobody knows it.
type Progress func(what string, done, total int64)

// A Verdict is what Verify found.
type Verdict struct {
	// Problems say what is wrong and what to do, a line each. None: the ledger is
	// sound.
	Problems []string

	Jobs     int64 // rows
	UpTo     int64 // number of the last job in the stored totals; 0 if none are stored
	Replayed int64 // rows up to that
	Tail     int64 // rows behind it, which the next start folds

	Runs, Durations int // counters and histograms that are stored
	// ExactFrom is the first job of which it is known in which counter it has to be;
	// see totals.Checkpoint.
	ExactFrom int64
	// Partial is how many histograms could only be compared with a lower bound:
	// some of their jobs were pruned.
	Partial int

	Blocks      int   // of the roll-ups, stored
	RollupsUpTo int64 // number of the last job in all of them
	// RollupsExact says that all jobs that they have seen are here, so that they were
	// compared exactly; else with a lower bound.
	RollupsExact bool
}

// Pruned is how many jobs in the stored totals have no row any more. Without their
// rows the stored totals can be more than a replay, by that many, but never less.
func (v *Verdict) Pruned() int64 { return v.UpTo - v.Replayed }

// Remedy is the end of most problems.
const Remedy = "restore a backup"

// maxAlike is how many problems of a kind are told.
const maxAlike = 10

// Verify checks that every row is a job, and that the stored totals and roll-ups are what
// a replay of the rows up to theirs gives. Its error says that the source could not be
// read.
func Verify(ctx context.Context, from Source, progress Progress) (*Verdict, error) {
	v := &verifier{from: from, progress: progress, alike: map[string]int{}}
	if err := v.load(ctx); err != nil {
		return nil, fmt.Errorf("the stored totals: %w", err)
	}
	if err := v.loadRollups(ctx); err != nil {
		return nil, fmt.Errorf("the stored roll-ups: %w", err)
	}
	if v.UpTo < 0 {
		v.problem("totals", "the stored totals end at job %d, which none is: %s", v.UpTo, Remedy)
		return v.verdict(), nil
	}
	if err := v.survey(ctx); err != nil {
		return nil, err
	}
	if v.outOfOrder { // read again, it need not come to an end
		return v.verdict(), nil
	}
	if err := v.replay(ctx); err != nil {
		return nil, err
	}
	v.compare()
	if err := v.compareRollups(ctx); err != nil {
		return nil, fmt.Errorf("the stored roll-ups: %w", err)
	}
	return v.verdict(), nil
}

// A verifier reads all rows twice: first to see which there are, then to fold those
// that the stored totals have seen.
type verifier struct {
	Verdict
	from     Source
	progress Progress
	stored   totals.Checkpoint       // whole
	begun    map[totals.RunKey]int64 // with which row each counter began
	alike    map[string]int          // problems by their kind

	// From the survey: all rows from since to UpTo are there, and are in the counters
	// that targetOf says. Pruning takes the oldest, but passes over rows that came
	// while the clock was ahead, so there may be older ones behind a gap. timed are
	// the jobs with a duration, of those since.
	since      int64
	lastJob    time.Time // latest receipt in the totals
	timed      map[totals.DurationKey]uint64
	outOfOrder bool

	// From the replay.
	replayed *totals.Totals
	begin    begin
	rollups  rollups
}

func (v *verifier) problem(kind, format string, args ...any) {
	if v.alike[kind]++; v.alike[kind] <= maxAlike {
		v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
	}
}

func (v *verifier) verdict() *Verdict {
	for _, kind := range slices.Sorted(maps.Keys(v.alike)) {
		if n := v.alike[kind]; n > maxAlike {
			v.Problems = append(v.Problems, fmt.Sprintf("and %d more problems with a %s: %s", n-maxAlike, kind, Remedy))
		}
	}
	return &v.Verdict
}

// load reads the stored totals, and checks what shows without any row.
func (v *verifier) load(ctx context.Context) error {
	var (
		sums      sums
		runs      []totals.Run
		durations []totals.Duration
	)
	upTo, err := v.from.LoadTotals(ctx, func(part *totals.Checkpoint) error {
		sums.add(part)
		runs = append(runs, part.Runs...)
		durations = append(durations, part.Durations...)
		v.stored = *part
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	v.stored.Runs, v.stored.Durations = runs, durations
	v.stored.ExactFrom = max(v.stored.ExactFrom, 1)
	v.ExactFrom = v.stored.ExactFrom
	v.UpTo, v.Runs, v.Durations = upTo, len(v.stored.Runs), len(v.stored.Durations)
	if upTo >= 0 {
		for _, c := range sums.contradictions(upTo) {
			v.problem(c.kind, "%s", c.text)
		}
	}
	v.begun = make(map[totals.RunKey]int64, len(v.stored.Runs))
	for i := range v.stored.Runs {
		v.begun[v.stored.Runs[i].RunKey] = v.stored.Runs[i].Since
	}
	return nil
}

// targetOf is the counter that has a row's job: where to was decided once, when
// the first of those that it could be in began. A row before ExactFrom has none that
// can be told.
func (v *verifier) targetOf(r *Row) totals.RunKey {
	own := totals.OwnKey(&r.Job, v.stored.Labels)
	for _, k := range totals.Targets(own, v.stored.Labels) {
		if begun, ok := v.begun[k]; ok && begun <= r.Seq {
			return k
		}
	}
	return own
}

// each calls f with every row.
func (v *verifier) each(ctx context.Context, what string, total int64, f func(*Row) (goOn bool)) error {
	for after, done := int64(math.MinInt64), int64(0); ; {
		rows, err := v.from.Rows(ctx, after, foldStep)
		if err != nil {
			return fmt.Errorf("the jobs: %w", err)
		}
		for i := range rows {
			if !f(&rows[i]) {
				return nil
			}
			after = rows[i].Seq
		}
		done += int64(len(rows))
		v.progress(what, done, total)
		if len(rows) < foldStep {
			return nil
		}
	}
}

// survey checks each row by itself, and learns which rows there are.
func (v *verifier) survey(ctx context.Context) error {
	v.timed = map[totals.DurationKey]uint64{}
	v.since = v.stored.ExactFrom
	last, lastFolded, lastTail := int64(math.MinInt64), int64(0), v.UpTo
	err := v.each(ctx, "reading jobs", 0, func(r *Row) bool {
		v.Jobs++
		if r.Seq <= last {
			v.outOfOrder = true
			v.problem("job's place", "job %d comes behind job %d: %s", r.Seq, last, Remedy)
			return false
		}
		last = r.Seq
		if fault := faultOf(r); fault != "" {
			v.problem("job", "job %d %s: %s", r.Seq, fault, Remedy)
		}
		switch {
		case r.Seq <= 0: // no fold sees it
		case r.Seq <= v.UpTo:
			if r.Seq != lastFolded+1 {
				v.since = max(r.Seq, v.stored.ExactFrom)
				clear(v.timed)
			}
			lastFolded = r.Seq
			v.Replayed++
			if r.Received.After(v.lastJob) {
				v.lastJob = r.Received
			}
			if r.Job.Timed && r.Seq >= v.since {
				v.timed[v.targetOf(r).Histogram()]++
			}
		default:
			v.Tail++
			if r.Seq != lastTail+1 {
				v.problem("job's place", "%s: %s", missing(lastTail+1, r.Seq-1), Remedy)
			}
			lastTail = r.Seq
		}
		return true
	})
	if lastFolded < v.UpTo {
		v.since = max(v.UpTo+1, v.stored.ExactFrom)
		clear(v.timed)
	}
	return err
}

// missing tells of rows that have to be there: only those in the totals are pruned.
func missing(first, last int64) string {
	if first == last {
		return fmt.Sprintf("job %d is missing, and in no stored totals", first)
	}
	return fmt.Sprintf("jobs %d to %d are missing, and in no stored totals", first, last)
}

// Receipts are told by the machine's own clock, which may have been wrong, but not
// like that.
var (
	earliest = time.Unix(0, 0)
	latest   = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

// faultOf says what makes a row no job; empty if it is one.
func faultOf(r *Row) string {
	j := &r.Job
	switch {
	case r.Seq <= 0:
		return "has a number below 1"
	case j.Name == "" || !utf8.ValidString(j.Name):
		return fmt.Sprintf("has the name %q", j.Name)
	case j.Project == "" || !utf8.ValidString(j.Project):
		return fmt.Sprintf("has the project %q", j.Project)
	case j.Status.Rank() == len(job.Statuses):
		return fmt.Sprintf("has the status %q", j.Status)
	case r.Received.Before(earliest) || !r.Received.Before(latest):
		return fmt.Sprintf("was received at %s", moment(r.Received))
	case j.Timed && (j.Duration < 0 || j.Duration > job.MaxDuration):
		return fmt.Sprintf("took %s", j.Duration)
	}
	return ""
}

func moment(t time.Time) string { return t.Format(time.RFC3339Nano) }

// replay folds the rows that the stored totals have seen. Histograms start anew when
// the operator changes their buckets, so a stored one with a count of c holds the last
// c timed jobs of its key: those before go without their durations.
func (v *verifier) replay(ctx context.Context) error {
	v.replayed = totals.New(v.stored.Settings)
	skip := maps.Clone(v.timed)
	v.begin = begin{in: math.MaxInt64}
	for i := range v.stored.Durations {
		d := &v.stored.Durations[i]
		if v.isPartial(d) {
			v.Partial++
			v.begin.have(v.since-1, d.DurationKey)
		}
		skip[d.DurationKey] -= min(d.Count, skip[d.DurationKey])
	}
	return v.each(ctx, "replaying jobs", v.Jobs, func(r *Row) bool {
		if r.Seq <= 0 || !v.rollups.add(r) {
			return r.Seq <= 0
		}
		if r.Seq > v.UpTo {
			return true // a roll-up may have seen it
		}
		if r.Seq < v.stored.ExactFrom {
			return true // in the sum of all counters, which was checked
		}
		target := v.targetOf(r)
		if k := target.Histogram(); r.Job.Timed && r.Seq >= v.since {
			if skip[k] > 0 {
				skip[k]--
				v.begin.lack(r.Seq, k)
				r.Job.Timed = false
			} else {
				v.begin.have(r.Seq, k)
			}
		} else {
			r.Job.Timed = false // the job may be in a histogram or not
		}
		v.replayed.ApplyTo(target, r.Seq, r.Received, &r.Job)
		return true
	})
}

// isPartial says that jobs of a histogram were pruned.
func (v *verifier) isPartial(d *totals.Duration) bool {
	return v.since > 1 && d.Count > v.timed[d.DurationKey]
}

// begin is where the histograms start, which is the same job for all of them: the
// last job that one of them lacks comes before the first that one of them has.
type begin struct {
	out, in       int64 // 0 and MaxInt64: none
	outKey, inKey totals.DurationKey
}

func (b *begin) lack(seq int64, k totals.DurationKey) {
	if seq > b.out {
		b.out, b.outKey = seq, k
	}
}

func (b *begin) have(seq int64, k totals.DurationKey) {
	if seq < b.in {
		b.in, b.inKey = seq, k
	}
}
