package sqlite_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ci-jobs-metrics/internal/ledger/ledgertest"
	"ci-jobs-metrics/internal/ledger/sqlite"
	"ci-jobs-metrics/internal/problems"
)

func saveProblems(t *testing.T, s *sqlite.Store, found ...problems.Problem) error {
	t.Helper()
	return s.SaveProblems(t.Context(), found, ledgertest.Start, ledgertest.Start.Add(time.Hour))
}

func wantProblems(t *testing.T, what, path string, want ...problems.Problem) {
	t.Helper()
	s := open(t, path)
	defer s.Close()
	got, err := s.Problems(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// A ledger of the schema before there were problems takes them, and from then on they go
// through a kill, a backup and a restore with everything else.
func TestProblemsOfAnOldLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	for _, name := range []string{"0001_ledger", "0002_label_sets"} {
		script, err := os.ReadFile("migrations/" + name + ".sql")
		if err != nil {
			t.Fatal(err)
		}
		execute(t, path, string(script))
	}
	execute(t, path, `PRAGMA application_id = 1128876621; PRAGMA user_version = 2;
		INSERT INTO ledger VALUES (1772366400123456);
		INSERT INTO jobs (seq, received, name, project, status, finished) VALUES
			(1, 1772366400123456, 'dotnet_build', 'group/app', 'success', 1772366400123456)`)

	s := open(t, path)
	want := []problems.Problem{ledgertest.Problem(time.Minute, "b"), ledgertest.Problem(0, "a")}
	if err := saveProblems(t, s, want...); err != nil {
		t.Fatal(err)
	}
	sound(t, path, 1) // while it is served
	backup := filepath.Join(t.TempDir(), "backup.db")
	if err := sqlite.Backup(t.Context(), path, backup, silent); err != nil {
		t.Fatal(err)
	}
	wantProblems(t, "after a kill", killed(t, path), want...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	sound(t, path, 1)
	wantProblems(t, "after a stop", path, want...)
	restored := filepath.Join(t.TempDir(), "ledger.db")
	if _, err := restore(t, restored, backup, false); err != nil {
		t.Fatal(err)
	}
	wantProblems(t, "restored", restored, want...)
}

// Of problems that can't all be saved none are, or the next try would count some twice.
func TestProblemsAllOrNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	open(t, path).Close()
	execute(t, path, `CREATE TRIGGER bad BEFORE INSERT ON problems WHEN new.project = 'bad' BEGIN SELECT RAISE(FAIL, 'no'); END`)
	s := open(t, path)
	if err := saveProblems(t, s, ledgertest.Problem(0, "a")); err != nil {
		t.Fatal(err)
	}
	if err := saveProblems(t, s, ledgertest.Problem(0, "a"), ledgertest.Problem(0, "bad"), ledgertest.Problem(0, "b")); err == nil {
		t.Fatal("no error")
	}
	again := ledgertest.Problem(time.Second, "a")
	if err := saveProblems(t, s, again); err != nil {
		t.Fatal(err)
	}
	s.Close()
	wantProblems(t, "those that were saved", path, ledgertest.Again(again, ledgertest.Problem(0, "a")))
}

// The log that is deleted under a running store takes no problems with it, and they go on
// to be saved.
func TestProblemsAfterADeletedLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	s := open(t, path)
	if err := saveProblems(t, s, ledgertest.Problem(0, "a")); err != nil {
		t.Fatal(err)
	}
	for _, end := range []string{"-wal", "-shm"} {
		if err := os.Remove(path + end); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Tend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := saveProblems(t, s, ledgertest.Problem(time.Second, "b")); err != nil {
		t.Fatal(err)
	}
	wantProblems(t, "after a kill", killed(t, path), ledgertest.Problem(time.Second, "b"), ledgertest.Problem(0, "a"))
}
