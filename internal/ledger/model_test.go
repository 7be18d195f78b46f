package ledger_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/totals"
)

// A model is what the totals must be, said the naive way: all rows that were ever
// recorded, counted anew each time.
type model struct {
	rows   []ledger.Row
	bounds []float64
	since  int // histograms were begun anew before rows[since]
}

func (m *model) runs() map[totals.RunKey]totals.Run {
	runs := map[totals.RunKey]totals.Run{}
	for _, row := range m.rows {
		k := totals.RunKey{Template: row.Job.Name, Project: row.Job.Project, Status: row.Job.Status}
		r, ok := runs[k]
		if !ok {
			r = totals.Run{RunKey: k, Created: row.Received}
		}
		r.Count++
		runs[k] = r
	}
	return runs
}

func (m *model) durations() map[totals.DurationKey]totals.Duration {
	durations := map[totals.DurationKey]totals.Duration{}
	for _, row := range m.rows[m.since:] {
		if !row.Job.Timed {
			continue
		}
		k := totals.DurationKey{Template: row.Job.Name, Status: row.Job.Status}
		d, ok := durations[k]
		if !ok {
			d = totals.Duration{DurationKey: k, Created: row.Received, Buckets: make([]uint64, len(m.bounds)+1),
				Exp: totals.Exponential{Counts: map[int]uint64{}}}
		}
		d.Count++
		d.Sum += row.Job.Duration.Microseconds()
		d.Buckets[classic(m.bounds, row.Job.Duration)]++
		if row.Job.Duration == 0 {
			d.Exp.Zero++
		} else { // bucket i ends at 2^(i/8) seconds
			d.Exp.Counts[int(math.Ceil(8*math.Log2(row.Job.Duration.Seconds())))]++
		}
		durations[k] = d
	}
	return durations
}

func classic(bounds []float64, took time.Duration) int {
	for i, b := range bounds {
		if took.Seconds() <= b {
			return i
		}
	}
	return len(bounds)
}

// check compares a ledger's totals with the model's.
func (m *model) check(t *testing.T, when string, l *ledger.Ledger) {
	t.Helper()
	snapshot, err := l.Totals(t.Context())
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	runs := map[totals.RunKey]totals.Run{}
	for _, r := range snapshot.Runs {
		runs[r.RunKey] = r
	}
	durations := map[totals.DurationKey]totals.Duration{}
	for _, d := range snapshot.Durations {
		durations[d.DurationKey] = d
	}
	if diff := cmp.Diff(m.runs(), runs); diff != "" {
		t.Fatalf("%s: counters (-want +got):\n%s", when, diff)
	}
	if diff := cmp.Diff(m.durations(), durations, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%s: histograms (-want +got):\n%s", when, diff)
	}
}

// A modelled store tells a model what it made durable, at that very moment.
type modelled struct {
	ledger.Store
	model *model
	// step, if set, is called before and after everything that changes the store.
	step func(what string)
}

func (s *modelled) at(what string) {
	if s.step != nil {
		s.step(what)
	}
}

func (s *modelled) Append(ctx context.Context, entries []ledger.Entry) ([]ledger.Outcome, error) {
	s.at("before append")
	outcomes, err := s.Store.Append(ctx, entries)
	for i, o := range outcomes {
		if o.Seq > 0 {
			s.model.rows = append(s.model.rows, ledger.Row{Seq: o.Seq, Entry: entries[i]})
		}
	}
	s.at("after append")
	return outcomes, err
}

func (s *modelled) SaveTotals(ctx context.Context, c *totals.Checkpoint, upTo int64) error {
	s.at("before checkpoint")
	err := s.Store.SaveTotals(ctx, c, upTo)
	if err == nil && c.DropDurations {
		s.model.bounds, s.model.since = c.Bounds, len(s.model.rows)
	}
	s.at("after checkpoint")
	return err
}

func (s *modelled) Prune(ctx context.Context, before time.Time, upTo int64, limit int) (int, error) {
	s.at("before pruning")
	n, err := s.Store.Prune(ctx, before, upTo, limit)
	s.at("after pruning")
	return n, err
}

// randomEntry is a job of few templates, projects and ids, so that all of them
// come again.
func randomEntry(r *rand.Rand, received time.Time) ledger.Entry {
	j := job.Job{
		Name:     pick(r, "build", "test", "deploy"),
		Project:  pick(r, "a", "b"),
		Status:   job.Statuses[r.IntN(len(job.Statuses))],
		Finished: received,
	}
	if r.IntN(4) > 0 {
		j.Timed = true
		edges := []time.Duration{0, time.Microsecond, time.Minute - time.Microsecond, time.Minute, time.Minute + time.Microsecond}
		j.Duration = edges[r.IntN(len(edges))]
		if r.IntN(2) == 0 {
			j.Duration = time.Duration(r.Int64N(int64(job.MaxDuration/time.Microsecond))) * time.Microsecond
		}
	}
	if r.IntN(3) > 0 {
		j.ID = "job " + string(rune('a'+r.IntN(26))) + string(rune('a'+r.IntN(26)))
	}
	return ledger.Entry{Received: received, Job: j}
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }
