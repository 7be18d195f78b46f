// Command kpi measures how fast a receiver answers questions about ten million jobs of 90
// days, beside a plain SELECT over its job table for the same answer; what the roll-ups
// behind the answers cost, in processor time of ingest and on the disk; and ingest while
// somebody asks a question every second. make bench builds the programs and runs it.
//
// The ledger is made by package history, through the ledger's own interface; with -ledger
// it is kept, and taken as it is the next time. Receiver, SQLite and load share the
// machine's processors.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"ci-jobs-metrics/bench/internal/load"
	"ci-jobs-metrics/internal/history"
)

func main() {
	b := &bench{}
	flag.StringVar(&b.bin, "bin", "bin", "directory of the program receiver")
	flag.StringVar(&b.ledger, "ledger", "", "file of the ledger, which is made if it is not there, and kept; empty: a temporary one")
	flag.IntVar(&b.jobs, "jobs", 10_000_000, "how many jobs it has")
	flag.IntVar(&b.rounds, "rounds", 20, "how often each question is asked")
	flag.DurationVar(&b.length, "length", 2*time.Second, "how long ingest is measured each time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := b.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "kpi:", err)
		os.Exit(1)
	}
}

type bench struct {
	bin, ledger  string
	jobs, rounds int
	length       time.Duration
	end          time.Time // of the history
}

func (b *bench) run(ctx context.Context) (err error) {
	if b.ledger == "" {
		dir, err := os.MkdirTemp("", "ci-jobs-metrics-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir) //nolint:errcheck // the system clears it too
		b.ledger = filepath.Join(dir, "ledger.db")
	}
	b.end = time.Now().UTC().Truncate(time.Hour)
	shape := history.Bench(b.end)
	shape.Jobs = b.jobs
	if err := fill(ctx, b.ledger, shape); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{b.sizes, b.questions, b.costs, b.asked} {
		if err := errors.Join(ctx.Err(), step(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// startReceiver starts a receiver on the ledger, and says after how long it was ready.
func (b *bench) startReceiver() (*load.Server, time.Duration, error) {
	address, err := load.FreeAddress()
	if err != nil {
		return nil, 0, err
	}
	begun := time.Now()
	s, err := load.Start(exec.Command(filepath.Join(b.bin, "receiver"), "--web.listen-address="+address,
		"--log.level=warn", "--ledger=sqlite:"+b.ledger), address)
	if err != nil {
		return nil, 0, err
	}
	err = s.Ready()
	return s, time.Since(begun), err
}
