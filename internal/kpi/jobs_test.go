package kpi_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
)

func (w *world) record() {
	entries := make([]ledger.Entry, 1+w.r.IntN(25))
	for i := range entries {
		entries[i] = w.entry()
	}
	if _, err := w.Record(entries); err != nil {
		w.Fatal(err)
	}
}

func (w *world) entry() ledger.Entry {
	r := w.r
	j := job.Job{
		Name: pick(r, templates...), Project: pick(r, projects...), Version: pick(r, versions...),
		Status: pick(r, append(job.Statuses, job.Success, job.Success, job.Failed)...), Finished: w.finished(),
		SHA: pick(r, "", "1", "2"), URL: pick(r, "", "https://gitlab.example/1"), Stage: pick(r, "", "test"),
		Ref: pick(r, "", "main"), Pipeline: pick(r, "", "7"), Runner: pick(r, "", "r"), Source: pick(r, "", "push"),
	}
	if r.IntN(2) == 0 { // so that many are tries of the same
		j.Name, j.Project, j.SHA = templates[0], projects[0], "1"
	}
	j.Job = pick(r, "", j.Name, j.Name+" 1/2")
	if r.IntN(4) > 0 {
		j.Timed, j.Duration = true, pickDuration(r)
	}
	if r.IntN(3) > 0 {
		j.ID = fmt.Sprint("job ", r.IntN(400))
	}
	return ledger.Entry{Received: w.now(), Job: j}
}

// finished is when a job was, for all that the receiver lets pass.
func (w *world) finished() (t time.Time) {
	now := w.now()
	switch w.r.IntN(6) {
	case 0: // at the edge of something
		local := now.In(w.zone)
		t = pick(w.r, quarter(now), now.Truncate(time.Hour),
			time.Date(local.Year(), local.Month(), local.Day()+w.r.IntN(2), local.Hour(), 0, 0, 0, w.zone),
			time.Date(local.Year(), local.Month(), local.Day()-w.r.IntN(3), 0, 0, 0, 0, w.zone))
		t = t.Add(time.Duration(w.r.IntN(3)-1) * time.Microsecond)
	case 1:
		t = now.Add(-time.Duration(w.r.Int64N(int64(90 * 24 * time.Hour))))
	case 2:
		t = now.Add(time.Duration(w.r.Int64N(int64(job.MaxAhead))))
	case 3:
		t = now.Add(-24 * time.Hour).Add(time.Duration(w.r.IntN(7)-3) * 15 * time.Minute)
	default:
		t = now.Add(-time.Duration(w.r.Int64N(int64(6 * time.Hour))))
	}
	if t.After(now.Add(job.MaxAhead)) {
		t = now
	}
	return t.UTC().Truncate(time.Microsecond)
}

func pickDuration(r *rand.Rand) time.Duration {
	switch r.IntN(4) {
	case 0:
		return pick(r, 0, time.Microsecond, 2*time.Microsecond, time.Second, job.MaxDuration)
	case 1: // the edge of a bucket
		edge := math.Exp2(float64(r.IntN(180)-100)/8) * 1e6
		return time.Duration(edge+float64(r.IntN(3)-1)) * time.Microsecond
	case 2:
		return time.Duration(r.Int64N(int64(job.MaxDuration/time.Microsecond))) * time.Microsecond
	}
	return time.Duration(r.Int64N(int64(time.Hour/time.Microsecond))) * time.Microsecond
}
