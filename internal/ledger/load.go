package ledger

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"ci-jobs-metrics/internal/totals"
)

// load brings the totals to the last row, and the checkpoint with them.
func (l *Ledger) load(ctx context.Context) error {
	upTo, err := l.loadCheckpoint(ctx)
	if err != nil {
		return err
	}
	if upTo, err = l.loadRollups(ctx, upTo); err != nil {
		return err
	}
	if err := l.foldTail(ctx); err != nil {
		return fmt.Errorf("folding the jobs after the last snapshot: %w", err)
	}
	if l.applied > upTo {
		l.opts.Logger.Info("Folded the jobs after the last snapshot", "jobs", l.applied-upTo)
	}
	// Only now: the jobs of before belong to the settings of before.
	l.configure()
	// Whoever may not write to the ledger shall know now, not by the first job.
	if err := l.store.Probe(ctx); err != nil {
		return err
	}
	// At once, so that the settings of now are those that jobs from now on belong
	// to, whatever those of the next start.
	if err := l.checkpoint(ctx); err != nil {
		return err
	}
	return l.rezone(ctx)
}

// loadCheckpoint refuses one that can't be whole.
func (l *Ledger) loadCheckpoint(ctx context.Context) (upTo int64, err error) {
	progress := reporter{logger: l.opts.Logger, what: "Loading the totals", unit: "label_sets"}
	var sums sums
	loaded := false
	upTo, err = l.store.LoadTotals(ctx, func(part *totals.Checkpoint) error {
		loaded = true
		sums.add(part)
		l.totals.Load(part)
		progress.add(len(part.Runs))
		return ctx.Err()
	})
	if err != nil {
		return 0, fmt.Errorf("loading the totals: %w (if this comes again, %s; receiver verify says more)", err, Remedy)
	}
	if !loaded {
		return 0, l.mustBeNew(ctx)
	}
	if found := sums.contradictions(upTo); len(found) > 0 {
		return 0, fmt.Errorf("its totals are damaged: %s; receiver verify says more", found[0].text)
	}
	l.applied, l.counted, l.saved = upTo, upTo, upTo
	return upTo, nil
}

// mustBeNew refuses a ledger without totals whose first jobs are gone.
func (l *Ledger) mustBeNew(ctx context.Context) error {
	first, err := l.store.Rows(ctx, 0, 1)
	if err == nil && len(first) > 0 && first[0].Seq > 1 {
		err = fmt.Errorf("its totals are gone, and so are the jobs before number %d, which only they knew: %s", first[0].Seq, Remedy)
	}
	return err
}

// foldTail is catchUp with word of how far it has come.
func (l *Ledger) foldTail(ctx context.Context) error {
	progress := reporter{logger: l.opts.Logger, what: "Folding the jobs after the last snapshot", unit: "jobs"}
	for {
		n, err := l.foldStep(ctx)
		if err != nil || n < foldStep {
			return err
		}
		progress.add(n)
		if l.rollups != nil && l.rollups.Stats().Waiting >= l.opts.RollupRows { // a long tail does not have to fit into memory
			if err := l.rollAll(ctx); err != nil {
				return err
			}
		}
	}
}

func (l *Ledger) configure() {
	change := l.totals.Configure(l.opts.Totals, l.applied)
	if change.Dropped > 0 {
		l.opts.Logger.Warn("Histogram buckets were changed: duration histograms begin again",
			"histograms", change.Dropped, "buckets", l.opts.Totals.Bounds)
	}
	if len(change.Added) > 0 && l.applied > 0 {
		l.opts.Logger.Info("Labels were added: counters of before have no value for them", "labels", change.Added)
	}
	if len(change.Removed) > 0 {
		l.opts.Logger.Info("Labels were removed: counters that differed in them only were added up", "labels", change.Removed)
	}
}

// A reporter logs how far long work has come.
type reporter struct {
	logger     *slog.Logger
	what, unit string
	done       int
	next       time.Time
}

const reportEvery = time.Second

func (r *reporter) add(n int) {
	r.done += n
	now := time.Now()
	if r.next.IsZero() {
		r.next = now.Add(reportEvery) // short work needs no word
	}
	if !now.Before(r.next) {
		r.logger.Info(r.what, r.unit, r.done)
		r.next = now.Add(reportEvery)
	}
}
