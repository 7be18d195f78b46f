package ledger_test

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/ledgertest"
	"ci-jobs-metrics/internal/rollup"
	"ci-jobs-metrics/internal/totals"
)

// A model is what the totals must be, said the naive way: all rows that were ever
// recorded, counted anew each time.
type model struct {
	rows    []ledger.Row
	changes []change
}

// A change says with which settings the rows from some place on were recorded.
type change struct {
	at int
	totals.Settings
}

func (m *model) configure(s totals.Settings) {
	m.changes = append(slices.Clone(m.changes), change{len(m.rows), s})
}

func (m *model) settings() totals.Settings { return m.changes[len(m.changes)-1].Settings }

// A tally is the naive totals: of each label set its rows, and of each histogram.
type tally struct {
	settings totals.Settings
	runs     map[totals.RunKey][]ledger.Row
	timed    map[totals.DurationKey][]ledger.Row
}

func (m *model) count() *tally {
	c := &tally{runs: map[totals.RunKey][]ledger.Row{}, timed: map[totals.DurationKey][]ledger.Row{}}
	changes := m.changes
	for i := 0; i <= len(m.rows); i++ {
		for len(changes) > 0 && changes[0].at == i {
			c.configure(changes[0].Settings)
			changes = changes[1:]
		}
		if i < len(m.rows) {
			c.add(m.rows[i])
		}
	}
	return c
}

func (c *tally) configure(s totals.Settings) {
	if !slices.Equal(s.Bounds, c.settings.Bounds) {
		clear(c.timed)
	}
	c.settings = s
	runs, timed := c.runs, c.timed
	c.runs, c.timed = map[totals.RunKey][]ledger.Row{}, map[totals.DurationKey][]ledger.Row{}
	for k, rows := range runs {
		k.Labels = restrict(k.Labels, s.Labels)
		c.runs[k] = append(c.runs[k], rows...)
	}
	for k, rows := range timed {
		k.Labels = restrict(k.Labels, s.Labels)
		c.timed[k] = append(c.timed[k], rows...)
	}
}

// add finds the label set that a row belongs to: the rule of the design, said again.
func (c *tally) add(row ledger.Row) {
	k := totals.RunKey{Template: row.Job.Name, Project: row.Job.Project, Status: row.Job.Status}
	var other string
	for _, name := range c.settings.Labels {
		value := row.Job.Version
		if name == "stage" {
			value = row.Job.Stage
		}
		k.Labels = with(k.Labels, name, value)
		other = with(other, name, "__other__")
	}
	budget := c.settings.MaxSets
	if budget == 0 {
		budget = math.MaxInt / 2
	}
	own, others := 0, 0
	for k := range c.runs {
		if strings.Contains(k.Template+k.Project+k.Labels, "__other__") {
			others++
		} else {
			own++
		}
	}
	if !c.has(k) && own >= budget {
		k.Labels = other
		if other == "" || !c.has(k) && others >= 300 {
			k.Project = "__other__"
			if !c.has(k) && others >= 600 {
				k.Template = "__other__"
			}
		}
	}
	c.runs[k] = append(c.runs[k], row)
	if row.Job.Timed {
		d := totals.DurationKey{Template: k.Template, Status: k.Status, Labels: k.Labels}
		c.timed[d] = append(c.timed[d], row)
	}
}

func (c *tally) has(k totals.RunKey) bool { return len(c.runs[k]) > 0 }

// with adds a label to a JSON object; names come sorted.
func with(labels, name, value string) string {
	switch {
	case value == "":
		return labels
	case labels == "":
		return fmt.Sprintf("{%q:%q}", name, value)
	}
	return fmt.Sprintf("%s,%q:%q}", strings.TrimSuffix(labels, "}"), name, value)
}

var label = regexp.MustCompile(`"(\w+)":"(\w+)"`)

func restrict(labels string, names []string) string {
	kept := ""
	for _, m := range label.FindAllStringSubmatch(labels, -1) {
		if slices.Contains(names, m[1]) {
			kept = with(kept, m[1], m[2])
		}
	}
	return kept
}

func (c *tally) counters() map[totals.RunKey]totals.Run {
	runs := map[totals.RunKey]totals.Run{}
	for k, rows := range c.runs {
		first := slices.MinFunc(rows, func(a, b ledger.Row) int { return cmp.Compare(a.Seq, b.Seq) })
		runs[k] = totals.Run{RunKey: k, Created: first.Received, Since: first.Seq, Count: uint64(len(rows))}
	}
	return runs
}

func (c *tally) durations() map[totals.DurationKey]totals.Duration {
	durations := map[totals.DurationKey]totals.Duration{}
	for k, rows := range c.timed {
		d := totals.Duration{DurationKey: k, Count: uint64(len(rows)), Buckets: make([]uint64, len(c.settings.Bounds)+1),
			Exp: totals.Exponential{Counts: map[int]uint64{}}}
		d.Created = slices.MinFunc(rows, func(a, b ledger.Row) int { return cmp.Compare(a.Seq, b.Seq) }).Received
		for _, row := range rows {
			d.Sum += row.Job.Duration.Microseconds()
			d.Buckets[classic(c.settings.Bounds, row.Job.Duration)]++
			if row.Job.Duration == 0 {
				d.Exp.Zero++
			} else { // bucket i ends at 2^(i/8) seconds
				d.Exp.Counts[int(math.Ceil(8*math.Log2(row.Job.Duration.Seconds())))]++
			}
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
	snapshot, err := ledgertest.Totals(t, l)
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
	want := m.count()
	if diff := gocmp.Diff(want.counters(), runs); diff != "" {
		t.Fatalf("%s: counters (-want +got):\n%s", when, diff)
	}
	if diff := gocmp.Diff(want.durations(), durations, cmpopts.EquateEmpty(), withoutExemplars); diff != "" {
		t.Fatalf("%s: histograms (-want +got):\n%s", when, diff)
	}
}

// Exemplars are not stored.
var withoutExemplars = cmpopts.IgnoreFields(totals.Duration{}, "Exemplars")

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
	if err == nil && (len(s.model.changes) == 0 || !gocmp.Equal(c.Settings, s.model.settings(), cmpopts.EquateEmpty())) {
		s.model.configure(c.Settings)
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

func (s *modelled) SaveBlocks(ctx context.Context, blocks []*rollup.Block) error {
	s.at("before storing roll-ups")
	err := s.Store.SaveBlocks(ctx, blocks)
	s.at("after storing roll-ups")
	return err
}

func (s *modelled) SaveRollups(ctx context.Context, h rollup.Head) error {
	s.at("before storing how far the roll-ups are")
	err := s.Store.SaveRollups(ctx, h)
	s.at("after storing how far the roll-ups are")
	return err
}

func (s *modelled) PruneBlocks(ctx context.Context, before rollup.Day, limit int) (int, int64, error) {
	s.at("before pruning roll-ups")
	n, jobs, err := s.Store.PruneBlocks(ctx, before, limit)
	s.at("after pruning roll-ups")
	return n, jobs, err
}

// randomEntry is a job of few templates, projects and ids, so that all of them
// come again.
func randomEntry(r *rand.Rand, received time.Time) ledger.Entry {
	j := job.Job{
		Name:     pick(r, "build", "test", "deploy"),
		Project:  pick(r, "a", "b", "c"),
		Status:   job.Statuses[r.IntN(len(job.Statuses))],
		Finished: received.Add(-time.Duration(r.IntN(60)) * time.Hour / 2),
		SHA:      pick(r, "", "c0ffee", "decade"),
		Version:  pick(r, "", "1", "2", "3"),
		Stage:    pick(r, "", "x", "y"),
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
