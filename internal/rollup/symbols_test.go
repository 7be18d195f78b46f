package rollup_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/rollup"
)

// Texts get new numbers when there are too many, here between merging a block and storing
// it: what was merged with the old ones is not taken for something else.
func TestSymbolsBeginAnew(t *testing.T) {
	r := rollup.New(rollup.Options{Memory: 8 << 10})
	var rows []row
	apply := func(version string, at time.Time) {
		j := job.Job{Name: "build", Project: "a", Version: version, Status: job.Success, Finished: at}
		rows = append(rows, row{int64(len(rows)) + 1, j})
		r.Apply(int64(len(rows)), &j)
	}
	for i := range 50 { // of a day that is asked for once
		apply(fmt.Sprint(i, strings.Repeat(" long", 40)), noon.Add(-48*time.Hour))
	}
	apply("before", noon)
	stored, _ := saveAll(t, r, blocks{})

	apply("now", noon)
	save := r.Begin()
	k := save.Keys()[0]
	q := rollup.Scan{Ranges: []rollup.Range{rollup.NewCalendar(time.UTC).Slots(k.Day)}}
	scan := func(q rollup.Scan) {
		t.Helper()
		var s scanned
		if _, err := r.Scan(t.Context(), stored, q, s.begin); err != nil {
			t.Fatal(err)
		}
		if differs := s.differ(rows, nil, q); differs != "" {
			t.Fatal(differs)
		}
	}
	scan(rollup.Scan{Ranges: []rollup.Range{rollup.NewCalendar(time.UTC).Slots(k.Day - 2)}})
	before := stored[k]
	m, err := save.Merge(k, &before)
	if err != nil {
		t.Fatal(err)
	}
	size := r.Stats().Cached
	scan(q) // here
	if after := r.Stats().Cached; after > size/4 {
		t.Fatalf("there are %d bytes, after %d: texts did not begin anew", after, size)
	}
	stored[k] = m.Block
	save.Stored([]*rollup.Merged{m}, nil)
	save.End()
	scan(q)
}
