package history

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/sqlite"
	"ci-jobs-metrics/internal/totals"
)

// FillFile makes a ledger in a file that is not there yet, and records the jobs in it. No
// receiver may use it meanwhile. progress is as in Fill.
func (s Shape) FillFile(ctx context.Context, path string, progress func(done, total int)) error {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	store, err := sqlite.Open(ctx, path, s.End, logger)
	if err != nil {
		return err
	}
	l, err := ledger.Open(ctx, store, ledger.Options{
		Totals: totals.Settings{Bounds: []float64{60, 120, 300, 600, 900, 1200}, MaxSets: totals.DefaultMaxSets}, // as a receiver without flags
		Logger: logger,
	})
	if err != nil {
		return err
	}
	err = s.Fill(ctx, l.Record, progress)
	return errors.Join(err, l.Close(context.WithoutCancel(ctx)))
}
