package ledger_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/ledgertest"
	"ci-jobs-metrics/internal/ledger/sqlite"
)

// rolledUp makes a ledger whose roll-ups have three days of two templates, with the jobs
// of the first three pruned.
func rolledUp(t *testing.T, pruned bool) string {
	t.Helper()
	path := ledgerPath(t)
	o := ledger.Options{Totals: few, Retention: 48 * time.Hour}
	if pruned {
		o.PruneEvery = time.Millisecond
		o.Now = func() time.Time { return ledgertest.Start.Add(48*time.Hour + 3*time.Second) }
	}
	l := openLedger(t, openStore(t, path), o)
	for i := range 30 {
		e := ledgertest.Entry(time.Duration(i)*time.Second, fmt.Sprint(i))
		e.Job.Name = pickOf(i, "a", "b")
		e.Job.Finished = e.Received.Add(-time.Duration(i%3) * 24 * time.Hour)
		e.Job.Status = pickOf(i/2, job.Success, job.Failed, job.TimedOut)
		e.Job.Timed, e.Job.Duration, e.Job.SHA = i%4 > 0, time.Duration(i)*time.Minute, "c0ffee"
		record(t, l, e)
	}
	closeLedger(t, l)
	if pruned { // only now are they in stored roll-ups
		l = openLedger(t, openStore(t, path), o)
		waitFor(t, func() bool {
			rows, err := l.Jobs(t.Context(), []int64{1, 2, 3, 4})
			return err == nil && len(rows) == 1
		})
		closeLedger(t, l)
	}
	return path
}

func pickOf[T any](i int, from ...T) T { return from[i%len(from)] }

func tamper(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	result, err := db.Exec(statement)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := result.RowsAffected(); n == 0 || err != nil {
		t.Fatalf("%s changes nothing, %v", statement, err)
	}
}

// Whatever is wrong with stored roll-ups, verify finds it, with what to do; without the
// first jobs what can be known without them.
func TestVerifyRollups(t *testing.T) {
	const (
		pruning = true
		one     = ` WHERE (day, template) = (SELECT max(day), 'a' FROM rollup_blocks)`
	)
	if report, err := sqlite.Verify(t.Context(), rolledUp(t, false), silent); err != nil || len(report.Problems) > 0 ||
		!report.RollupsExact || report.Blocks != 6 || report.RollupsUpTo != 30 {
		t.Fatalf("%+v, %v", report, err)
	}
	if report, err := sqlite.Verify(t.Context(), rolledUp(t, pruning), silent); err != nil || len(report.Problems) > 0 ||
		report.RollupsExact || report.Blocks != 6 {
		t.Fatalf("with pruned jobs: %+v, %v", report, err)
	}
	for _, test := range []struct {
		statement, want string
		pruned          bool // whether it shows without the first jobs too
	}{
		{`UPDATE rollup_blocks SET jobs = jobs + 1` + one, "does not add up", true},
		{`DELETE FROM rollup_blocks` + one, "is not stored, but", true},
		{`INSERT INTO rollup_blocks SELECT day, 'c', up_to, jobs, cells, slots FROM rollup_blocks` + one, "the stored roll-ups hold", true},
		{`UPDATE rollup_blocks SET template = 'c'` + one, "is not stored, but", true},
		{`UPDATE rollup_blocks SET day = day + 1` + one, "is not stored, but", true},
		{`UPDATE rollup_blocks SET cells = x''` + one, "is damaged", true},
		{`UPDATE rollup_blocks SET cells = x'02'` + one, "format 2", true},
		{`UPDATE rollup_blocks SET slots = substr(slots, 1, length(slots) - 1)` + one, "is damaged", true},
		{`UPDATE rollup_blocks SET slots = (SELECT slots FROM rollup_blocks WHERE template = 'b')` + one, "is damaged", true},
		{`UPDATE rollup_blocks SET (jobs, cells, slots) = (SELECT jobs, cells, slots FROM rollup_blocks WHERE template = 'b' AND jobs = 5)` + one, "differs from what its jobs give", false},
		{`UPDATE rollup_blocks SET (jobs, cells, slots) = (SELECT jobs, cells, slots FROM rollup_blocks WHERE template = 'b' AND jobs = 5)` + one, "has less than what", true},
		{`UPDATE rollup SET since = 2`, "the stored roll-ups hold", false},
		{`UPDATE rollup SET since = -2`, "begin at job -2", true},
		{`UPDATE rollup SET pruned = 5`, "and 5 past their retention", true},
		{`UPDATE rollup SET pruned = -1`, "begin at job 1", true},
		{`UPDATE rollup SET zone = 'Nowhere/City'`, "time zone that is not known", true},
		{`UPDATE rollup SET up_to = up_to + 3`, "the stored roll-ups hold", true},
	} {
		for _, pruned := range []bool{false, true} {
			if pruned && !test.pruned || !pruned && strings.HasPrefix(test.want, "has less") {
				continue
			}
			path := rolledUp(t, pruned)
			tamper(t, path, test.statement)
			report, err := sqlite.Verify(t.Context(), path, silent)
			if err != nil {
				t.Errorf("%s: %v", test.statement, err)
				continue
			}
			got := strings.Join(report.Problems, "\n")
			if !strings.Contains(got, test.want) || !strings.Contains(got, ": restore a backup") && !strings.Contains(got, "not known") {
				t.Errorf("pruned %v: %s:\n%s\nwant: %s", pruned, test.statement, got, test.want)
			}
		}
	}
}

// A head that is damaged, or of another zone's days than are known, is refused at the
// start, and a damaged block when it is to be stored anew: nothing is lost.
func TestDamagedRollups(t *testing.T) {
	for statement, want := range map[string]string{
		`UPDATE rollup SET failures = x'010203'`:  "the failures that the roll-ups remember are damaged",
		`UPDATE rollup SET zone = 'Nowhere/City'`: "a time zone that is not known here",
	} {
		path := rolledUp(t, false)
		tamper(t, path, statement)
		_, err := ledger.Open(t.Context(), openStore(t, path), ledger.Options{Totals: few})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", statement, err)
		}
	}
	path := rolledUp(t, false)
	tamper(t, path, `UPDATE rollup_blocks SET cells = x'01'`)
	l, err := ledger.Open(t.Context(), openStore(t, path), ledger.Options{Totals: few, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	e := ledgertest.Entry(0, "later")
	e.Job.Name = "a"
	record(t, l, e)
	if n := count(t, l); n != 31 {
		t.Errorf("%d jobs count", n)
	}
	if err := l.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
