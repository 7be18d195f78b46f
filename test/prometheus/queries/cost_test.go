package queries

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"ci-jobs-metrics/internal/grafanatest"
)

// BenchmarkDashboards asks all queries of a dashboard about ten days that were scraped each
// minute, with 30 bars for each chart. Beside them stands the same chart with increase().
func BenchmarkDashboards(b *testing.B) {
	for _, projects := range []int{250, 1000} {
		const templates = 20
		end := time.Date(2026, 6, 11, 0, 0, 0, 0, time.UTC)
		p := prometheus{engine(), fleet(b, templates, projects, end)}
		count := func(name string, ask func(query func(expr string, instant bool))) float64 {
			var took time.Duration
			b.Run(fmt.Sprintf("%d series/%s", templates*projects, name), func(b *testing.B) {
				begin := time.Now()
				for range b.N {
					ask(func(expr string, instant bool) { p.cost(b, expr, instant, end) })
				}
				took = time.Since(begin) / time.Duration(b.N)
			})
			return took.Seconds()
		}
		var chart string
		for _, d := range grafanatest.Load(b, dashboards) {
			count(d.UID, func(query func(string, bool)) {
				for panel := range d.Every {
					for _, target := range panel.Targets {
						expr, err := d.Interpolate(target.Expr, grafanatest.Values{"template": {"t1"}}, 10*day, 8*time.Hour)
						if err != nil {
							b.Fatal(err)
						}
						if d.UID != templateUID { // all of them there
							if expr, err = d.Interpolate(target.Expr, nil, 10*day, 8*time.Hour); err != nil {
								b.Fatal(err)
							}
							if panel.Title == "Jobs by how they ended" {
								chart = expr
							}
						}
						query(expr, target.Instant)
					}
				}
			})
		}
		ours := count("jobs by how they ended", func(query func(string, bool)) { query(chart, false) })
		other := count("the same with increase()", func(query func(string, bool)) { query(`sum by (status) (increase(cijob_runs_total[8h]))`, false) })
		b.Logf("%d series: %.2f times what increase() takes", templates*projects, ours/other)
	}
}

func (p prometheus) cost(b *testing.B, query string, instant bool, end time.Time) {
	q, err := p.NewRangeQuery(b.Context(), p, nil, query, end.Add(-10*day).Add(8*time.Hour), end, 8*time.Hour)
	if instant {
		q, err = p.NewInstantQuery(b.Context(), p, nil, query, end)
	}
	if err != nil {
		b.Fatal(err)
	}
	defer q.Close()
	if answer := q.Exec(b.Context()); answer.Err != nil {
		b.Fatal(answer.Err)
	}
}

// fleet is what a Prometheus has of a receiver with so many templates and projects. Each uses
// each.
func fleet(b *testing.B, templates, projects int, end time.Time) *tsdb.DB {
	b.Helper()
	options := tsdb.DefaultOptions()
	options.MinBlockDuration = (400 * day).Milliseconds()
	options.MaxBlockDuration = options.MinBlockDuration
	options.RetentionDuration = 0
	options.WALSegmentSize = -1
	dir, err := os.MkdirTemp("", "tsdb")
	if err != nil {
		b.Fatal(err)
	}
	db, err := tsdb.Open(dir, nil, nil, options, tsdb.NewDBStats())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close(); _ = os.RemoveAll(dir) })
	target := []string{"job", scrapeOf, "instance", "10.0.0.1:8080", "pod", "receiver-a"}
	series := []labels.Labels{labels.FromStrings(append(target, "__name__", "cijob_ledger_created_timestamp_seconds")...)}
	statuses := []string{"success", "success", "success", "failed"}
	for i := range templates * projects {
		series = append(series, labels.FromStrings(append(target, "__name__", "cijob_runs_total", "template", fmt.Sprintf("t%d", i%templates),
			"project", fmt.Sprintf("group/p%d", i/templates), "status", statuses[i%len(statuses)])...))
	}
	for i := range templates {
		for _, le := range []string{"60.0", "120.0", "300.0", "600.0", "900.0", "1200.0", "+Inf"} {
			series = append(series, labels.FromStrings(append(target, "__name__", "cijob_duration_seconds_bucket", "template", fmt.Sprintf("t%d", i), "status", "success", "le", le)...))
		}
		for _, part := range []string{"sum", "count"} {
			series = append(series, labels.FromStrings(append(target, "__name__", "cijob_duration_seconds_"+part, "template", fmt.Sprintf("t%d", i), "status", "success")...))
		}
	}
	refs := make([]storage.SeriesRef, len(series))
	minutes := 0
	for at := end.Add(-11 * day); !at.After(end); at = at.Add(time.Minute) {
		app := db.AppenderV2(b.Context())
		for i := range series {
			v := float64(minutes / (7 + i%500)) // a job now and then
			if i == 0 {
				v = 1
			}
			if refs[i], err = app.Append(refs[i], series[i], 0, at.UnixMilli(), v, nil, nil, storage.AppendV2Options{}); err != nil {
				b.Fatal(err)
			}
		}
		if err := app.Commit(); err != nil {
			b.Fatal(err)
		}
		minutes++
	}
	return db
}
