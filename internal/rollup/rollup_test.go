package rollup_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/rollup"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// blocks are those that a store has.
type blocks map[rollup.Key]rollup.Block

func (s blocks) Blocks(_ context.Context, day rollup.Day, template string, slots bool, take func(*rollup.Block) error) error {
	for _, k := range slices.SortedFunc(maps.Keys(s), inOrder) {
		if k.Day != day || template != "" && k.Template != template {
			continue
		}
		b := s[k]
		b.Cells, b.Slots = slices.Clone(b.Cells), slices.Clone(b.Slots)
		if !slots {
			b.Slots = nil
		}
		if err := take(&b); err != nil {
			return err
		}
	}
	return nil
}

func inOrder(a, b rollup.Key) int {
	if a.Day != b.Day {
		return int(a.Day - b.Day)
	}
	return strings.Compare(a.Template, b.Template)
}

// A machine is roll-ups and their store, which take one small step after the other, also
// while a scan reads: from its goroutines, that a test must not end. Its mutex makes it one
// at a time.
type machine struct {
	testing.TB
	*rollup.Rollups
	options rollup.Options
	now     time.Time

	mu     sync.Mutex
	r      *rand.Rand
	rows   []row // all that were ever recorded
	stored blocks
	pruned map[int64]bool // numbers of rows that are past their retention
	head   rollup.Head

	save   *rollup.Save
	merged []*rollup.Merged // what is to be stored next
	stage  int              // how far that has come
	failed error            // how storing it came out
	left   int              // steps that may come in between

	ahead   bool // a crash left blocks ahead of the head
	pruning *pruning
	prunes  int // begun or ended
}

// A pruning was done, but the roll-ups have not heard of it.
type pruning struct {
	before rollup.Day
	jobs   int64
}

func newMachine(t testing.TB, seed uint64, zone *time.Location) *machine {
	m := &machine{TB: t, r: rand.New(rand.NewPCG(seed, 0)), stored: blocks{}, pruned: map[int64]bool{}}
	m.now = time.Date(2026, 3, 28, 20, 0, 0, 0, time.UTC)
	m.options = rollup.Options{Zone: zone, Memory: pick(m.r, 0, 1, 4<<10, 8<<10, 16<<10)}
	m.Rollups = rollup.New(m.options)
	return m
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// Stages of what was merged.
const (
	merged = iota
	storing
	tried
)

// Blocks lets others take steps before and after what it reads.
func (m *machine) Blocks(ctx context.Context, day rollup.Day, template string, slots bool, take func(*rollup.Block) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.between()
	err := m.stored.Blocks(ctx, day, template, slots, take)
	m.between()
	return err
}

func (m *machine) between() {
	for m.left > 0 && m.r.IntN(2) == 0 {
		m.left--
		m.step()
		if m.stage == merged && m.r.IntN(3) == 0 { // else it would wait for what is being stored
			m.scanFrom(m.stored)
		}
	}
	for m.left == 0 && m.stage != merged {
		m.store()
	}
}

// step does the next that a ledger's writer may do.
func (m *machine) step() {
	if m.r.IntN(3) == 0 {
		rows := 1 + m.r.IntN(4)
		if m.r.IntN(40) == 0 {
			rows = 300 // so many that a scan sets them apart
		}
		for range rows {
			m.apply(m.randomJob())
		}
		return
	}
	switch {
	case m.save == nil && !m.ahead && m.r.IntN(8) == 0, m.pruning != nil:
		m.prune()
	case m.save == nil:
		m.save = m.Begin()
	case len(m.save.Keys()) == 0 && m.merged == nil:
		pruned := m.head.Pruned
		m.head = m.save.Head()
		m.head.Pruned, m.ahead = pruned, false
		m.save.End()
		m.save = nil
	case m.merged == nil:
		m.merge()
	default:
		m.store()
	}
}

func (m *machine) store() {
	switch m.stage {
	case merged:
		m.stage = storing
	case storing:
		m.write()
		m.stage = tried
	default:
		m.save.Stored(m.merged, m.failed)
		m.merged, m.failed, m.stage = nil, nil, merged
	}
}

func (m *machine) merge() {
	keys := m.save.Keys()
	for _, k := range keys[:1+m.r.IntN(len(keys))] {
		var stored *rollup.Block
		if b, ok := m.stored[k]; ok {
			stored = &b
		}
		b, err := m.save.Merge(k, stored)
		if err != nil {
			m.Error(err)
			return
		}
		m.merged = append(m.merged, b)
	}
}

var errDisk = errors.New("the disk is on fire")

// write fails now and then, sometimes when all was done.
func (m *machine) write() {
	m.failed = pick(m.r, nil, nil, nil, errDisk)
	if m.failed != nil && m.r.IntN(2) == 0 {
		return
	}
	for _, b := range m.merged {
		m.stored[b.Key] = b.Block
	}
}

// prune takes two steps, as there are two in a ledger's.
func (m *machine) prune() {
	m.prunes++
	if p := m.pruning; p != nil {
		m.Pruned(p.before, p.jobs)
		m.pruning = nil
		return
	}
	m.pruning = &pruning{before: m.Calendar().DayOf(rollup.SlotOf(m.now)) - rollup.Day(m.r.IntN(3))}
	for k, b := range m.stored {
		if k.Day < m.pruning.before {
			delete(m.stored, k)
			m.pruning.jobs += b.Jobs
		}
	}
	m.head.Pruned += m.pruning.jobs
	for _, r := range m.rows[:m.head.UpTo] {
		if m.Calendar().DayOf(rollup.SlotOf(r.Finished)) < m.pruning.before {
			m.pruned[r.number] = true
		}
	}
}

func (m *machine) apply(j job.Job) {
	m.rows = append(m.rows, row{int64(len(m.rows)) + 1, j})
	m.Apply(int64(len(m.rows)), &j)
}

func (m *machine) randomJob() job.Job {
	r := m.r
	j := job.Job{
		Name: pick(r, "build", "test"), Project: pick(r, "a", "b"), Version: pick(r, "", "1"), SHA: pick(r, "", "x", "x"),
		Status: pick(r, append(job.Statuses, job.Success, job.Failed)...), Timed: r.IntN(3) > 0,
		Finished: m.now.Add(time.Duration(r.Int64N(int64(60*time.Hour))) - 30*time.Hour).Truncate(time.Microsecond),
	}
	j.Job = j.Name
	if r.IntN(4) == 0 {
		j.Version = fmt.Sprint(r.IntN(1000), strings.Repeat(" long", 40)) // of which there is soon no room for more
	}
	if j.Timed {
		j.Duration = pick(r, 0, time.Microsecond, time.Second, job.MaxDuration,
			time.Duration(r.Int64N(int64(job.MaxDuration))), time.Duration(r.Int64N(int64(time.Minute)))).Truncate(time.Microsecond)
	}
	return j
}

// crash is a start from what is stored.
func (m *machine) crash() {
	m.Rollups, m.save, m.merged, m.failed, m.stage = rollup.New(m.options), nil, nil, nil, merged
	ahead := map[rollup.Key]int64{}
	for k, b := range m.stored {
		if b.UpTo > m.head.UpTo {
			ahead[k] = b.UpTo
		}
	}
	m.ahead, m.pruning = len(ahead) > 0, nil
	if err := m.Load(m.head, ahead); err != nil {
		m.Fatal(err)
	}
	for _, r := range m.rows[m.head.UpTo:] {
		m.Apply(r.number, &r.Job)
	}
}

// scan compares what a scan finds with a recount, while others take steps.
func (m *machine) scan() {
	m.left = m.r.IntN(8)
	m.scanFrom(m)
}

func (m *machine) scanFrom(store rollup.Loader) {
	q := rollup.Scan{Template: pick(m.r, "", "", "build", "nobody"), Failures: m.r.IntN(4) == 0, Ranges: m.randomRanges()}
	least, prunes := len(m.rows), m.prunes
	var s scanned
	asOf, err := m.Scan(m.Context(), store, q, s.begin)
	switch {
	case err != nil:
		m.Error(err)
	case asOf < int64(least) || asOf > int64(len(m.rows)):
		m.Errorf("as of row %d: there were %d, and are %d now", asOf, least, len(m.rows))
	case m.pruning != nil || m.prunes != prunes: // it may have found what was being pruned
	default:
		if differs := s.differ(m.rows[:asOf], m.pruned, q); differs != "" {
			m.Error(differs)
		}
	}
}

// randomRanges are some, whole days too, with gaps and without.
func (m *machine) randomRanges() (ranges []rollup.Range) {
	c := m.Calendar()
	at := rollup.SlotOf(m.now) - rollup.Slot(m.r.IntN(200))
	for range 1 + m.r.IntN(5) {
		to := at + rollup.Slot(m.r.IntN(100))
		if m.r.IntN(2) == 0 {
			to = c.First(c.DayOf(at) + rollup.Day(1+m.r.IntN(2)))
		}
		ranges = append(ranges, rollup.Range{From: at, To: to})
		at = to
		if m.r.IntN(3) == 0 {
			at += rollup.Slot(m.r.IntN(50))
		}
	}
	return ranges
}

// Whatever is applied, stored, half stored or lost in a crash, before a scan or while it
// reads: it finds all rows up to one, each once.
func TestScans(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, seed, zone(t, zones[seed%uint64(len(zones))]))
			for range 200 {
				if t.Failed() {
					return
				}
				switch {
				case m.r.IntN(100) == 0:
					m.crash()
				case m.r.IntN(3) == 0:
					m.scan()
				default:
					m.step()
				}
			}
		})
	}
}
