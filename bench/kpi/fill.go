package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"ci-jobs-metrics/internal/history"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/sqlite"
	"ci-jobs-metrics/internal/totals"
)

// fill makes the ledger, unless it is there.
func fill(ctx context.Context, path string, shape history.Shape) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		fmt.Printf("%s is there: it is taken as it is\n", path)
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	store, err := sqlite.Open(ctx, path, shape.End, logger)
	if err != nil {
		return err
	}
	l, err := ledger.Open(ctx, store, ledger.Options{
		Totals: totals.Settings{Bounds: []float64{60, 120, 300, 600, 900, 1200}, MaxSets: totals.DefaultMaxSets},
		Now:    func() time.Time { return shape.End },
		Logger: logger,
	})
	if err != nil {
		return err
	}
	begun, told := time.Now(), time.Now()
	err = shape.Fill(ctx, l.Record, func(done, total int) {
		if now := time.Now(); now.Sub(told) > 5*time.Second || done == total {
			told = now
			fmt.Printf("\rrecorded %d of %d jobs, %.0f/s ", done, total, float64(done)/now.Sub(begun).Seconds())
		}
	})
	fmt.Println()
	return errors.Join(err, l.Close(context.Background()))
}
