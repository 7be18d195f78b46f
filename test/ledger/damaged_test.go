// Package ledger_test tests what a receiver promises about its ledger: killed at any moment, with
// files damaged, lost or moved, at a start that it must refuse, and in backups.
package ledger_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ci-jobs-metrics/test/internal/harness"
)

var (
	// What every message says about a ledger that lacks jobs: which file may bring them
	// back, and how to go on without.
	lacksJobs = []string{"-wal", "backup", ".lock"}
	damaged   = []string{"damaged", "backup"}
	badTotals = []string{"totals", "backup"}
)

// A ledger that was damaged, or that lacks jobs, is never started from zero.
func TestDamagedLedgerIsRefused(t *testing.T) {
	t.Parallel()
	const someRun = `(template, project, status) IN (SELECT template, project, status FROM totals_runs LIMIT 1)`
	for _, test := range []struct {
		name   string
		left   harness.Ending
		damage func(t *testing.T, path string)
		want   []string
	}{
		{"header overwritten", harness.Stopped, overwrite(0, 100), []string{"not a SQLite database", "backup"}},
		{"header overwritten behind its magic", harness.Stopped, overwrite(16, 84), []string{"backup"}},
		{"schema overwritten", harness.Stopped, overwrite(100, 3900), damaged},
		{"pages in the middle overwritten", harness.Stopped, overwriteMiddle, damaged},
		{"truncated to half", harness.Stopped, halve, damaged},
		{"truncated within its header", harness.Stopped, truncate("", 50), damaged},
		{"truncated to nothing", harness.Stopped, truncate("", 0), lacksJobs},
		{"truncated to nothing beside its log", harness.Killed, truncate("", 0), lacksJobs},
		{"replaced by an empty ledger", harness.Stopped, replace, lacksJobs},

		{"log truncated", harness.Restarted, truncate("-wal", 0), lacksJobs},
		{"log deleted, nothing is in the file", harness.Killed, remove("-wal", "-shm"), lacksJobs},
		{"log deleted, half is in the file", harness.Restarted, remove("-wal", "-shm"), lacksJobs},
		{"log deleted, its index left", harness.Restarted, remove("-wal"), lacksJobs},
		{"deleted after a stop", harness.Stopped, remove(""), lacksJobs},
		{"deleted after a kill", harness.Restarted, remove(""), lacksJobs},
		{"deleted after a kill, with its log", harness.Restarted, remove("", "-wal", "-shm"), lacksJobs},

		{"newer schema", harness.Stopped, execute(`PRAGMA user_version = 99`), []string{"99", "newer"}},
		{"buckets are no JSON", harness.Stopped, execute(`UPDATE totals_durations SET buckets = '[1,'`), badTotals},
		{"too few buckets", harness.Stopped, execute(`UPDATE totals_durations SET buckets = '[1]'`), badTotals},
		{"bounds are no JSON", harness.Stopped, execute(`UPDATE totals SET bounds = '60'`), badTotals},
		{"a counter was changed", harness.Stopped, execute(`UPDATE totals_runs SET count = count + 1 WHERE ` + someRun), badTotals},
		{"a counter is missing", harness.Stopped, execute(`DELETE FROM totals_runs WHERE ` + someRun), badTotals},
		{"all counters are missing", harness.Stopped, execute(`DELETE FROM totals_runs`), badTotals},
		{"totals ahead of the jobs", harness.Stopped, execute(`UPDATE totals SET up_to = up_to + 100`,
			`UPDATE totals_runs SET count = count + 100 WHERE `+someRun), badTotals},
		{"totals deleted, jobs pruned", harness.Stopped, execute(`DELETE FROM jobs WHERE seq <= 10`, `DELETE FROM totals`,
			`DELETE FROM totals_runs`, `DELETE FROM totals_durations`), badTotals},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			receiver, _ := harness.LedgerAfter(t, test.left)
			test.damage(t, receiver.Ledger)
			harness.CheckStartRefused(t, receiver, test.want...)
		})
	}
}

// What was refused for lack of a file starts when the file is back.
func TestFilesComeBack(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		left harness.Ending
		lose []string // ends of names
	}{
		{"log, nothing was in the file", harness.Killed, []string{"-wal", "-shm"}},
		{"log, half was in the file", harness.Restarted, []string{"-wal", "-shm"}},
		{"ledger after a stop", harness.Stopped, []string{""}},
		{"ledger after a kill", harness.Restarted, []string{""}},
		{"all after a kill", harness.Restarted, []string{"", "-wal", "-shm"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			receiver, senders := harness.LedgerAfter(t, test.left)
			away := t.TempDir()
			for _, end := range test.lose {
				rename(t, receiver.Ledger+end, filepath.Join(away, "lost"+end))
			}
			harness.CheckStartRefused(t, receiver, lacksJobs...)
			for _, end := range test.lose {
				rename(t, filepath.Join(away, "lost"+end), receiver.Ledger+end)
			}
			receiver.Start(t)
			harness.CheckEachJobCountsOnce(t, receiver, senders, &harness.CounterWatch{})
		})
	}
}

// Who knows that jobs are lost goes on without them, and can send them again.
func TestGoOnWithoutLostJobs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		left harness.Ending
		lose []string
		kept string // beginning of the ids that are left
	}{
		{"log, nothing was in the file", harness.Killed, []string{"-wal", "-shm", ".lock"}, "none"},
		{"log, half was in the file", harness.Restarted, []string{"-wal", "-shm", ".lock"}, "first"},
		{"ledger after a stop", harness.Stopped, []string{"", ".lock"}, "none"},
		{"all after a kill", harness.Restarted, []string{"", "-wal", "-shm", ".lock"}, "none"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			receiver, senders := harness.LedgerAfter(t, test.left)
			remove(test.lose...)(t, receiver.Ledger)
			receiver.Start(t)
			kept := map[string]string{}
			for id, what := range senders.Acknowledged {
				if strings.HasPrefix(id, test.kept) {
					kept[id] = what
				}
			}
			page, err := harness.Fetch(receiver.URL("/metrics/jobs"))
			if err != nil {
				t.Fatal(err)
			}
			harness.CheckMetrics(t, kept, page)
			if n := strings.Count(receiver.Log.String(), "Started a new ledger"); test.lose[0] == "" && n != 2 {
				t.Errorf("the log has %d new ledgers, want 2", n)
			}
			for id, what := range senders.Acknowledged {
				f := strings.Fields(what)
				i := harness.Item{"id": id, "name": f[0], "project": f[1], "status": f[2], "duration": "1"}
				if answer, err := senders.Try(t.Context(), []harness.Item{i}); err != nil || !answer.Acknowledges(1) {
					t.Fatalf("%+v, %v", answer, err)
				}
			}
			harness.CheckEachJobCountsOnce(t, receiver, senders, &harness.CounterWatch{})
		})
	}
}

// overwrite puts random bytes over some of a file's.
func overwrite(at, n int) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		garbage := make([]byte, n)
		_, _ = rand.Read(garbage) // never fails
		if _, err := f.WriteAt(garbage, int64(at)); err != nil {
			t.Fatal(err)
		}
	}
}

const page = 4096

// overwriteMiddle puts random bytes over half of the pages.
func overwriteMiddle(t *testing.T, path string) {
	pages := size(t, path) / page
	if pages < 40 {
		t.Fatalf("only %d pages", pages)
	}
	overwrite(pages/4*page, pages/2*page)(t, path)
}

func size(t *testing.T, path string) int {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Size())
}

func halve(t *testing.T, path string) { truncate("", size(t, path)/2/page*page)(t, path) }

// truncate shortens the file whose name ends so.
func truncate(end string, n int) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		if err := os.Truncate(path+end, int64(n)); err != nil {
			t.Fatal(err)
		}
	}
}

// remove deletes the files whose names end so.
func remove(ends ...string) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		for _, end := range ends {
			if err := os.Remove(path + end); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// replace puts a ledger without any job into its place.
func replace(t *testing.T, path string) {
	receiver := harness.NewReceiver(t)
	receiver.Start(t)
	receiver.Stop(t)
	rename(t, receiver.Ledger, path)
}

// execute changes a ledger as only SQL can.
func execute(statements ...string) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		db := harness.OpenDatabase(t, path)
		for _, statement := range statements {
			result, err := db.Exec(statement)
			if err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
			if n, err := result.RowsAffected(); err != nil || n == 0 && !strings.HasPrefix(statement, "PRAGMA") {
				t.Fatalf("%s: %d rows, %v", statement, n, err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(fmt.Errorf("closing: %w", err))
		}
	}
}
