package ledgertest

import (
	"context"
	"errors"
	"iter"
	"testing"
	"time"

	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/rollup"
)

// rollupTests is the part of the contract that is about roll-ups.
var rollupTests = map[string]func(*testing.T, func() ledger.Store){
	"blocks come back as they went in":      testBlocks,
	"blocks replace each other":             testBlocksReplace,
	"no roll-ups, then empty ones":          testNoRollups,
	"roll-ups do not go back":               testRollupsGoOn,
	"blocks ahead of the roll-ups are told": testAhead,
	"old blocks are pruned":                 testPruneBlocks,
	"all blocks can be replaced":            testRezone,
	"an error replaces no blocks":           testRezoneFails,
	"jobs are found by their numbers":       testJobs,
}

// block is one with contents that mean nothing: a store does not look into them.
func block(day rollup.Day, template string, upTo int64) *rollup.Block {
	return &rollup.Block{Key: rollup.Key{Day: day, Template: template}, UpTo: upTo, Jobs: 7 * upTo,
		Cells: []byte{0, byte(upTo), 255}, Slots: []byte("\x00" + template)}
}

func saveBlocks(t *testing.T, s ledger.Store, blocks ...*rollup.Block) {
	t.Helper()
	if err := s.SaveBlocks(t.Context(), blocks); err != nil {
		t.Fatalf("SaveBlocks: %v", err)
	}
}

func saveHead(t *testing.T, s ledger.Store, h rollup.Head) {
	t.Helper()
	if err := s.SaveRollups(t.Context(), h); err != nil {
		t.Fatalf("SaveRollups: %v", err)
	}
}

func blocks(t *testing.T, s ledger.Store, day rollup.Day, template string, slots bool) (found []*rollup.Block) {
	t.Helper()
	err := s.Blocks(t.Context(), day, template, slots, func(b *rollup.Block) error {
		found = append(found, b)
		return nil
	})
	if err != nil {
		t.Fatalf("Blocks: %v", err)
	}
	return found
}

func heads(t *testing.T, s ledger.Store, want rollup.Head, ahead map[rollup.Key]int64) {
	t.Helper()
	h, got, err := s.LoadRollups(t.Context())
	if err != nil {
		t.Fatalf("LoadRollups: %v", err)
	}
	equal(t, "head", h, want)
	equal(t, "blocks ahead", got, ahead)
}

func testBlocks(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	var none []*rollup.Block
	a, b, umlaut, other := block(20000, "a", 1), block(20000, "b%", 2), block(20000, "ü", 3), block(-1, "a", 4)
	saveBlocks(t, s, umlaut, other, a, b)
	for range 2 {
		equal(t, "all of a day, by template", blocks(t, s, 20000, "", true), []*rollup.Block{a, b, umlaut})
		equal(t, "one template", blocks(t, s, 20000, "b%", true), []*rollup.Block{b})
		equal(t, "a template that is none", blocks(t, s, 20000, "%", true), none)
		equal(t, "another day", blocks(t, s, -1, "", true), []*rollup.Block{other})
		equal(t, "a day without", blocks(t, s, 19999, "", true), none)
		without := *a
		without.Slots = nil
		equal(t, "without slots", blocks(t, s, 20000, "a", false), []*rollup.Block{&without})
		closeStore(t, s)
		s = use(t, open)
	}
	failed := errors.New("enough")
	calls := 0
	err := s.Blocks(t.Context(), 20000, "", true, func(*rollup.Block) error { calls++; return failed })
	if !errors.Is(err, failed) || calls != 1 {
		t.Errorf("%v after %d blocks, want that of the first", err, calls)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if s.Blocks(ended, 20000, "", true, func(*rollup.Block) error { return nil }) == nil || s.SaveBlocks(ended, []*rollup.Block{a}) == nil {
		t.Error("a context that had ended was not heeded")
	}
}

func testBlocksReplace(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	saveBlocks(t, s, block(1, "a", 1), block(2, "a", 1))
	saveBlocks(t, s, block(1, "a", 9))
	equal(t, "replaced", blocks(t, s, 1, "", true), []*rollup.Block{block(1, "a", 9)})
	equal(t, "the other", blocks(t, s, 2, "", true), []*rollup.Block{block(2, "a", 1)})
}

func head(upTo int64) rollup.Head {
	return rollup.Head{UpTo: upTo, Since: 2, Before: 1, Zone: "Europe/Berlin", Last: 1_900_000, Failures: []byte{1, 0, 255}}
}

func testNoRollups(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	heads(t, s, rollup.Head{}, nil)
	saveHead(t, s, rollup.Head{Zone: "UTC"})
	heads(t, s, rollup.Head{Zone: "UTC"}, nil)
	saveHead(t, s, head(7))
	heads(t, s, head(7), nil)
	closeStore(t, s)
	heads(t, use(t, open), head(7), nil)
}

func testRollupsGoOn(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	saveHead(t, s, head(7))
	if err := s.SaveRollups(t.Context(), head(6)); err == nil {
		t.Error("roll-ups up to job 6 replaced those up to job 7")
	}
	saveHead(t, s, head(7))
	heads(t, s, head(7), nil)
}

func testAhead(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	saveHead(t, s, head(7))
	saveBlocks(t, s, block(1, "a", 7), block(1, "b", 8), block(3, "a", 9))
	heads(t, s, head(7), map[rollup.Key]int64{{Day: 1, Template: "b"}: 8, {Day: 3, Template: "a"}: 9})
}

func testPruneBlocks(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	saveHead(t, s, head(7))
	for day := range rollup.Day(5) {
		saveBlocks(t, s, block(day, "a", 1), block(day, "b", 2))
	}
	total := int64(0)
	for _, step := range []struct {
		before       rollup.Day
		limit, count int
	}{{0, 10, 0}, {2, 3, 3}, {2, 10, 1}, {2, 10, 0}, {4, 9, 4}} {
		n, jobs, err := s.PruneBlocks(t.Context(), step.before, step.limit)
		if total += jobs; n != step.count || err != nil {
			t.Fatalf("PruneBlocks(%+v): %d with %d jobs, %v", step, n, jobs, err)
		}
	}
	equal(t, "the last day", len(blocks(t, s, 4, "", true)), 2)
	want := head(7)
	want.Pruned = 4 * 21
	equal(t, "jobs of pruned blocks", total, want.Pruned)
	saveHead(t, s, head(7)) // which says nothing of what was pruned
	heads(t, s, want, nil)
}

func testRezone(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	saveHead(t, s, head(7))
	saveBlocks(t, s, block(2, "a", 1), block(1, "b", 2), block(1, "a", 3))
	if _, _, err := s.PruneBlocks(t.Context(), 0, 1); err != nil {
		t.Fatal(err)
	}
	moved := head(7)
	moved.Zone = "UTC"
	var seen []rollup.Key
	err := s.Rezone(t.Context(), moved, func(old iter.Seq2[*rollup.Block, error], put func(*rollup.Block) error) error {
		for b, err := range old {
			if err != nil {
				return err
			}
			seen = append(seen, b.Key)
			b.Day += 10
			if err := put(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "the old ones, in order", seen, []rollup.Key{{Day: 1, Template: "a"}, {Day: 1, Template: "b"}, {Day: 2, Template: "a"}})
	equal(t, "the old day", len(blocks(t, s, 1, "", true)), 0)
	equal(t, "the new day", blocks(t, s, 11, "", true), []*rollup.Block{block(11, "a", 3), block(11, "b", 2)})
	heads(t, s, moved, nil)
}

func testRezoneFails(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	saveHead(t, s, head(7))
	saveBlocks(t, s, block(1, "a", 1))
	failed := errors.New("no")
	err := s.Rezone(t.Context(), rollup.Head{UpTo: 7, Zone: "UTC"}, func(_ iter.Seq2[*rollup.Block, error], put func(*rollup.Block) error) error {
		return errors.Join(put(block(3, "b", 1)), failed)
	})
	if !errors.Is(err, failed) {
		t.Errorf("Rezone: %v", err)
	}
	heads(t, s, head(7), nil)
	equal(t, "the old block", blocks(t, s, 1, "", true), []*rollup.Block{block(1, "a", 1)})
	equal(t, "the new block", len(blocks(t, s, 3, "", true)), 0)
}

func testJobs(t *testing.T, open func() ledger.Store) {
	s := use(t, open)
	var numbers []int64
	for i := range 1200 { // more than a statement takes
		numbers = append(numbers, int64(i)+2)
	}
	for range 12 {
		batch := make([]ledger.Entry, 100)
		for i := range batch {
			batch[i] = Entry(time.Duration(i)*time.Second, "")
		}
		appendAll(t, s, batch...)
	}
	found, err := s.Jobs(t.Context(), numbers)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int64]bool{}
	for i := range found {
		seen[found[i].Seq] = true
	}
	equal(t, "rows", len(found), 1199) // 2 to 1200
	equal(t, "different ones", len(seen), 1199)
	one, err := s.Jobs(t.Context(), []int64{1})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "a row", one, []ledger.Row{{Seq: 1, Entry: Entry(0, "")}})
	none, err := s.Jobs(t.Context(), nil)
	if err != nil || len(none) > 0 {
		t.Errorf("no numbers: %v, %v", none, err)
	}
}
