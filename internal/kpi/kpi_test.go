package kpi_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/sqlite"
	"ci-jobs-metrics/internal/rollup"
)

var rounds = flag.Int("rounds", 1, "how often TestAnswersAreARecount plays every scene")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var silent = slog.New(slog.DiscardHandler)

// scenes are zones and moments about to set their clocks, or without.
var scenes = []struct{ zone, clock string }{
	{"UTC", "2026-02-28T20:00:00Z"},
	{"Europe/Berlin", "2026-03-28T21:00:00Z"},
	{"Europe/Berlin", "2025-10-25T20:00:00Z"},
	{"America/New_York", "2026-03-08T02:00:00Z"},
	{"America/New_York", "2025-11-02T01:00:00Z"},
	{"Asia/Kolkata", "2026-01-01T16:00:00Z"},
	{"Australia/Lord_Howe", "2026-04-04T10:00:00Z"},
	{"Australia/Lord_Howe", "2025-10-04T12:00:00Z"},
	{"Asia/Kathmandu", "2025-12-31T16:00:00Z"},
	{"Pacific/Apia", "2011-12-30T04:00:00Z"}, // which had no 30 December
	{"America/Sao_Paulo", "2018-02-17T20:00:00Z"},
	{"America/Sao_Paulo", "2018-11-03T23:00:00Z"}, // the day had no midnight
	{"America/Havana", "2026-03-08T00:00:00Z"},
	{"America/Havana", "2025-11-01T22:00:00Z"},
	{"America/St_Johns", "2006-10-28T22:00:00Z"}, // set back at 00:01
}

func load(t *testing.T, zone string) *time.Location {
	t.Helper()
	l, err := rollup.LoadZone(zone)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A world is a ledger that lives through many things.
type world struct {
	*testing.T
	r     *rand.Rand
	clock atomic.Int64 // microseconds
	zone  *time.Location
	path  string
	model model

	store *modelled
	*ledger.Ledger
	*kpi.Asker
	kills []kill // of this life, the writer's until it has ended
}

func (w *world) now() time.Time { return time.UnixMicro(w.clock.Load()).UTC() }

func (w *world) sleep(d time.Duration) { w.clock.Add(d.Microseconds()) }

// Random jobs, prunings, saves, kills, restarts and time zones: every answer is what a
// recount of the jobs says.
func TestAnswersAreARecount(t *testing.T) {
	for seed := range *rounds * len(scenes) {
		scene := scenes[seed%len(scenes)]
		t.Run(fmt.Sprintf("%d %s", seed, scene.zone), func(t *testing.T) {
			w := &world{T: t, r: rand.New(rand.NewPCG(uint64(seed), 0)), zone: load(t, scene.zone)}
			start, err := time.Parse(time.RFC3339, scene.clock)
			if err != nil {
				t.Fatal(err)
			}
			w.clock.Store(start.UnixMicro())
			w.path = filepath.Join(t.TempDir(), "ledger.db")
			for range 3 {
				w.live()
			}
		})
	}
}

// live is from a start to a stop or a kill.
func (w *world) live() {
	w.open()
	w.ask(3)
	for range 6 {
		w.record()
		w.ask(2)
		w.sleep(pick(w.r, 0, time.Microsecond, 10*time.Minute, time.Hour, 5*time.Hour))
	}
	if err := w.Close(context.Background()); err != nil {
		w.Fatal(err)
	}
	w.model = w.store.model
	w.sound("after a stop")
	if len(w.kills) > 0 && w.r.IntN(3) > 0 {
		k := pick(w.r, w.kills...)
		w.Log("going on as killed", k.when)
		w.path, w.model = k.path, k.model
		w.sound(k.when)
	}
	w.sleep(pick(w.r, 0, time.Hour, 24*time.Hour))
	if w.r.IntN(3) == 0 {
		w.zone = load(w.T, pick(w.r, scenes...).zone)
	}
}

// sound is for a ledger whose roll-ups were not pruned: jobs may come late for days that
// were, of which it then has less than all.
func (w *world) sound(when string) {
	if len(w.model.prunings) > 0 {
		return
	}
	report, err := sqlite.Verify(w.Context(), w.path, func(string, int64, int64) {})
	if err != nil {
		w.Fatalf("%s: %v", when, err)
	}
	for _, p := range report.Problems {
		w.Errorf("%s: %s", when, p)
	}
}

func (w *world) open() {
	inner, err := sqlite.Open(w.Context(), w.path, w.now(), silent)
	if err != nil {
		w.Fatal(err)
	}
	w.kills = nil
	dice := rand.New(rand.NewPCG(w.r.Uint64(), 1))
	w.store = newModelled(inner, w.zone, &w.model)
	w.store.more = func(blocks int) int { return 1 + dice.IntN(blocks) }
	w.store.step = func(what string) {
		if len(w.kills) < 5 && dice.IntN(12) == 0 {
			w.kills = append(w.kills, kill{what, copyLedger(w.T, w.path), w.store.model})
		}
	}
	w.Ledger, err = ledger.Open(w.Context(), w.store, ledger.Options{
		Now: w.now, CheckpointEvery: 20 * time.Millisecond, PruneEvery: 20 * time.Millisecond, RollupEvery: time.Millisecond,
		Retention:       pick(w.r, 0, 3*time.Hour, 24*time.Hour),
		RollupRetention: pick(w.r, 0, 0, 36*time.Hour, 20*24*time.Hour),
		Rollups:         rollup.Options{Zone: w.zone, Memory: pick(w.r, 0, 4<<10, 64<<10)},
	})
	if err != nil {
		w.Fatal(err)
	}
	l := w.Ledger
	w.Cleanup(func() { l.Close(context.Background()) }) // after a failure
	w.Asker = kpi.New(l)
}

// ask asks some questions, as of now.
func (w *world) ask(n int) {
	for range n {
		w.checkSoon(pickQuestion(w.r, w.now(), w.zone))
	}
}

// checkSoon checks an answer when nothing vanishes meanwhile.
func (w *world) checkSoon(q *question) {
	for deadline := time.Now().Add(time.Minute); !w.check(q); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatal("the ledger does not come to rest")
		}
	}
}

// check is false if jobs vanished meanwhile.
func (w *world) check(q *question) bool {
	m, before, ok := w.store.settled()
	if !ok {
		return false
	}
	answer, asOf, err := q.ask(w.Context(), w.Asker)
	if err != nil {
		w.Fatalf("%v: %v", q, err)
	}
	row := func(int64) bool { return true }
	if q.what == "failures" {
		row = w.rows()
	}
	if _, after, ok := w.store.settled(); !ok || after != before {
		return false
	}
	if last := m.last(); asOf.Job != last {
		w.Fatalf("%v: as of %d, but %d jobs were acknowledged", q, asOf.Job, last)
	}
	r := m.recount(w.zone, asOf.Job)
	r.row = row
	if differs := q.differ(answer, r); differs != "" {
		w.Fatalf("%v, of %d jobs (-want +got):\n%s", q, len(r.jobs), differs)
	}
	return true
}

// rows says which rows there are.
func (w *world) rows() func(number int64) bool {
	rows, err := w.store.Rows(w.Context(), 0, math.MaxInt32)
	if err != nil {
		w.Fatal(err)
	}
	kept := map[int64]bool{}
	for _, row := range rows {
		kept[row.Seq] = true
	}
	return func(number int64) bool { return kept[number] }
}
