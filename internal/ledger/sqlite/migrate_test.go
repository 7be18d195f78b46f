package sqlite_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/ledgertest"
	"ci-jobs-metrics/internal/ledger/sqlite"
	"ci-jobs-metrics/internal/totals"
)

// A label that this program does not know is damage, or of a later one: no reason to
// fall over.
func TestUnknownLabel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := ledger.Open(t.Context(), open(t, path), ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Record([]ledger.Entry{ledgertest.Entry(0, "")}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	execute(t, path, `UPDATE totals SET labels = '["nope"]'`)
	if r := verify(t, path); len(r.Problems) != 1 || !strings.Contains(r.Problems[0], `"nope" is no label`) {
		t.Errorf("verify: %v", r.Problems)
	}
	if _, err := ledger.Open(t.Context(), open(t, path), ledger.Options{}); err == nil || !strings.Contains(err.Error(), `"nope" is no label`) {
		t.Errorf("Open: %v", err)
	}
}

// A backup of the first schema can be restored, and goes on with what it has.
func TestMigrate(t *testing.T) {
	backup := filepath.Join(t.TempDir(), "backup.db")
	first, err := os.ReadFile("migrations/0001_ledger.sql")
	if err != nil {
		t.Fatal(err)
	}
	execute(t, backup, string(first)+`
		PRAGMA application_id = 1128876621; PRAGMA user_version = 1;
		INSERT INTO ledger VALUES (1772366400123456);
		INSERT INTO jobs (seq, received, name, project, status, finished, duration) VALUES
			(1, 1772366400123456, 'dotnet_build', 'group/app', 'success', 1772366400123456, 5000000),
			(2, 1772366400123456, 'dotnet_build', 'group/app', 'success', 1772366400123456, NULL),
			(3, 1772366400123456, 'dotnet_build', 'group/app', 'success', 1772366400123456, NULL);
		INSERT INTO totals VALUES (2, '[60]', 1772366400123456);
		INSERT INTO totals_runs VALUES ('dotnet_build', 'group/app', 'success', '', 1772366400123456, 2);
		INSERT INTO totals_durations VALUES ('dotnet_build', 'success', '', 1772366400123456, 1, 5000000, '[1,0]', 0, '{"19":1}');`)

	path := filepath.Join(t.TempDir(), "ledger.db")
	if _, err := sqlite.Restore(t.Context(), path, backup, false, ledgertest.Start, silent); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	if c, upTo := ledgertest.Checkpoint(t, s); upTo != 2 || len(c.Runs) != 1 || c.Runs[0].Count != 2 || c.MaxSets != 0 || c.ExactFrom != 1 {
		t.Errorf("the checkpoint: %+v up to %d", c, upTo)
	}
	l, err := ledger.Open(t.Context(), s, ledger.Options{Totals: totals.Settings{Bounds: []float64{60}, MaxSets: 1}})
	if err != nil {
		t.Fatal(err)
	}
	other := ledgertest.Entry(0, "")
	other.Job.Project = "group/other" // beyond the budget that is new
	if _, err := l.Record([]ledger.Entry{other, ledgertest.Entry(0, "")}); err != nil {
		t.Fatal(err)
	}
	all, err := ledgertest.Totals(t, l)
	if err != nil || len(all.Runs) != 2 || all.Runs[0].Count != 4 || all.Runs[1].Project != totals.Other || all.Runs[1].Status != job.Success {
		t.Errorf("%+v, %v", all, err)
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, path); len(r.Problems) > 0 || r.Schema != 4 || r.Replayed != 5 {
		t.Errorf("after: %+v", r)
	}
}
