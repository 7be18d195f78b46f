package rollup_test

import (
	"errors"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/rollup"
)

// saved are the blocks of some jobs, stored in one go.
func saved(t testing.TB, zone *time.Location, jobs []job.Job) (blocks, rollup.Head) {
	t.Helper()
	r := rollup.New(rollup.Options{Zone: zone})
	for i := range jobs {
		r.Apply(int64(i)+1, &jobs[i])
	}
	return saveAll(t, r, blocks{})
}

func saveAll(t testing.TB, r *rollup.Rollups, into blocks) (blocks, rollup.Head) {
	t.Helper()
	save := r.Begin()
	for len(save.Keys()) > 0 {
		k := save.Keys()[0]
		var stored *rollup.Block
		if b, ok := into[k]; ok {
			stored = &b
		}
		m, err := save.Merge(k, stored)
		if err != nil {
			t.Fatal(err)
		}
		into[k] = m.Block
		save.Stored([]*rollup.Merged{m}, nil)
	}
	save.End()
	return into, save.Head()
}

func (s blocks) all(yield func(*rollup.Block, error) bool) {
	for _, k := range slices.SortedFunc(maps.Keys(s), inOrder) {
		b := s[k]
		if !yield(&b, nil) {
			return
		}
	}
}

// rezoned are blocks of the days of another time zone, which come in order, each once.
func rezoned(t testing.TB, from iter.Seq2[*rollup.Block, error], to *time.Location) (blocks, error) {
	t.Helper()
	into := blocks{}
	last := rollup.Day(-1 << 31)
	return into, rollup.Rezone(from, rollup.NewCalendar(to), func(b *rollup.Block) error {
		if _, ok := into[b.Key]; ok || b.Day < last {
			t.Errorf("%v comes after %v", b.Key, last)
		}
		last = b.Day
		into[b.Key] = *b
		return nil
	})
}

// Blocks that are moved to another time zone are what its jobs give there, and back again
// what they were.
func TestRezone(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 0))
	for range 40 {
		from, to := zone(t, pick(r, zones...)), zone(t, pick(r, zones...))
		m := newMachine(t, r.Uint64(), from)
		m.now = pick(r, m.now, time.Date(2011, 12, 30, 0, 0, 0, 0, time.UTC), time.Date(2018, 11, 4, 3, 0, 0, 0, time.UTC))
		jobs := make([]job.Job, 1+r.IntN(300))
		for i := range jobs {
			if jobs[i] = m.randomJob(); i%2 == 0 {
				jobs[i].Finished = jobs[i].Finished.Add(time.Duration(r.IntN(20)-10) * 24 * time.Hour)
			}
		}
		before, _ := saved(t, from, jobs)
		want, _ := saved(t, to, jobs)
		moved, err := rezoned(t, before.all, to)
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(want, moved); diff != "" {
			t.Fatalf("%v to %v (-want +got):\n%s", from, to, diff)
		}
		back, err := rezoned(t, moved.all, from)
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(before, back); diff != "" {
			t.Fatalf("%v to %v and back (-want +got):\n%s", from, to, diff)
		}
	}
}

// Whatever fails, Rezone does.
func TestRezoneFails(t *testing.T) {
	stored, _ := saved(t, time.UTC, []job.Job{{Name: "build", Project: "a", Status: job.Failed, Finished: time.Unix(1e9, 0)}})
	to := rollup.NewCalendar(time.UTC)
	nothing := func(*rollup.Block) error { return nil }
	for what, err := range map[string]error{
		"reading": rollup.Rezone(func(yield func(*rollup.Block, error) bool) { yield(nil, errDisk) }, to, nothing),
		"storing": rollup.Rezone(stored.all, to, func(*rollup.Block) error { return errDisk }),
	} {
		if !errors.Is(err, errDisk) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for k, b := range stored {
		b.Slots = b.Slots[:2]
		stored[k] = b
	}
	if err := rollup.Rezone(stored.all, to, nothing); err == nil {
		t.Error("a damaged block was moved")
	}
}
