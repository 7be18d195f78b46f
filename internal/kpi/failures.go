package kpi

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/rollup"
)

// Failures answers with the last jobs of a period that failed or timed out, those that
// finished last first; a cut's Sort does not matter. Total counts all of the period, but
// of those past the retention of jobs there are no rows: they keep their places, as the
// last of their quarter of an hour, and leave pages with fewer items.
func (a *Asker) Failures(ctx context.Context, q Query, cut Cut) (*Page[FailedJob], error) {
	q.Interval = Daily
	s, err := a.NewScan(q)
	if err != nil {
		return nil, err
	}
	for rank, status := range job.Statuses {
		s.wanted[rank] = s.wanted[rank] && rollup.IsFailure(status)
	}
	var counts []map[string]int64 // by day of the period and template
	meta, err := s.ask(ctx, a, func() func(*Cell) {
		counts = make([]map[string]int64, len(s.days))
		return func(f *Cell) {
			if f.period != current {
				return
			}
			if counts[f.day] == nil {
				counts[f.day] = map[string]int64{}
			}
			counts[f.day][f.Template] += int64(f.Count)
		}
	})
	if err != nil {
		return nil, err
	}
	w := walk{Scan: s, asker: a, upTo: meta.AsOf.Job, cut: cut}
	page := &Page[FailedJob]{Meta: meta, Offset: cut.Offset, Items: []FailedJob{}}
	for day := len(counts) - 1; day >= 0; day-- {
		n := int64(0)
		for _, m := range counts[day] {
			n += m
		}
		page.Total += int(n)
		if err := w.day(ctx, day, n, counts[day]); err != nil {
			return nil, err
		}
	}
	page.Items = append(page.Items, w.items...)
	return page, nil
}

// A walk collects the failed jobs of a cut, going back from the last day.
type walk struct {
	*Scan
	asker *Asker
	upTo  int64 // rows behind it came after the question
	cut   Cut
	seen  int // jobs that were passed by, or looked at
	items []FailedJob
}

// day adds the n jobs of a day, or passes them by. templates are those that have some.
func (w *walk) day(ctx context.Context, day int, n int64, templates map[string]int64) error {
	if w.full() || n == 0 {
		return nil
	}
	if w.seen+int(n) <= w.cut.Offset {
		w.seen += int(n)
		return nil
	}
	failures, err := w.failures(ctx, day, templates)
	if err != nil {
		return err
	}
	for len(failures) > 0 && !w.full() {
		n := 1 // of a slot
		for n < len(failures) && failures[n].Slot == failures[0].Slot {
			n++
		}
		if err := w.slot(ctx, failures[:n]); err != nil {
			return err
		}
		failures = failures[n:]
	}
	return nil
}

// full says whether the cut ends here.
func (w *walk) full() bool { return w.cut.Limit > 0 && w.seen >= max(w.cut.Offset, 0)+w.cut.Limit }

// failures are the failed jobs of a day, by slot, the last first.
func (w *walk) failures(ctx context.Context, day int, templates map[string]int64) (failures []rollup.Failure, err error) {
	slots, period := w.calendar.Slots(w.days[day]), w.Period.slots()
	scan := rollup.Scan{
		Ranges:   []rollup.Range{{From: max(slots.From, period.From), To: min(slots.To, period.To)}},
		Failures: true,
	}
	const few = 10 // of which it is faster to read each by itself
	names := []string{""}
	if len(templates) <= few {
		names = slices.Collect(maps.Keys(templates))
	}
	for _, scan.Template = range names {
		found, err := w.failedCells(ctx, scan, templates)
		if err != nil {
			return nil, err
		}
		failures = append(failures, found...)
	}
	slices.SortFunc(failures, func(a, b rollup.Failure) int {
		return cmp.Or(cmp.Compare(b.Slot, a.Slot), cmp.Compare(b.Row, a.Row))
	})
	return failures, nil
}

// failedCells finds the failed jobs of templates that the query is about.
func (w *walk) failedCells(ctx context.Context, scan rollup.Scan, templates map[string]int64) (failures []rollup.Failure, err error) {
	_, err = w.asker.ledger.Scan(ctx, scan, func(texts *rollup.Texts) func(rollup.Part) {
		failures = nil
		w.texts, w.projects.known, w.versions.known = texts, nil, nil
		return func(p rollup.Part) {
			if templates[p.Template] == 0 {
				return
			}
			for _, f := range p.Failures {
				c := &p.Cells[f.Cell]
				if f.Row <= w.upTo && w.wanted[c.Status] && w.projects.Match(c.Project, texts) && w.versions.Match(c.Version, texts) {
					failures = append(failures, f)
				}
			}
		}
	})
	return failures, err
}

// slot adds the jobs of a slot, or passes them by.
func (w *walk) slot(ctx context.Context, failures []rollup.Failure) error {
	if w.seen+len(failures) <= w.cut.Offset {
		w.seen += len(failures)
		return nil
	}
	numbers := make([]int64, len(failures))
	for i, f := range failures {
		numbers[i] = f.Row
	}
	rows, err := w.asker.ledger.Jobs(ctx, numbers)
	if err != nil {
		return err
	}
	slices.SortFunc(rows, func(a, b ledger.Row) int {
		return cmp.Or(b.Job.Finished.Compare(a.Job.Finished), cmp.Compare(b.Seq, a.Seq))
	})
	after := w.seen + len(failures)
	for i := range rows {
		if w.seen >= w.cut.Offset && !w.full() {
			w.items = append(w.items, failedJob(&rows[i], w.calendar.Zone()))
		}
		w.seen++
	}
	w.seen = after
	return nil
}

func failedJob(r *ledger.Row, zone *time.Location) FailedJob {
	j := &r.Job
	f := FailedJob{
		Number: r.Seq, ID: j.ID, Template: j.Name, Project: j.Project, Version: j.Version, Status: j.Status,
		Finished: j.Finished.In(zone), Job: j.Job, URL: j.URL, Stage: j.Stage, Ref: j.Ref, SHA: j.SHA,
		Pipeline: j.Pipeline, Runner: j.Runner, Source: j.Source,
	}
	if j.Timed {
		f.Duration = new(j.Duration.Seconds())
	}
	return f
}
