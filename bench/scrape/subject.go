package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// A subject is one way to expose the same series, in a process of its own.
type subject struct {
	name    string
	process *process
	metrics string // where it is scraped
	// apply makes it count jobs.
	apply func(context.Context, *batch) error
	// allocs is how many bytes it ever allocated. Nil if it can only be had together
	// with all the rest.
	allocs func(context.Context) (float64, error)
}

// A batch is jobs as each subject needs them.
type batch struct {
	jobs    []job
	touched []int  // names that they have
	after   *model // everything, with the jobs in it
}

// The names of the subjects, in the order in which they are scraped.
const (
	ours            = "ours"
	promhttpName    = "promhttp"
	victoriaMetrics = "victoriametrics"
	pushgateway     = "pushgateway"
	aggregation     = "prom-aggregation-gateway"
)

var subjects = []string{ours, promhttpName, victoriaMetrics, pushgateway, aggregation}

// program is the file of a subject that is a program. Empty: it is in the bench.
func (c *config) program(name string) string {
	switch name {
	case ours:
		return filepath.Join(c.bin, "receiver")
	case pushgateway, aggregation:
		return filepath.Join(c.bin, name)
	}
	return ""
}

// start starts a subject with nothing in it.
func (c *config) start(ctx context.Context, name, dir string) (*subject, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	switch name {
	case ours:
		return c.startOurs(ctx, address, dir)
	case pushgateway:
		return c.startPushgateway(ctx, address)
	case aggregation:
		return c.startAggregation(ctx, address)
	default:
		return c.startLibrary(ctx, name, address)
	}
}

// startOurs starts a receiver as it is used, with the view of the jobs that the peers
// show too.
func (c *config) startOurs(ctx context.Context, address, dir string) (*subject, error) {
	program := c.program(ours)
	args := []string{"--web.listen-address=" + address, "--ledger=sqlite:" + filepath.Join(dir, "ledger.db"),
		"--metrics.families=named", "--log.level=warn"}
	if help, _ := exec.CommandContext(ctx, program, "--help").CombinedOutput(); strings.Contains(string(help), "--metrics.max-series") {
		args = append(args, fmt.Sprintf("--metrics.max-series=%d", maxLines))
	}
	p, err := startProcess(ctx, address, program, args...)
	if err != nil {
		return nil, err
	}
	return &subject{
		name:    ours,
		process: p,
		metrics: "http://" + address + "/metrics/jobs",
		apply: func(ctx context.Context, b *batch) error {
			return postJobs(ctx, "http://"+address+"/steps", b, connections)
		},
		allocs: allocsAt("http://"+address+"/metrics/self", "\ngo_memstats_alloc_bytes_total "),
	}, nil
}

func (c *config) startLibrary(ctx context.Context, name, address string) (*subject, error) {
	p, err := startProcess(ctx, address, c.self, "-serve="+name, "-address="+address, "-format="+c.format)
	if err != nil {
		return nil, err
	}
	return &subject{
		name:    name,
		process: p,
		metrics: "http://" + address + "/metrics",
		apply: func(ctx context.Context, b *batch) error {
			return postJobs(ctx, "http://"+address+"/update", b, 1)
		},
		allocs: allocsAt("http://"+address+"/allocs", ""),
	}, nil
}

// textFormat is what is pushed.
const textFormat = "text/plain; version=0.0.4; charset=utf-8"

// startPushgateway starts one that is pushed to as one group. A push replaces the
// families of the same names as a whole, so the families of all jobs of a batch are
// pushed with all their series, and no others. Checks are off: they gather everything
// for each push. It adds the labels job and instance to each series.
func (c *config) startPushgateway(ctx context.Context, address string) (*subject, error) {
	p, err := startProcess(ctx, address, c.program(pushgateway), "--web.listen-address="+address,
		"--push.disable-consistency-check", "--log.level=warn")
	if err != nil {
		return nil, err
	}
	return &subject{
		name:    pushgateway,
		process: p,
		metrics: "http://" + address + "/metrics",
		apply: func(ctx context.Context, b *batch) error {
			_, err := post(ctx, "http://"+address+"/metrics/job/bench", textFormat, b.after.appendText(nil, b.touched))
			return err
		},
	}, nil
}

// startAggregation starts one that adds up what is pushed: the jobs of a batch as
// counters and histograms that begin at zero. Of its memory it tells nothing.
func (c *config) startAggregation(ctx context.Context, address string) (*subject, error) {
	own, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p, err := startProcess(ctx, address, c.program(aggregation), "start", "--apiListen="+address, "--lifecycleListen="+own)
	if err != nil {
		return nil, err
	}
	return &subject{
		name:    aggregation,
		process: p,
		metrics: "http://" + address + "/metrics",
		apply: func(ctx context.Context, b *batch) error {
			delta := newModel(b.after.shape)
			delta.apply(b.jobs)
			_, err := post(ctx, "http://"+address+"/metrics", textFormat, delta.appendText(nil, b.touched))
			return err
		},
	}, nil
}

// allocsAt reads the number behind some words of a page.
func allocsAt(url, words string) func(context.Context) (float64, error) {
	return func(ctx context.Context) (n float64, err error) {
		page, err := get(ctx, url)
		if err != nil {
			return 0, err
		}
		_, rest, ok := strings.Cut("\n"+string(page), words)
		if !ok {
			return 0, fmt.Errorf("%s does not say%s", url, words)
		}
		_, err = fmt.Sscan(rest, &n)
		return n, err
	}
}

// What one request to /steps may have, with some room, and how many connections fill
// a receiver.
const (
	jobsPerRequest  = 10_000
	bytesPerRequest = 1<<20 - 1000
	connections     = 2
)

// postJobs sends a batch in requests as large as /steps takes them.
func postJobs(ctx context.Context, url string, b *batch, connections int) error {
	type request struct {
		body []byte
		jobs int
	}
	requests := make(chan request)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var senders sync.WaitGroup
	for range connections {
		senders.Go(func() {
			for r := range requests {
				if err := postOnce(ctx, url, r.body, r.jobs); err != nil {
					cancel(err)
				}
			}
		})
	}
	var next request
	for i, j := range b.jobs {
		next.body = b.after.appendJob(next.body, j)
		next.jobs++
		if i+1 == len(b.jobs) || next.jobs == jobsPerRequest || len(next.body) > bytesPerRequest {
			select {
			case requests <- next:
			case <-ctx.Done():
			}
			next = request{}
		}
	}
	close(requests)
	senders.Wait()
	return context.Cause(ctx)
}

// postOnce wants each of the jobs to count. Who is busy is asked again, as the wire's
// rules are: nothing of the request was taken then.
func postOnce(ctx context.Context, url string, body []byte, jobs int) error {
	page, err := post(ctx, url, "application/x-ndjson", body)
	for begin := time.Now(); errors.Is(err, errBusy) && time.Since(begin) < time.Minute; {
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
		page, err = post(ctx, url, "application/x-ndjson", body)
	}
	if err != nil {
		return err
	}
	var answer struct{ Recorded int }
	if err := json.Unmarshal(page, &answer); err != nil {
		return err
	}
	if answer.Recorded != jobs {
		return fmt.Errorf("%s recorded %d jobs of %d: %.300s", url, answer.Recorded, jobs, page)
	}
	return nil
}

// present is whether a subject's program is there.
func (c *config) present(name string) error {
	program := c.program(name)
	if program == "" {
		return nil
	}
	_, err := os.Stat(program)
	return err
}
