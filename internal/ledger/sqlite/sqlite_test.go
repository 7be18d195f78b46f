package sqlite_test

import (
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/ledgertest"
	"ci-jobs-metrics/internal/ledger/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, ledgertest.Start, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestContract(t *testing.T) {
	ledgertest.Test(t, func(t *testing.T) func() ledger.Store {
		path := filepath.Join(t.TempDir(), "ledger.db")
		return func() ledger.Store { return open(t, path) }
	})
}

// A job is found without looking at the others.
func TestJobIsFoundByIndex(t *testing.T) {
	plan := open(t, filepath.Join(t.TempDir(), "ledger.db")).JobPlan(t)
	if !strings.Contains(plan, "USING INDEX jobs_id") {
		t.Errorf("the plan is: %s", plan)
	}
}

// Characters that mean something in a URI must not in a path.
func TestOddPaths(t *testing.T) {
	for _, name := range []string{"with space.db", "50%.db", "a?b#c.db", "ü.db", "a&_pragma=x.db"} {
		path := filepath.Join(t.TempDir(), name)
		s := open(t, path)
		if _, err := s.Append(t.Context(), []ledger.Entry{ledgertest.Entry(0, "")}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("the ledger is not where it should be: %v", err)
		}
	}
}

// Every mistake with the file gets an error that says what to do.
func TestRefused(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(in(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("text.db", strings.Repeat("this is no database. ", 100))
	execute(t, in("other.db"), `CREATE TABLE t (x)`)
	open(t, in("newer.db")).Close()
	execute(t, in("newer.db"), `PRAGMA user_version = 999`)
	open(t, in("damaged.db")).Close()
	damage(t, in("damaged.db"))
	open(t, in("other-schema.db")).Close()
	execute(t, in("other-schema.db"), `ALTER TABLE jobs DROP COLUMN source`)
	open(t, in("used.db"))
	if err := errors.Join(os.Symlink(in("used.db"), in("used-link.db")), os.Symlink(dir, in("self")),
		os.Symlink(in("nothing.db"), in("dangling.db")),
		os.Link(in("used.db"), in("used-hard.db"))); err != nil {
		t.Fatal(err)
	}
	open(t, in("linked.db")).Close()
	if err := os.Link(in("linked.db"), in("hard.db")); err != nil {
		t.Fatal(err)
	}

	for _, test := range []struct{ name, want string }{
		{"missing/ledger.db", "does not exist: create it"},
		{"text.db", "not a SQLite database: choose another file"},
		{"other.db", "not a ledger: choose another file"},
		{"newer.db", "schema 999 is newer than this program"},
		{"damaged.db", "damaged: restore a backup"},
		{"other-schema.db", "no column named source"},
		{"used-hard.db", "hard links"},
		{"dangling.db", "symbolic link to a file that does not exist"},
		{"hard.db", "hard links"},
		{".", "not a regular file"},
	} {
		s, err := sqlite.Open(t.Context(), in(test.name), time.Now(), slog.New(slog.DiscardHandler))
		if err == nil {
			s.Close()
			t.Errorf("%s: opened", test.name)
		} else if !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v\nwant something with: %s", test.name, err, test.want)
		}
	}
	if err := os.Remove(in("used-hard.db")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"used.db", "used-link.db", "self/used.db"} { // one lock, whatever the name
		if _, err := sqlite.Open(t.Context(), in(name), time.Now(), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "another receiver (pid") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(in("text.db.lock")); err == nil {
		t.Error("a file that is no ledger got a lock beside it")
	}
	if mode := journalMode(t, in("other.db")); mode == "wal" {
		t.Error("a database that is not ours was changed")
	}
}

// The promise of durability rests on these.
func TestPragmas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	s := open(t, path)
	if mode := journalMode(t, path); mode != "wal" {
		t.Errorf("journal_mode is %s", mode)
	}
	if got := s.Pragma(t, "synchronous"); got != 2 {
		t.Errorf("synchronous is %d, want 2 (FULL)", got)
	}
	if got := s.Pragma(t, "temp_store"); got != 2 {
		t.Errorf("temp_store is %d, want 2 (MEMORY): an image from scratch has no directory for temporary files", got)
	}
	if err := s.ReaderWrites(); err == nil {
		t.Error("a connection for reading changed the file")
	}
}

func execute(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
}

func journalMode(t *testing.T, path string) (mode string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(`PRAGMA journal_mode`).Scan(&mode); err != nil {
		t.Fatal(err)
	}
	return mode
}

// damage overwrites the schema's page behind its header.
func damage(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(strings.Repeat("garbage", 500)), 100); err != nil {
		t.Fatal(err)
	}
}

// An error in the middle of a batch leaves nothing of it, and the next gets the
// numbers that it would have had, whether rows are inserted many or one at a time.
func TestErrorsInTheMiddle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	open(t, path).Close()
	for _, how := range []string{"ABORT", "ROLLBACK", "FAIL"} {
		execute(t, path, `CREATE TRIGGER bad_`+how+` BEFORE INSERT ON jobs WHEN new.project = '`+how+`'
			BEGIN SELECT RAISE(`+how+`, 'no'); END`)
	}
	s := open(t, path)
	next := int64(1)
	batch := func() []ledger.Entry {
		entries := make([]ledger.Entry, 30)
		for i := range entries {
			entries[i] = ledgertest.Entry(0, "")
			if i%7 < 3 { // runs of both kinds of statements
				entries[i].Job.Version = "1"
			}
		}
		return entries
	}
	known := ledgertest.Entry(0, "known")
	if _, err := s.Append(t.Context(), []ledger.Entry{known}); err != nil {
		t.Fatal(err)
	}
	next++
	for _, how := range []string{"ABORT", "ROLLBACK", "FAIL"} {
		for _, at := range []int{0, 1, 7, 8, 9, 29} {
			for _, withKnown := range []bool{false, true} {
				entries := batch()
				entries[at].Job.Project = how
				if withKnown {
					entries[(at+5)%30] = known
				}
				if _, err := s.Append(t.Context(), entries); err == nil {
					t.Fatalf("%s at %d: no error", how, at)
				}
				outcomes, err := s.Append(t.Context(), []ledger.Entry{ledgertest.Entry(0, ""), known})
				if err != nil || outcomes[0].Seq != next || outcomes[1].Seq != 0 {
					t.Fatalf("%s at %d: then %v, %v, want number %d", how, at, outcomes, err, next)
				}
				next++
			}
		}
	}
	rows, err := s.Rows(t.Context(), 0, 1000)
	if err != nil || int64(len(rows)) != next-1 {
		t.Errorf("%d rows, %v, want %d", len(rows), err, next-1)
	}
}

// A commit can fail and go through all the same; no number is used twice then.
func TestFailedCommitThatWentThrough(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "ledger.db"))
	for want := int64(1); want <= 3; want++ {
		outcomes, err := s.Append(t.Context(), []ledger.Entry{ledgertest.Entry(0, "")})
		if err != nil || outcomes[0].Seq != want {
			t.Fatalf("%v, %v, want number %d", outcomes, err, want)
		}
		s.Doubt()
	}
}
