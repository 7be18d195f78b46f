package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/ledgertest"
	"ci-jobs-metrics/internal/ledger/sqlite"
	"ci-jobs-metrics/internal/rollup"
	"ci-jobs-metrics/internal/totals"
)

func silent(string, int64, int64) {}

// sound wants a ledger's files to be in order, as they are.
func sound(t *testing.T, when, path string) {
	t.Helper()
	report, err := sqlite.Verify(t.Context(), path, silent)
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	for _, p := range report.Problems {
		t.Errorf("%s: %s", when, p)
	}
}

// contents is what a ledger holds, to be broken on purpose.
type contents struct {
	rows   []ledger.Row
	stored *totals.Checkpoint
	upTo   int64
	err    error
}

func (c *contents) Rows(_ context.Context, after int64, limit int) ([]ledger.Row, error) {
	start := slices.IndexFunc(c.rows, func(r ledger.Row) bool { return r.Seq > after })
	if c.err != nil || start < 0 {
		return nil, c.err
	}
	return slices.Clone(c.rows[start:min(len(c.rows), start+limit)]), nil
}

func (c *contents) LoadTotals(_ context.Context, take func(*totals.Checkpoint) error) (int64, error) {
	if c.err != nil || c.stored == nil {
		return 0, c.err
	}
	return c.upTo, take(c.stored)
}

func (c *contents) LoadRollups(context.Context) (rollup.Head, map[rollup.Key]int64, error) {
	return rollup.Head{}, nil, c.err
}

func (c *contents) AllBlocks(context.Context, func(*rollup.Block) error) error { return c.err }

// run is the counter of a template, all of which have project p.
func (c *contents) run(template string) *totals.Run {
	i := slices.IndexFunc(c.stored.Runs, func(r totals.Run) bool { return r.Template == template })
	return &c.stored.Runs[i]
}

// histogram is that of template a.
func (c *contents) histogram() *totals.Duration {
	i := slices.IndexFunc(c.stored.Durations, func(d totals.Duration) bool { return d.Template == "a" })
	return &c.stored.Durations[i]
}

func (c *contents) drop(template string) {
	c.stored.Durations = slices.DeleteFunc(c.stored.Durations, func(d totals.Duration) bool { return d.Template == template })
}

// prune takes rows away as pruning does.
func (c *contents) prune(first, last int64) {
	c.rows = slices.DeleteFunc(c.rows, func(r ledger.Row) bool { return r.Seq >= first && r.Seq <= last })
}

// recorded has the jobs 1 to 60 in its totals, and 61 to 64 behind them. a and b take
// turns; the buckets were changed before job 21, so each has 20 in its histogram.
func recorded() *contents {
	c := &contents{upTo: 60}
	settings := totals.Settings{Bounds: []float64{5}}
	t := totals.New(settings)
	for seq := int64(1); seq <= 64; seq++ {
		r := ledger.Row{Seq: seq, Entry: ledgertest.Entry(time.Duration(seq)*time.Minute, "")}
		r.Job.Name, r.Job.Project = "ab"[seq%2:seq%2+1], "p"
		r.Job.Timed, r.Job.Duration = true, time.Duration(seq%9)*time.Second
		c.rows = append(c.rows, r)
		if seq <= c.upTo {
			t.Apply(seq, r.Received, &r.Job)
		}
		if seq == 20 {
			settings.Bounds = []float64{2, 60}
			t.Configure(settings, seq)
		}
	}
	c.stored = t.Changes()
	return c
}

func verify(t *testing.T, c *contents) *ledger.Verdict {
	t.Helper()
	v, err := ledger.Verify(t.Context(), c, silent)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVerifySound(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*contents)
		want   ledger.Verdict
	}{
		"whole":                 {func(*contents) {}, ledger.Verdict{Jobs: 64, UpTo: 60, Replayed: 60, Tail: 4, Runs: 2, Durations: 2}},
		"pruned before buckets": {func(c *contents) { c.prune(1, 15) }, ledger.Verdict{Jobs: 49, UpTo: 60, Replayed: 45, Tail: 4, Runs: 2, Durations: 2}},
		"pruned behind buckets": {func(c *contents) { c.prune(1, 40) }, ledger.Verdict{Jobs: 24, UpTo: 60, Replayed: 20, Tail: 4, Runs: 2, Durations: 2, Partial: 2}},
		"all pruned":            {func(c *contents) { c.prune(1, 60) }, ledger.Verdict{Jobs: 4, UpTo: 60, Tail: 4, Runs: 2, Durations: 2, Partial: 2}},
		"nothing left":          {func(c *contents) { c.prune(1, 64) }, ledger.Verdict{UpTo: 60, Runs: 2, Durations: 2, Partial: 2}},
		"old rows of a clock that was ahead": {func(c *contents) {
			for i := range 10 {
				c.rows[i].Received = c.rows[i].Received.Add(1000 * time.Hour)
			}
			c.stored.LastJob = c.rows[9].Received
			c.run("a").Created, c.run("b").Created = c.rows[1].Received, c.rows[0].Received
			c.prune(11, 50)
		}, ledger.Verdict{Jobs: 24, UpTo: 60, Replayed: 20, Tail: 4, Runs: 2, Durations: 2, Partial: 2}},
		"as many old rows as pruned ones": {func(c *contents) { c.prune(21, 24) },
			ledger.Verdict{Jobs: 60, UpTo: 60, Replayed: 56, Tail: 4, Runs: 2, Durations: 2, Partial: 2}},
		"no totals yet": {func(c *contents) { c.stored, c.upTo = nil, 0 }, ledger.Verdict{Jobs: 64, Tail: 64}},
		"no histogram since the buckets changed": {func(c *contents) { c.stored.Durations = nil },
			ledger.Verdict{Jobs: 64, UpTo: 60, Replayed: 60, Tail: 4, Runs: 2}},
		"empty": {func(c *contents) { *c = contents{} }, ledger.Verdict{}},
		"of which counter early jobs are can't be told": {func(c *contents) {
			c.stored.ExactFrom = 41
			c.run("a").Count, c.run("b").Count = 15, 45
			c.stored.Durations = nil
		}, ledger.Verdict{Jobs: 64, UpTo: 60, Replayed: 60, Tail: 4, Runs: 2, ExactFrom: 41}},
		"forgotten": {func(c *contents) {
			c.stored.ExactFrom, c.stored.Forgotten = 61, 30
			c.stored.Runs = slices.Delete(c.stored.Runs, 0, 1)
		}, ledger.Verdict{Jobs: 64, UpTo: 60, Replayed: 60, Tail: 4, Runs: 1, Durations: 2, ExactFrom: 61, Partial: 2}},
		"folded": {func(c *contents) { // job 2, the first of a, found no room
			c.run("a").Since, c.run("a").Count, c.run("a").Created = 4, 29, c.rows[3].Received
			c.stored.Runs = append(c.stored.Runs, totals.Run{Count: 1, Created: c.rows[1].Received, Since: 2,
				RunKey: totals.RunKey{Template: "a", Project: totals.Other, Status: job.Success}})
		}, ledger.Verdict{Jobs: 64, UpTo: 60, Replayed: 60, Tail: 4, Runs: 3, Durations: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			c := recorded()
			test.change(c)
			test.want.ExactFrom = max(test.want.ExactFrom, 1)
			if got := verify(t, c); fmt.Sprint(*got) != fmt.Sprint(test.want) {
				t.Errorf("got  %+v\nwant %+v", *got, test.want)
			}
		})
	}
}

// Each fault has to be found, and be told with what to do.
func TestVerifyFaults(t *testing.T) {
	row := func(change func(*ledger.Row)) func(*contents) {
		return func(c *contents) { change(&c.rows[29]) }
	}
	for name, test := range map[string]struct {
		change func(*contents)
		want   string
	}{
		"number":           {func(c *contents) { c.rows[0].Seq = 0 }, "job 0 has a number below 1"},
		"no name":          {row(func(r *ledger.Row) { r.Job.Name = "" }), `job 30 has the name ""`},
		"name":             {row(func(r *ledger.Row) { r.Job.Name = "\xff" }), `job 30 has the name "\xff"`},
		"no project":       {row(func(r *ledger.Row) { r.Job.Project = "" }), `job 30 has the project ""`},
		"project":          {row(func(r *ledger.Row) { r.Job.Project = "\xff" }), `job 30 has the project "\xff"`},
		"status":           {row(func(r *ledger.Row) { r.Job.Status = "passed" }), `job 30 has the status "passed"`},
		"received early":   {row(func(r *ledger.Row) { r.Received = time.UnixMicro(-1).UTC() }), "job 30 was received at 1969"},
		"received late":    {row(func(r *ledger.Row) { r.Received = time.UnixMicro(1 << 60).UTC() }), "job 30 was received at 38"},
		"took less than 0": {row(func(r *ledger.Row) { r.Job.Duration = -1 }), "job 30 took -1ns"},
		"took too long":    {row(func(r *ledger.Row) { r.Job.Duration = job.MaxDuration + 1 }), "job 30 took 720h"},
		"out of order":     {func(c *contents) { c.rows[50].Seq = 50 }, "job 50 comes behind job 50"},
		"lost tail":        {func(c *contents) { c.prune(62, 62) }, "job 62 is missing, and in no stored totals"},
		"lost start":       {func(c *contents) { c.stored, c.upTo = nil, 0; c.prune(1, 2) }, "jobs 1 to 2 are missing, and in no stored totals"},

		"negative end":      {func(c *contents) { c.upTo = -1 }, "end at job -1"},
		"end too late":      {func(c *contents) { c.upTo = 61 }, "counters hold 60 jobs, but they end at job 61"},
		"end too early":     {func(c *contents) { c.upTo = 59 }, "counters hold 60 jobs, but they end at job 59"},
		"counters overflow": {func(c *contents) { c.run("a").Count, c.run("b").Count = math.MaxUint64, 61 }, "counters hold 18446744073709551615 jobs"},
		"counter too low":   {func(c *contents) { c.run("a").Count-- }, `the counter of "a", "p", success is 29, but 30 of its jobs are here`},
		"counter too high":  {func(c *contents) { c.run("a").Count++ }, `is 31, but all its jobs are here, and they are 30`},
		"counter's start":   {func(c *contents) { c.run("a").Created = ledgertest.Start }, "has its first job at 2026-03-01T12:00:00.123456Z, but"},
		"counter missing":   {func(c *contents) { c.stored.Runs = c.stored.Runs[:1] }, `the counter of "b", "p", success is not stored, but 30 of its jobs`},
		"counter of nobody": {func(c *contents) { c.run("a").Template = "c" }, `the counter of "c", "p", success is 30, but all its jobs are here, and they are 0`},
		"counters swapped": {func(c *contents) { c.prune(1, 40); c.run("a").Count, c.run("b").Count = 9, 51 },
			`the counter of "a", "p", success is 9, but 10 of its jobs are here`},
		"last job": {func(c *contents) { c.stored.LastJob = ledgertest.Start.Add(time.Hour * 2) }, "the last job in the stored totals was received at 2026-03-01T14"},
		"last job, pruned": {func(c *contents) { c.prune(1, 40); c.stored.LastJob = ledgertest.Start },
			"the last job in the stored totals was received at 2026-03-01T12"},

		"counter's first row": {func(c *contents) { c.run("a").Since = 1 }, `the counter of "a", "p", success begins with job 1, but its first is job 2`},
		"counter too late":    {func(c *contents) { c.run("a").Since = 5 }, `begins with job 5, but its first is job 2`},
		"exact too late":      {func(c *contents) { c.stored.ExactFrom = 62 }, "exact from job 62 on, but end at job 60"},
		"exact, but less":     {func(c *contents) { c.stored.ExactFrom = 31; c.run("a").Count, c.run("b").Count = 14, 46 }, "is 14, but 15 of its jobs are here"},
		"forgotten too many":  {func(c *contents) { c.stored.Forgotten = 1 }, "hold 60 jobs and 1 were forgotten, but they end at job 60"},
		"forgotten too few":   {func(c *contents) { c.stored.Forgotten = 1; c.run("a").Count -= 2 }, "hold 58 jobs and 1 were forgotten, but they end at job 60"},

		"bounds":          {func(c *contents) { c.stored.Bounds = []float64{60, 2} }, "buckets [60 2] do not ascend"},
		"negative bound":  {func(c *contents) { c.stored.Bounds = []float64{-1, 2} }, "buckets [-1 2] do not ascend"},
		"too few buckets": {func(c *contents) { c.histogram().Buckets = []uint64{20} }, `the histogram of "a", success has 1 buckets for 2 bounds`},
		"too few bounds":  {func(c *contents) { c.stored.Bounds = []float64{60} }, `has 3 buckets for 1 bounds`},
		"no job": {func(c *contents) {
			*c.histogram() = totals.Duration{DurationKey: c.histogram().DurationKey, Buckets: make([]uint64, 3)}
		}, "is stored without any job"},
		"buckets' sum":     {func(c *contents) { c.histogram().Buckets[0]++ }, "has 20 jobs, but 21 in its buckets"},
		"exponential sum":  {func(c *contents) { c.histogram().Exp.Zero++ }, "has 20 jobs, but 21 in its exponential buckets"},
		"overflow":         {func(c *contents) { c.histogram().Buckets = []uint64{math.MaxUint64, 1, 20} }, "but 18446744073709551615 in its buckets"},
		"more than runs":   {func(c *contents) { more(c.histogram(), 11) }, "has 31 jobs, but the counters only 30"},
		"negative sum":     {func(c *contents) { c.histogram().Sum = -1 }, "can't have taken -1 µs"},
		"sum out of reach": {func(c *contents) { c.histogram().Sum = math.MaxInt64 }, "can't have taken 9223372036854775807 µs"},

		"sum":               {func(c *contents) { c.histogram().Sum++ }, `the histogram of "a", success differs in its sum from what its jobs give`},
		"buckets":           {func(c *contents) { d := c.histogram(); d.Buckets[0]++; d.Buckets[1]-- }, "differs in its buckets from"},
		"exponential":       {func(c *contents) { move(c.histogram()) }, "differs in its exponential buckets from"},
		"exponential index": {func(c *contents) { rename(c.histogram()) }, "differs in its exponential buckets from"},
		"histogram's start": {func(c *contents) { c.histogram().Created = ledgertest.Start }, "differs in its first job from"},
		"more than are timed": {func(c *contents) { c.rows[3].Job.Timed = false; more(c.histogram(), 10) },
			`differs in its number of jobs from`},
		"one histogram missing": {func(c *contents) { c.drop("a") },
			`do not all start at the same job: the histogram of "a", success lacks job 60, the histogram of "b", success has job 21`},
		"a histogram that lacks its first": {func(c *contents) {
			d := c.histogram() // of job 22, which took 4 s
			d.Count, d.Sum, d.Buckets[1], d.Created = d.Count-1, d.Sum-4e6, d.Buckets[1]-1, c.rows[23].Received
			d.Exp.Counts[totals.ExponentialIndex(4)]--
		}, `the histogram of "a", success lacks job 22, the histogram of "b", success has job 21`},

		"pruned, sum":     {func(c *contents) { c.prune(1, 40); c.histogram().Sum = 3 }, "differs in its sum from what those of its jobs give that are here"},
		"pruned, buckets": {func(c *contents) { c.prune(1, 40); d := c.histogram(); d.Buckets = []uint64{20, 0, 0} }, "differs in its buckets from what those"},
		"pruned, exponential": {func(c *contents) {
			c.prune(1, 40)
			c.histogram().Exp = totals.Exponential{Counts: map[int]uint64{7: 20}}
		}, "differs in its exponential buckets from what those"},
		"pruned, zero": {func(c *contents) { c.prune(1, 40); move(c.histogram()) }, "differs in its exponential buckets from what those"},
		"pruned, exact": {func(c *contents) { c.prune(1, 15); c.histogram().Sum++ },
			"differs in its sum from what its jobs give"},
		"pruned, a histogram missing": {func(c *contents) { c.prune(1, 40); c.drop("a") }, "do not all start at the same job"},
	} {
		t.Run(name, func(t *testing.T) {
			c := recorded()
			test.change(c)
			got := strings.Join(verify(t, c).Problems, "\n")
			if !strings.Contains(got, test.want) {
				t.Errorf("problems:\n%s\nwant one with: %s", got, test.want)
			}
			for line := range strings.Lines(got) {
				if !strings.HasSuffix(strings.TrimSpace(line), ": restore a backup") {
					t.Errorf("says not what to do: %s", line)
				}
			}
		})
	}
}

// more adds jobs to a histogram, consistent in itself.
func more(d *totals.Duration, n uint64) {
	d.Count += n
	d.Buckets[0] += n
	d.Exp.Zero += n
}

// move moves all jobs that took no time to another exponential bucket, rename those of
// a bucket to one that no job is in.
func move(d *totals.Duration) {
	d.Exp.Counts[totals.ExponentialIndex(4)] += d.Exp.Zero
	d.Exp.Zero = 0
}

func rename(d *totals.Duration) {
	i := totals.ExponentialIndex(4)
	d.Exp.Counts[-100] = d.Exp.Counts[i]
	delete(d.Exp.Counts, i)
}

// Problems that are alike are told a few times, and counted.
func TestVerifyManyFaults(t *testing.T) {
	c := recorded()
	for i := range c.rows {
		c.rows[i].Job.Status = ""
	}
	problems := verify(t, c).Problems
	if !slices.Contains(problems, "and 54 more problems with a job: restore a backup") || len(problems) > 20 {
		t.Errorf("%s", strings.Join(problems, "\n"))
	}
}

// Many more rows than are read at a time.
func TestVerifyInSteps(t *testing.T) {
	c := &contents{upTo: 7000}
	folded := totals.New(few)
	r := rand.New(rand.NewPCG(1, 1))
	for seq := int64(1); seq <= 7000; seq++ {
		row := ledger.Row{Seq: seq, Entry: randomEntry(r, ledgertest.Start)}
		c.rows = append(c.rows, row)
		folded.Apply(seq, row.Received, &row.Job)
	}
	c.stored = folded.Changes()
	if v := verify(t, c); len(v.Problems) > 0 || v.Replayed != 7000 {
		t.Errorf("%+v", v)
	}
	c.rows[6500].Job.Project = "another"
	if v := verify(t, c); len(v.Problems) == 0 {
		t.Error("a job of another project was not found")
	}
}

func TestVerifyUnreadable(t *testing.T) {
	if v, err := ledger.Verify(t.Context(), &contents{err: errDisk}, silent); !errors.Is(err, errDisk) {
		t.Errorf("%v, %v", v, err)
	}
}
