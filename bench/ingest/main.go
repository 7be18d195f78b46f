// Command ingest measures how fast a receiver records jobs, beside a bare net/http
// handler that reads the same parameters and stores nothing, and beside what the
// disk alone takes. make bench builds the programs and runs it.
//
// The workload is fixed: keep-alive connections; names, projects and statuses as
// workload.go says; the four classic fields, without ids and with unique ones. Both
// servers are programs of their own, measured in turn in the same run, five times
// each; medians are printed, and ratios of them. Load generator and servers share
// the machine's processors.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

func main() {
	bin := flag.String("bin", "bin", "directory of the program receiver")
	dir := flag.String("dir", "", "where to make the directory for ledgers; empty: among the temporary ones. Its disk is what is measured")
	rounds := flag.Int("rounds", 5, "how often each figure is taken")
	length := flag.Duration("length", 2*time.Second, "how long each time")
	only := flag.String("only", "", "run only the workload of this name")
	bare := flag.String("bare", "", "be the bare handler, on this address")
	flag.Parse()
	if *bare != "" {
		fail(serveBare(*bare))
		return
	}
	b := &bench{bin: *bin, dir: *dir, rounds: *rounds, length: *length}
	fail(b.run(*only))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "ingest:", err)
		os.Exit(1)
	}
}

type bench struct {
	bin    string
	dir    string
	rounds int
	length time.Duration
}

func (b *bench) run(only string) error {
	dir, err := os.MkdirTemp(b.dir, "ci-jobs-metrics-bench-") // fresh: ids come again
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the system clears it too
	b.dir = dir
	fmt.Printf("medians of %d rounds of %v each, interleaved; jobs/s are acknowledged and durable\n\n", b.rounds, b.length)
	fmt.Printf("%-24s %5s  %10s %10s  %6s  %9s %9s  %12s %8s\n", "workload", "conns", "bare req/s", "req/s", "ratio",
		"p50 ms", "p99 ms", "CPU s/100000", "peak MB")
	for _, w := range workloads {
		if only != "" && only != w.name {
			continue
		}
		for _, connections := range w.connections {
			if err := b.compare(w, connections); err != nil {
				return fmt.Errorf("%s at %d: %w", w.name, connections, err)
			}
		}
	}
	if only == "" || only == "one" {
		return b.alone()
	}
	return nil
}

// compare takes one line of the table.
func (b *bench) compare(w workload, connections int) error {
	bare, err := startBare()
	if err != nil {
		return err
	}
	defer bare.stop()
	receiver, err := b.startReceiver(fmt.Sprintf("%s-%d", w.name, connections))
	if err != nil {
		return err
	}
	defer receiver.stop()
	var bareRates, rates, p50s, p99s, cpus []float64
	sent := 0
	for round := range b.rounds {
		r, err := load(bare.address, w, connections, round, b.length)
		if err != nil {
			return fmt.Errorf("bare: %w", err)
		}
		bareRates = append(bareRates, r.rate())
		before := receiver.cpu()
		if r, err = load(receiver.address, w, connections, round, b.length); err != nil {
			return fmt.Errorf("receiver: %w", err)
		}
		sent += r.requests * w.jobs
		rates, p50s, p99s = append(rates, r.rate()), append(p50s, r.quantile(0.5)), append(p99s, r.quantile(0.99))
		cpus = append(cpus, (receiver.cpu()-before)*100_000/float64(r.requests*w.jobs))
	}
	recorded, err := receiver.recorded()
	if err != nil {
		return err
	}
	if recorded != sent {
		return fmt.Errorf("%d jobs were acknowledged, %d recorded", sent, recorded)
	}
	fmt.Printf("%-24s %5d  %10.0f %10.0f  %6.2f  %9.2f %9.2f  %12.2f %8.0f", w.name, connections, median(bareRates), median(rates),
		median(rates)/median(bareRates), median(p50s), median(p99s), median(cpus), receiver.peak())
	if w.jobs > 1 {
		fmt.Printf("  %.0f jobs/s", median(rates)*float64(w.jobs))
	}
	fmt.Println()
	return nil
}

// alone compares one lone durable request with one fdatasync of the same disk.
func (b *bench) alone() error {
	receiver, err := b.startReceiver("alone")
	if err != nil {
		return err
	}
	defer receiver.stop()
	bare, err := startBare()
	if err != nil {
		return err
	}
	defer bare.stop()
	var syncs, requests, bares []float64
	for round := range b.rounds {
		sync, err := fdatasyncs(filepath.Join(b.dir, "sync"), b.length)
		if err != nil {
			return err
		}
		syncs = append(syncs, sync.quantile(0.5))
		r, err := load(receiver.address, classic, 1, round, b.length)
		if err != nil {
			return err
		}
		requests = append(requests, r.quantile(0.5))
		if r, err = load(bare.address, classic, 1, round, b.length); err != nil {
			return err
		}
		bares = append(bares, r.quantile(0.5))
	}
	fmt.Printf("\none connection, p50: a durable request %.3f ms, one fdatasync of 4 KiB %.3f ms, the bare handler %.3f ms; request - fdatasync = %.3f ms\n",
		median(requests), median(syncs), median(bares), median(requests)-median(syncs))
	return nil
}

func (b *bench) startReceiver(name string) (*server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(b.bin, "receiver"), "--web.listen-address="+address, "--log.level=warn",
		"--ledger=sqlite:"+filepath.Join(b.dir, name+".db"))
	return start(cmd, address)
}

func startBare() (*server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(exec.Command(self, "-bare", address), address)
}
