package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"ci-jobs-metrics/internal/history"
)

// ledger is the file of the receiver's.
func (d *demo) ledger() string { return filepath.Join(d.dir, "ledger.db") }

// remember fills the ledger with 90 days of a made-up company, so that the page has
// something to tell.
func (d *demo) remember(ctx context.Context) error {
	shape := history.Demo(time.Now().UTC().Truncate(time.Hour))
	d.title(fmt.Sprintf("%d days of a made-up company: %d templates, %d projects, %d jobs", shape.Days, shape.Templates, shape.Projects, shape.Jobs))
	told := time.Now()
	return shape.FillFile(ctx, d.ledger(), func(done, total int) {
		if now := time.Now(); done == total || now.Sub(told) > time.Second {
			told = now
			d.say("ledger", "%d of %d jobs are recorded", done, total)
		}
	})
}

// counters are the values on a page of metrics, without the buckets of histograms, in the
// order of the page.
func counters(page string) (series []string, values map[string]float64) {
	values = map[string]float64{}
	for line := range strings.Lines(page) {
		at := strings.LastIndexByte(strings.TrimSpace(line), ' ')
		if strings.HasPrefix(line, "#") || strings.Contains(line, "_bucket{") || at < 0 {
			continue
		}
		var v float64
		if _, err := fmt.Sscan(line[at+1:], &v); err == nil {
			series = append(series, line[:at])
			values[line[:at]] = v
		}
	}
	return series, values
}
