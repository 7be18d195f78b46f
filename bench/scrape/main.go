// Command scrape measures what a scrape of many series costs, beside other ways to
// expose the same series: client_golang's promhttp and VictoriaMetrics' library in a
// program, a Pushgateway, and prom-aggregation-gateway. make bench-scrape builds the
// programs and runs it.
//
// Each subject is a process of its own and holds the same counters and histograms,
// filled by its own means. Between scrapes nothing changes, or 500 jobs or 1 % of the
// series do, the same in all. They are scraped in turn over loopback; the client
// discards the body as it comes. Before and after the figures are taken, the lines are
// counted and their values added up: a subject that exposes something else ends the
// bench. It is a module of its own, so that the product depends on none of its peers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "scrape:", err)
		os.Exit(1)
	}
}

const usage = `usage: scrape [flags]

Measures what a scrape costs: its time, processor time, bytes and allocations, beside
other ways to expose the same series. The table goes to standard output, what it is at
to standard error. At a million series all subjects take some 8 GB of memory together.

`

func command(ctx context.Context, args []string) error {
	c := config{progress: os.Stderr}
	flags := flag.NewFlagSet("scrape", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // an error is said once, by main
	flags.Func("series", "how many lines of samples, such as 10000,100000; repeatable (default 10000,100000,1000000)", c.addSeries)
	flags.Func("subjects", "who is measured; repeatable (default "+strings.Join(subjects, ",")+")", c.addSubjects)
	flags.IntVar(&c.rounds, "rounds", 5, "scrapes of each figure, after one that warms up; medians are printed")
	flags.StringVar(&c.format, "format", "text", "what is asked for: text (0.0.4) or openmetrics (1.0.0). Who can't answers in text")
	flags.StringVar(&c.bin, "bin", "bin", "directory of the programs receiver, pushgateway and prom-aggregation-gateway")
	flags.StringVar(&c.dir, "dir", "", "where to make the directory for the ledger; empty: among the temporary ones")
	limit := flags.Duration("timeout", 2*time.Hour, "after which it gives up")
	library := flags.String("serve", "", "be the program of a library, on -address; the bench starts itself so")
	address := flags.String("address", "", "where to serve")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		fmt.Print(usage)
		flags.SetOutput(os.Stdout)
		flags.PrintDefaults()
		return nil
	} else if err != nil {
		return fmt.Errorf("%w; see -help", err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; see -help", flags.Arg(0))
	}
	if accepts[c.format] == "" {
		return fmt.Errorf("-format: %q is not text or openmetrics", c.format)
	}
	if *library != "" {
		return serve(ctx, *library, *address, c.format == "openmetrics")
	}
	if c.rounds < 1 {
		return errors.New("-rounds: at least 1")
	}
	if c.series == nil {
		c.series = []int{10_000, 100_000, 1_000_000}
	}
	if c.subjects == nil {
		c.subjects = c.available()
	}
	var err error
	if c.self, err = os.Executable(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	r, err := c.run(ctx)
	if len(r.cells) > 0 {
		r.print(os.Stdout, &c)
	}
	if err == nil { // of half a run they would say little
		fmt.Println(strings.Join(r.verdicts(), "\n"))
	}
	return err
}

func (c *config) addSeries(list string) error {
	for word := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil {
			return err
		}
		if n < minLines || n > maxLines {
			return fmt.Errorf("%d is not between %d and %d", n, minLines, maxLines)
		}
		c.series = append(c.series, n)
	}
	return nil
}

func (c *config) addSubjects(list string) error {
	for word := range strings.SplitSeq(list, ",") {
		if word = strings.TrimSpace(word); !slices.Contains(subjects, word) {
			return fmt.Errorf("%q is none of %s", word, strings.Join(subjects, ", "))
		}
		c.subjects = append(c.subjects, word)
	}
	return nil
}

// available are the subjects whose programs are there. The receiver has to be.
func (c *config) available() (names []string) {
	for _, name := range subjects {
		if err := c.present(name); err != nil && name != ours {
			c.say("%s is left out: %v", name, err)
			continue
		}
		names = append(names, name)
	}
	return names
}
