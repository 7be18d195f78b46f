package sqlite_test

import (
	"database/sql"
	"errors"
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
	s, err := sqlite.Open(t.Context(), path, ledgertest.Start)
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
	open(t, in("used.db"))
	if err := errors.Join(os.Symlink(in("used.db"), in("used-link.db")), os.Symlink(dir, in("self")),
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
		{"used-hard.db", "hard links"},
		{"hard.db", "hard links"},
		{".", "not a regular file"},
	} {
		s, err := sqlite.Open(t.Context(), in(test.name), time.Now())
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
		if _, err := sqlite.Open(t.Context(), in(name), time.Now()); err == nil || !strings.Contains(err.Error(), "another receiver (pid") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(in("text.db.lock")); err == nil {
		t.Error("a file that is no ledger got a lock beside it")
	}
	if mode := query(t, in("other.db"), `PRAGMA journal_mode`); mode == "wal" {
		t.Error("a database that is not ours was changed")
	}
}

// The promise of durability rests on these.
func TestPragmas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	s := open(t, path)
	if mode := query(t, path, `PRAGMA journal_mode`); mode != "wal" {
		t.Errorf("journal_mode is %s", mode)
	}
	if got := s.Synchronous(t); got != 2 {
		t.Errorf("synchronous is %d, want 2 (FULL)", got)
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

func query(t *testing.T, path, question string) (answer string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(question).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
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
