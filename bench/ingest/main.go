// Command ingest measures how fast a receiver records jobs, beside a bare net/http
// handler that reads the same parameters and stores nothing, and beside what the
// disk alone takes. make bench builds the programs and runs it.
//
// Ingest beside a scrape per second of a million label sets is compared with the same
// receiver's without.
//
// The workload is fixed: keep-alive connections; names, projects and statuses as
// bench/internal/load says; the four classic fields, without ids and with unique ones. Both
// servers are programs of their own, measured in turn in the same run, five times
// each; medians are printed, and ratios of them. Load generator and servers share
// the machine's processors.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"ci-jobs-metrics/bench/internal/load"
)

func main() {
	bin := flag.String("bin", "bin", "directory of the program receiver")
	dir := flag.String("dir", "", "where to make the directory for ledgers; empty: among the temporary ones. Its disk is what is measured")
	rounds := flag.Int("rounds", 5, "how often each figure is taken")
	length := flag.Duration("length", 2*time.Second, "how long each time")
	only := flag.String("only", "", "run only the workload of this name, or one (a lone request), or scraped (beside scrapes)")
	bare := flag.String("bare", "", "be the bare handler, on this address")
	flag.Parse()
	if *bare != "" {
		fail(load.ServeBare(*bare))
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
	fmt.Printf("medians of %d rounds of %v each, interleaved; jobs/s are acknowledged and durable;\n"+
		"stolen: processor time that the machine's host gave to others in the worst of the rounds\n\n", b.rounds, b.length)
	fmt.Printf("%-24s %5s  %10s %10s  %6s  %9s %9s  %12s %8s  %7s\n", "workload", "conns", "bare req/s", "req/s", "ratio",
		"p50 ms", "p99 ms", "CPU s/100000", "peak MB", "stolen %")
	for _, w := range load.Workloads {
		if only != "" && only != w.Name {
			continue
		}
		for _, connections := range w.Connections {
			if err := b.compare(w, connections); err != nil {
				return fmt.Errorf("%s at %d: %w", w.Name, connections, err)
			}
		}
	}
	if only == "" || only == "one" {
		if err := b.alone(); err != nil {
			return err
		}
	}
	if only == "" || only == "scraped" {
		return b.scraped()
	}
	return nil
}

// compare takes one line of the table.
func (b *bench) compare(w load.Workload, connections int) error {
	bare, err := startBare()
	if err != nil {
		return err
	}
	defer bare.Stop()
	receiver, err := b.startReceiver(fmt.Sprintf("%s-%d", w.Name, connections))
	if err != nil {
		return err
	}
	defer receiver.Stop()
	pairs, sent, err := b.pairs(bare, receiver, w, connections)
	if err != nil {
		return err
	}
	recorded, err := receiver.Recorded()
	if err != nil {
		return err
	}
	if recorded != sent {
		return fmt.Errorf("%d jobs were acknowledged, %d recorded", sent, recorded)
	}
	of := func(figure func(*pair) float64) float64 {
		var figures []float64
		for i := range pairs {
			figures = append(figures, figure(&pairs[i]))
		}
		return load.Median(figures)
	}
	rate, bareRate := of(func(p *pair) float64 { return p.served.Rate() }), of(func(p *pair) float64 { return p.bare.Rate() })
	fmt.Printf("%-24s %5d  %10.0f %10.0f  %6.2f  %9.2f %9.2f  %12.2f %8.0f  %7.1f", w.Name, connections, bareRate, rate, rate/bareRate,
		of(func(p *pair) float64 { return p.served.Quantile(0.5) }), of(func(p *pair) float64 { return p.served.Quantile(0.99) }),
		of(func(p *pair) float64 { return p.cpu * 100_000 / float64(p.served.Requests*w.Jobs) }), receiver.Peak(), pairs[len(pairs)-1].steal*100)
	if w.Jobs > 1 {
		fmt.Printf("  %.0f jobs/s", rate*float64(w.Jobs))
	}
	fmt.Println()
	return nil
}

// A pair is one round: the bare handler and the receiver, one after the other.
type pair struct {
	bare, served *load.Result
	cpu          float64 // seconds that the receiver used
	steal        float64 // share of the machine's time that its host gave to others
}

// tolerable is the share of stolen time up to which a round is taken as it is.
const tolerable = 0.02

// pairs returns as many rounds as asked for, those with the least time stolen first: on
// a virtual machine neighbours take the processor in spells, and a ratio of two figures
// says little if one of them was taken in such a spell. It tries up to four times as
// many. sent counts the jobs of all.
func (b *bench) pairs(bare, receiver *load.Server, w load.Workload, connections int) (pairs []pair, sent int, err error) {
	quiet := 0
	for round := 0; round < 4*b.rounds && quiet < b.rounds; round++ {
		var p pair
		before := load.Stolen()
		if p.bare, err = load.Run(bare.Address, w, connections, round, b.length); err != nil {
			return nil, 0, fmt.Errorf("bare: %w", err)
		}
		used := receiver.CPU()
		if p.served, err = load.Run(receiver.Address, w, connections, round, b.length); err != nil {
			return nil, 0, fmt.Errorf("receiver: %w", err)
		}
		p.cpu = receiver.CPU() - used
		p.steal = (load.Stolen() - before) / (p.bare.Took + p.served.Took).Seconds() / float64(runtime.NumCPU())
		sent += p.served.Requests * w.Jobs
		if pairs = append(pairs, p); p.steal <= tolerable {
			quiet++
		}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return cmp.Compare(a.steal, b.steal) })
	return pairs[:b.rounds], sent, nil
}

// alone compares one lone durable request with one fdatasync of the same disk.
func (b *bench) alone() error {
	receiver, err := b.startReceiver("alone")
	if err != nil {
		return err
	}
	defer receiver.Stop()
	bare, err := startBare()
	if err != nil {
		return err
	}
	defer bare.Stop()
	var syncs, requests, bares []float64
	for round := range b.rounds {
		sync, err := load.Fdatasyncs(filepath.Join(b.dir, "sync"), b.length)
		if err != nil {
			return err
		}
		syncs = append(syncs, sync.Quantile(0.5))
		r, err := load.Run(receiver.Address, load.Classic, 1, round, b.length)
		if err != nil {
			return err
		}
		requests = append(requests, r.Quantile(0.5))
		if r, err = load.Run(bare.Address, load.Classic, 1, round, b.length); err != nil {
			return err
		}
		bares = append(bares, r.Quantile(0.5))
	}
	fmt.Printf("\none connection, p50: a durable request %.3f ms, one fdatasync of 4 KiB %.3f ms, the bare handler %.3f ms; request - fdatasync = %.3f ms\n",
		load.Median(requests), load.Median(syncs), load.Median(bares), load.Median(requests)-load.Median(syncs))
	return nil
}

func (b *bench) startReceiver(name string, flags ...string) (*load.Server, error) {
	address, err := load.FreeAddress()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(b.bin, "receiver"), append(flags, "--web.listen-address="+address, "--log.level=warn",
		"--ledger=sqlite:"+filepath.Join(b.dir, name+".db"))...)
	s, err := load.Start(cmd, address)
	if err != nil {
		return nil, err
	}
	return s, s.Ready()
}

func startBare() (*load.Server, error) {
	address, err := load.FreeAddress()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return load.Start(exec.Command(self, "-bare", address), address)
}
