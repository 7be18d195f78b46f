package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"ci-jobs-metrics/bench/internal/load"
	"ci-jobs-metrics/internal/history"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/sqlite"
	"ci-jobs-metrics/internal/rollup"
)

// sizes says what the roll-ups take on the disk.
func (b *bench) sizes(ctx context.Context) error {
	db, err := sql.Open("sqlite", "file:"+b.ledger+"?mode=ro")
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // only read
	var blocks, jobs, cells, slots int64
	err = db.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(jobs), 0), coalesce(sum(length(cells)), 0), coalesce(sum(length(slots)), 0) FROM rollup_blocks`).
		Scan(&blocks, &jobs, &cells, &slots)
	if err != nil {
		return err
	}
	info, err := os.Stat(b.ledger)
	if err != nil {
		return err
	}
	millions := float64(jobs) / 1e6
	fmt.Printf("on the disk, MB per million jobs: the ledger %.0f, of which roll-ups %.1f (%.1f by days, %.1f by quarters of an hour), in %d blocks\n",
		float64(info.Size())/1e6/millions, float64(cells+slots)/1e6/millions, float64(cells)/1e6/millions, float64(slots)/1e6/millions, blocks)
	return nil
}

// costRows are how many jobs the costs of the roll-ups are measured over.
const costRows = 500_000

// costs says what the roll-ups take of the processor, beside all of ingest.
func (b *bench) costs(ctx context.Context) error {
	dir, err := os.MkdirTemp(filepath.Dir(b.ledger), "ci-jobs-metrics-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the system clears it too
	shape := history.Bench(b.end)
	shape.Jobs, shape.Days = costRows, 5
	entries := slices.Collect(shape.Entries())
	var apart, whole []float64
	for round := range 3 {
		store, err := sqlite.Open(ctx, filepath.Join(dir, fmt.Sprint("apart-", round)), b.end, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		before := processorTime()
		err = errors.Join(foldAndStore(ctx, store, entries), store.Close())
		if err != nil {
			return err
		}
		apart = append(apart, (processorTime()-before)/costRows*1e6)
		used, err := b.ingest(round, filepath.Join(dir, fmt.Sprint("whole-", round)))
		if err != nil {
			return err
		}
		whole = append(whole, used)
	}
	fmt.Printf("\nthe roll-ups take %.2f us of processor time per job, folded and stored every 100 000 jobs; ingest of single requests as a whole %.1f us: %.1f %%\n",
		load.Median(apart), load.Median(whole), load.Median(apart)/(load.Median(whole)-load.Median(apart))*100)
	return nil
}

// foldAndStore is what the ledger does with roll-ups, and nothing else.
func foldAndStore(ctx context.Context, store ledger.Store, entries []ledger.Entry) error {
	r := rollup.New(rollup.Options{})
	for i := range entries {
		r.Apply(int64(i+1), &entries[i].Job)
		if (i+1)%100_000 > 0 && i+1 < len(entries) {
			continue
		}
		save := r.Begin()
		for _, k := range slices.Clone(save.Keys()) {
			var stored *rollup.Block
			err := store.Blocks(ctx, k.Day, k.Template, true, func(b *rollup.Block) error { stored = b; return nil })
			if err != nil {
				return err
			}
			m, err := save.Merge(k, stored)
			if err != nil {
				return err
			}
			err = store.SaveBlocks(ctx, []*rollup.Block{&m.Block})
			if save.Stored([]*rollup.Merged{m}, err); err != nil {
				return err
			}
		}
		if err := store.SaveRollups(ctx, save.Head()); err != nil {
			return err
		}
		save.End()
	}
	return nil
}

// ingest is what a receiver takes of the processor for a job, in microseconds.
func (b *bench) ingest(round int, ledgerPath string) (float64, error) {
	other := *b
	other.ledger = ledgerPath
	s, _, err := other.startReceiver()
	if err != nil {
		return 0, err
	}
	defer s.Stop()
	before := s.CPU()
	r, err := load.Run(s.Address, load.Classic, 256, round, b.length)
	if err != nil {
		return 0, err
	}
	return (s.CPU() - before) / float64(r.Requests) * 1e6, nil
}

// processorTime is what this process has used, in seconds.
func processorTime() float64 {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// asked compares ingest while an overview is asked for every second with ingest without,
// over the whole history.
func (b *bench) asked(ctx context.Context) error {
	s, opened, err := b.startReceiver()
	if err != nil {
		return err
	}
	defer s.Stop()
	from, to := b.period()
	q := &question{name: "overview", path: "overview", query: map[string][]string{
		"from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}}}
	if _, _, err := ask(ctx, s, q); err != nil {
		return err
	}
	var times []float64
	c, err := load.Beside(s.Address, 5, b.length, func() error {
		took, _, err := ask(ctx, s, q)
		times = append(times, milliseconds(took))
		return err
	})
	if err != nil {
		return err
	}
	fmt.Printf("\none overview per second over %d jobs: ingest %.0f jobs/s, without %.0f, ratio %.2f; an answer took %.0f ms; peak %.0f MB; opening the ledger took %.1f s; stolen %.1f %%\n",
		b.jobs, c.With, c.Without, c.Ratio, load.Median(times), s.Peak(), opened.Seconds(), c.Stolen*100)
	return nil
}
