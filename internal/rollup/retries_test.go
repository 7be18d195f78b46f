package rollup_test

import (
	"fmt"
	"testing"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/rollup"
)

// remembered is how many failures are.
const remembered = 50_000

// A tries is roll-ups of jobs that are tries of something.
type tries struct {
	testing.TB
	*rollup.Rollups
	row int64
}

func (s *tries) apply(sha string, status job.Status, took time.Duration, after time.Duration) {
	s.row++
	s.Apply(s.row, &job.Job{Name: "build", Project: "a", SHA: sha, Status: status, Finished: noon.Add(after), Timed: took > 0, Duration: took})
}

// again is how many successes were another try, and what was wasted.
func (s *tries) again() (n int64, wasted time.Duration) {
	var found scanned
	q := rollup.Scan{Ranges: []rollup.Range{{From: rollup.SlotOf(noon) - 1000, To: rollup.SlotOf(noon) + 1000}}}
	if _, err := s.Scan(s.Context(), blocks{}, q, found.begin); err != nil {
		s.Fatal(err)
	}
	for _, c := range found.sums {
		n += c.Again
		wasted += time.Duration(c.Wasted) * time.Microsecond
	}
	return n, wasted
}

func newTries(t testing.TB) *tries { return &tries{t, rollup.New(rollup.Options{}), 0} }

func TestTries(t *testing.T) {
	const day = 24 * time.Hour
	type try struct {
		status job.Status
		took   time.Duration
		after  time.Duration
	}
	for what, test := range map[string]struct {
		tries  []try
		again  int64
		wasted time.Duration
	}{
		"a success":                {[]try{{job.Success, 1, 0}}, 0, 0},
		"after a failure":          {[]try{{job.Failed, time.Minute, 0}, {job.Success, 5, 0}}, 1, time.Minute},
		"after one without a time": {[]try{{job.Failed, 0, 0}, {job.Success, 5, 0}}, 1, 0},
		"after three": {[]try{{job.Failed, time.Minute, 0}, {job.TimedOut, time.Hour, 0}, {job.Failed, 0, 0}, {job.Success, 5, 0}},
			1, time.Hour + time.Minute},
		"twice after one": {[]try{{job.Failed, time.Minute, 0}, {job.Success, 5, 0}, {job.Success, 5, 0}}, 1, time.Minute},
		"each after one": {[]try{{job.Failed, time.Minute, 0}, {job.Success, 5, 0}, {job.Failed, time.Second, 0}, {job.Success, 5, 0}},
			2, time.Minute + time.Second},
		"with others between": {[]try{{job.Failed, time.Minute, 0}, {job.Canceled, time.Hour, 0}, {job.Skipped, 0, 0}, {job.Unknown, 0, 0},
			{job.Success, 5, 0}}, 1, time.Minute},
		"a day after":              {[]try{{job.Failed, time.Minute, 0}, {job.Success, 5, day}}, 1, time.Minute},
		"more than a day after":    {[]try{{job.Failed, time.Minute, 0}, {job.Success, 5, day + 15*time.Minute}}, 0, 0},
		"a day before":             {[]try{{job.Failed, time.Minute, day}, {job.Success, 5, 0}}, 1, time.Minute},
		"more than a day before":   {[]try{{job.Failed, time.Minute, day + 15*time.Minute}, {job.Success, 5, 0}}, 0, 0},
		"of failures for days":     {[]try{{job.Failed, time.Minute, 0}, {job.Failed, time.Second, day}, {job.Success, 5, 2 * day}}, 1, time.Minute + time.Second},
		"of failures after a gap":  {[]try{{job.Failed, time.Minute, 0}, {job.Failed, time.Second, 2 * day}, {job.Success, 5, 2 * day}}, 1, time.Second},
		"too late, and then again": {[]try{{job.Failed, time.Minute, 0}, {job.Success, 5, 2 * day}, {job.Success, 5, 0}}, 0, 0},
	} {
		for _, sha := range []string{"", "x"} {
			s := newTries(t)
			for _, j := range test.tries {
				s.apply(sha, j.status, j.took, j.after)
			}
			want, wasted := test.again, test.wasted
			if sha == "" {
				want, wasted = 0, 0
			}
			if n, w := s.again(); n != want || w != wasted {
				t.Errorf("%s, of commit %q: %d wasted %v, want %d and %v", what, sha, n, w, want, wasted)
			}
		}
	}
}

// Only the last failures are remembered, in the order of rows; also by a start that has
// them from the store.
func TestTriesAreBounded(t *testing.T) {
	s := newTries(t)
	const more = 1000
	for i := range remembered + more {
		s.apply(fmt.Sprint(i), job.Failed, time.Second, 0)
		switch i % 10 { // what is no failure any more, or one again, keeps its place
		case 3:
			s.apply(fmt.Sprint(i), job.Success, 0, 0)
		case 5:
			s.apply(fmt.Sprint(i-5), job.Failed, time.Second, 0)
		}
	}
	pushed := remembered + more + (remembered+more)/10
	_, head := saveAll(t, s.Rollups, blocks{}) // so that both have only what comes now in memory
	later := &tries{t, rollup.New(rollup.Options{}), s.row}
	if err := later.Load(head, nil); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*tries{s, later} {
		start, _ := s.again()
		want := int64(0)
		for i := range remembered + more {
			s.apply(fmt.Sprint(i), job.Success, 0, 0)
			place := i + (i+4)/10 + 1 // when it was pushed, the first failure of all is 1
			if i%10 == 0 {
				place = i + 5 + (i+5+4)/10 + 2 // as one again
			}
			if i%10 != 3 && place > pushed-remembered {
				want++
			}
		}
		if n, _ := s.again(); n-start != want {
			t.Errorf("%d of the last %d failures are remembered, want %d", n-start, remembered, want)
		}
	}
}
