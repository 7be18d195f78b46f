package rollup_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/rollup"
)

// A hooked loader does something when it has read.
type hooked struct {
	blocks
	then func()
}

func (h hooked) Blocks(ctx context.Context, day rollup.Day, template string, slots bool, take func(*rollup.Block) error) error {
	err := h.blocks.Blocks(ctx, day, template, slots, take)
	h.then()
	return err
}

// Views that were read before their blocks were pruned are not kept.
func TestPrunedWhileRead(t *testing.T) {
	stored, head := saved(t, time.UTC, []job.Job{{Name: "build", Project: "a", Status: job.Success, Finished: noon}})
	r := rollup.New(rollup.Options{})
	if err := r.Load(head, nil); err != nil {
		t.Fatal(err)
	}
	day := rollup.NewCalendar(time.UTC).Slots(rollup.DateOf(noon.Date()))
	q := rollup.Scan{Ranges: []rollup.Range{day}}
	var s scanned
	prune := sync.OnceFunc(func() {
		clear(stored)
		r.Pruned(rollup.DateOf(noon.Date())+1, 1)
	})
	if _, err := r.Scan(t.Context(), hooked{stored, prune}, q, s.begin); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Scan(t.Context(), stored, q, s.begin); err != nil || len(s.sums) != 0 {
		t.Errorf("then there are %v, %v", s.sums, err)
	}
}
