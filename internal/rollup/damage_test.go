package rollup_test

import (
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/rollup"
)

// aDay are jobs of all kinds, all of one block.
func aDay(t testing.TB) []job.Job {
	t.Helper()
	m := newMachine(t, 3, time.UTC)
	jobs := make([]job.Job, 30)
	for i := range jobs {
		jobs[i] = m.randomJob()
		jobs[i].Name, jobs[i].Job, jobs[i].Version = "build", "", pick(m.r, "", "1", "2")
		jobs[i].Finished = noon.Add(time.Duration(m.r.IntN(600)) * time.Minute)
	}
	return jobs
}

var noon = time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)

// use does with a block all that is ever done with one. It fails if it is damaged.
func use(t testing.TB, b rollup.Block) error {
	t.Helper()
	stored := blocks{b.Key: b}
	day := rollup.NewCalendar(time.UTC).Slots(b.Day)
	for _, q := range []rollup.Scan{
		{Ranges: []rollup.Range{day}},
		{Ranges: []rollup.Range{{From: day.From, To: day.From + 50}, {From: day.From + 50, To: day.To}}},
		{Ranges: []rollup.Range{day}, Failures: true},
	} {
		r := rollup.New(rollup.Options{})
		if err := r.Load(rollup.Head{UpTo: b.UpTo, Zone: "UTC", Last: day.To}, nil); err != nil {
			t.Fatal(err)
		}
		var s scanned
		if _, err := r.Scan(t.Context(), stored, q, s.begin); err != nil {
			return err
		}
	}
	return merge(stored, b)
}

// merge adds a job to a block.
func merge(stored blocks, b rollup.Block) error {
	r := rollup.New(rollup.Options{})
	r.Apply(b.UpTo+1, &job.Job{Name: b.Template, Project: "a", Status: job.Failed, Finished: noon})
	save := r.Begin()
	before := stored[b.Key]
	_, err := save.Merge(save.Keys()[0], &before)
	return err
}

// A block with any byte changed or missing is an error, or a block all the same: there is
// no checksum.
func TestDamagedBlock(t *testing.T) {
	stored, _ := saved(t, time.UTC, aDay(t))
	for b := range maps.Values(stored) {
		if err := use(t, b); err != nil {
			t.Fatalf("before it was damaged: %v", err)
		}
		if b := (rollup.Block{Key: b.Key, UpTo: b.UpTo, Jobs: b.Jobs + 1, Cells: b.Cells, Slots: b.Slots}); use(t, b) == nil {
			t.Error("a block has more jobs than its cells")
		}
		failed := 0
		try := func(part *[]byte, damaged []byte) {
			whole := *part
			*part = damaged
			if use(t, b) != nil {
				failed++
			}
			*part = whole
		}
		tries := 0
		for _, part := range []*[]byte{&b.Cells, &b.Slots} {
			for i := range *part {
				before := failed
				if try(part, (*part)[:i]); failed == before {
					t.Errorf("the first %d of %d bytes are a block", i, len(*part))
				}
				for bit := range 8 {
					damaged := append([]byte(nil), *part...)
					damaged[i] ^= 1 << bit
					try(part, damaged)
					tries++
				}
			}
		}
		if failed < tries/3 {
			t.Errorf("only %d of %d damages were found", failed, tries)
		}
	}
}

// What is read as a block is written as one that is read as the same.
func FuzzBlock(f *testing.F) {
	stored, _ := saved(f, time.UTC, aDay(f))
	for b := range maps.Values(stored) {
		f.Add(b.Cells, b.Slots, b.Jobs)
	}
	few, _ := saved(f, time.UTC, aDay(f)[:2])
	for b := range maps.Values(few) {
		f.Add(b.Cells, b.Slots, b.Jobs)
	}
	f.Add([]byte("\x01\x02\x01a\x00\x01\x00\x01\x00\x01\x00\x00"), []byte("\x01\x01\xff\xff\xff\xff\x07\x01\x00\x00"), int64(1)) // far ahead
	day := rollup.DateOf(2026, 3, 28)
	f.Fuzz(func(t *testing.T, cells, slots []byte, jobs int64) {
		b := rollup.Block{Key: rollup.Key{Day: day, Template: "build"}, UpTo: 100, Jobs: jobs, Cells: cells, Slots: slots}
		_ = use(t, b)
		once, err := moved(blocks{b.Key: b})
		if err != nil {
			return
		}
		twice, err := moved(once)
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(once, twice); diff != "" {
			t.Fatal(diff)
		}
	})
}

// moved are blocks that stayed in their time zone. The slots of a damaged one may be of
// any day, so that they come in no order.
func moved(from blocks) (blocks, error) {
	into := blocks{}
	return into, rollup.Rezone(from.all, rollup.NewCalendar(time.UTC), func(b *rollup.Block) error {
		into[b.Key] = *b
		return nil
	})
}

// The same for the failures that the head remembers.
func FuzzFailures(f *testing.F) {
	_, head := saved(f, time.UTC, aDay(f))
	f.Add(head.Failures)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, failures []byte) {
		r := rollup.New(rollup.Options{})
		if r.Load(rollup.Head{UpTo: 7, Failures: failures}, nil) != nil {
			return
		}
		save := r.Begin() // there is no zone yet
		again := rollup.New(rollup.Options{})
		if err := again.Load(save.Head(), nil); err != nil {
			t.Fatal(err)
		}
		again.Apply(8, &job.Job{Name: "build", SHA: "x", Status: job.Success, Finished: noon})
	})
}

// Damaged failures are an error, or others.
func TestDamagedFailures(t *testing.T) {
	_, head := saved(t, time.UTC, aDay(t))
	r := rand.New(rand.NewPCG(1, 0))
	for i := range head.Failures {
		cut := head
		if cut.Failures = head.Failures[:i]; i > 0 && rollup.New(rollup.Options{}).Load(cut, nil) == nil {
			t.Errorf("the first %d of %d bytes are the failures", i, len(head.Failures))
		}
		damaged := append([]byte(nil), head.Failures...)
		damaged[i] ^= byte(1 + r.IntN(255))
		cut.Failures = damaged
		_ = rollup.New(rollup.Options{}).Load(cut, nil)
	}
}
