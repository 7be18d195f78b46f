package totals_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/totals"
)

// A reader keeps what a feed tells, and how often.
type reader struct {
	totals.Snapshot
	told, resets int
}

func (r *reader) Reset(s totals.Settings) {
	r.Snapshot = totals.Snapshot{Settings: s}
	r.resets++
}

func (r *reader) Run(number int, run totals.Run) {
	r.told++
	if number == len(r.Runs) {
		r.Runs = append(r.Runs, run)
	}
	r.Runs[number] = run
}

func (r *reader) Duration(number int, d *totals.Duration) {
	r.told++
	own := totals.Duration{DurationKey: d.DurationKey, Created: d.Created, Buckets: make([]uint64, len(d.Buckets))}
	own.Add(d)
	if number == len(r.Durations) {
		r.Durations = append(r.Durations, own)
	}
	r.Durations[number] = own
}

// Whoever reads the feed now and then knows what is, and is told only what moved.
func TestFeed(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 0))
		settings := totals.Settings{Bounds: []float64{60}, Labels: []string{"version"}, MaxSets: 3000}
		ts := totals.New(settings)
		var known reader
		feed := ts.Feed()
		for row := int64(1); row < 10_000; {
			moved := map[totals.RunKey]bool{}
			timed := map[totals.DurationKey]bool{}
			for range r.IntN(4000) {
				j := versioned(r.IntN(20), r.IntN(100), r.IntN(3))
				j.ID, j.Timed = fmt.Sprint(row), r.IntN(2) == 0
				ts.Apply(row, start, j)
				row++
				if k := totals.OwnKey(j, settings.Labels); len(known.Runs) < 2000 { // nothing folds yet
					moved[k] = true
					if j.Timed {
						timed[k.Histogram()] = true
					}
				}
			}
			reset := r.IntN(5) == 0
			if reset {
				settings.Bounds = []float64{float64(row)}
				ts.Configure(settings, row-1)
			}
			known.told = 0
			feed.Next(&known)
			if diff := cmp.Diff(ts.Snapshot(), &known.Snapshot, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("(-totals +told):\n%s", diff)
			}
			if want := len(moved) + len(timed); !reset && len(known.Runs) < 2000 && known.told != want {
				t.Fatalf("told %d times, %d moved", known.told, want)
			}
			known.told = 0
			if feed.Next(&known); known.told != 0 {
				t.Fatalf("told %d times, nothing moved", known.told)
			}
		}
		resets := known.resets
		ts.Forget("t1", "", 1)
		feed.Next(&known)
		if diff := cmp.Diff(ts.Snapshot(), &known.Snapshot, cmpopts.EquateEmpty()); diff != "" || known.resets != resets+1 {
			t.Fatalf("after forgetting (-totals +told):\n%s", diff)
		}
	}
}

// Jobs come while the feed is read: none is missing in the end, no counter falls.
func TestFeedWhileApplying(t *testing.T) {
	ts := totals.New(totals.Settings{Bounds: []float64{60}})
	feed := ts.Feed()
	const jobs = 30_000
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := range jobs {
			ts.Apply(int64(i+1), start, versioned(i%7, i%3001, 0))
		}
	})
	var known reader
	last := uint64(0)
	for deadline := time.Now().Add(time.Minute); last < jobs; {
		before := append([]totals.Run(nil), known.Runs...)
		feed.Next(&known)
		last = 0
		for i, r := range known.Runs {
			last += r.Count
			if i < len(before) && r.Count < before[i].Count {
				t.Fatalf("%v fell from %d to %d", r.RunKey, before[i].Count, r.Count)
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d jobs were told", last, jobs)
		}
	}
	writer.Wait()
}

// The last job of each bucket that had an id is its exemplar.
func TestExemplars(t *testing.T) {
	ts := totals.New(totals.Settings{Bounds: []float64{60}})
	for i, j := range []job.Job{{ID: "a", Duration: time.Second}, {ID: "b", Duration: time.Minute},
		{Duration: time.Second}, {ID: "c", Duration: time.Hour}} {
		j.Name, j.Project, j.Status, j.Timed = "n", "p", job.Success, true
		ts.Apply(int64(i+1), start.AddDate(0, 0, i), &j)
	}
	want := []totals.Exemplar{{"b", 60_000_000, start.AddDate(0, 0, 1)}, {"c", 3_600_000_000, start.AddDate(0, 0, 3)}}
	if diff := cmp.Diff(want, ts.Snapshot().Durations[0].Exemplars); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
