package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"ci-jobs-metrics/internal/history"
)

// fill makes the ledger, unless it is there.
func fill(ctx context.Context, path string, shape history.Shape) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		fmt.Printf("%s is there: it is taken as it is\n", path)
		return err
	}
	begun, told := time.Now(), time.Now()
	err := shape.FillFile(ctx, path, func(done, total int) {
		if now := time.Now(); now.Sub(told) > 5*time.Second || done == total {
			told = now
			fmt.Printf("\rrecorded %d of %d jobs, %.0f/s ", done, total, float64(done)/now.Sub(begun).Seconds())
		}
	})
	fmt.Println()
	return err
}
