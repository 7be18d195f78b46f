package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ci-jobs-metrics/internal/ledger/ledgertest"
	"ci-jobs-metrics/internal/ledger/sqlite"
)

// A copy is one file with all that was recorded, of a ledger that is served, that was
// killed, or at rest; and a receiver goes on with it.
func TestBackup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := serve(t, path)
	record(t, l, 300)
	killed := filepath.Join(t.TempDir(), "ledger.db")
	copyFile(t, path, killed)
	copyFile(t, path+"-wal", killed+"-wal")
	to := t.TempDir()
	backup := func(path, name string, want int64) {
		t.Helper()
		if err := sqlite.Backup(t.Context(), path, filepath.Join(to, name), silent); err != nil {
			t.Fatal(err)
		}
		sound(t, filepath.Join(to, name), want)
	}
	backup(path, "served.db", 300)
	record(t, l, 10)
	backup(path, "later.db", 310)
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	backup(path, "rest.db", 310)
	backup(killed, "killed.db", 300)
	if got := names(t, to); got != "killed.db later.db rest.db served.db" {
		t.Errorf("there are: %s", got)
	}
	if mode := journalMode(t, filepath.Join(to, "later.db")); mode != "delete" {
		t.Errorf("the copy is in mode %s: reading it would put a log beside it", mode)
	}
	open(t, filepath.Join(to, "later.db"))
	if mode := journalMode(t, filepath.Join(to, "later.db")); mode != "wal" {
		t.Errorf("a receiver serves it in mode %s", mode)
	}

	var piped bytes.Buffer
	if err := sqlite.BackupTo(t.Context(), path, &piped, silent); err != nil {
		t.Fatal(err)
	}
	unpiped := filepath.Join(t.TempDir(), "ledger.db")
	if err := os.WriteFile(unpiped, piped.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	sound(t, unpiped, 310)
	if got := names(t, filepath.Dir(path)); got != "ledger.db ledger.db.lock" {
		t.Errorf("beside the ledger are: %s", got)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, syscall.EPIPE }

// A backup that fails says why, and leaves nothing behind.
func TestBackupFails(t *testing.T) {
	path, dir := filled(t, 3000), t.TempDir()
	to := filepath.Join(dir, "copy.db")
	fails := func(want string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nwant: %s", err, want)
		}
		if got := names(t, dir) + names(t, filepath.Dir(path)); got != "ledger.db ledger.db.lock" {
			t.Errorf("left behind: %s", got)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	fails("context canceled", sqlite.Backup(ctx, path, to, func(string, int64, int64) { cancel() }))
	fails("context canceled", sqlite.BackupTo(ctx, path, &bytes.Buffer{}, silent))
	fails("broken pipe", sqlite.BackupTo(t.Context(), path, failingWriter{}, silent))
	fails("no such file", sqlite.Backup(t.Context(), path, filepath.Join(dir, "missing", "copy.db"), silent))
	fails("no such file", sqlite.Backup(t.Context(), filepath.Join(dir, "missing.db"), to, silent))

	made := false
	err := sqlite.Backup(t.Context(), path, to, func(string, int64, int64) { // somebody is faster
		if !made {
			made = true
			copyFile(t, path, to)
		}
	})
	if err == nil || !strings.Contains(err.Error(), "exists already, and is not overwritten") || names(t, dir) != "copy.db" {
		t.Errorf("%v, left: %s", err, names(t, dir))
	}
	before := listing(t, dir)
	if err := sqlite.Backup(t.Context(), path, to, silent); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Error(err)
	}
	if listing(t, dir) != before {
		t.Error("the file that was there was changed")
	}
}

var restoredAt = time.Date(2026, 4, 5, 6, 7, 8, 9e6, time.UTC)

func restore(t *testing.T, path, from string, replace bool) (*sqlite.Restored, error) {
	t.Helper()
	return sqlite.Restore(t.Context(), path, from, replace, restoredAt, silent)
}

// In place of nothing, and of a ledger with a log, which is kept whole and not played
// into what was restored.
func TestRestore(t *testing.T) {
	backup := filled(t, 30)
	path := filepath.Join(t.TempDir(), "ledger.db")
	r, err := restore(t, path, backup, false)
	if err != nil || *r != (sqlite.Restored{Created: ledgertest.Start, Last: 30}) {
		t.Fatalf("%+v, %v", r, err)
	}
	sound(t, path, 30)
	l := serve(t, path)
	record(t, l, 7)
	killed := filepath.Join(t.TempDir(), "ledger.db")
	for _, end := range []string{"", "-wal", "-shm", ".lock"} {
		copyFile(t, path+end, killed+end)
	}
	if err := os.Chmod(killed, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := restore(t, killed, backup, false); err == nil || !strings.Contains(err.Error(), "give --replace") {
		t.Errorf("over a ledger: %v", err)
	}
	sound(t, killed, 37)
	r, err = restore(t, killed, backup, true)
	if err != nil || r.Last != 30 || r.Kept != killed+".replaced-20260405T060708.009Z" {
		t.Fatalf("%+v, %v", r, err)
	}
	const want = "ledger.db ledger.db.lock ledger.db.replaced-20260405T060708.009Z ledger.db.replaced-20260405T060708.009Z-wal"
	if got := names(t, filepath.Dir(killed)); got != want {
		t.Errorf("there are: %s", got)
	}
	sound(t, killed, 30)
	sound(t, r.Kept, 37)
	if content, err := os.ReadFile(killed + ".lock"); err != nil || !strings.HasSuffix(string(content), "\nlast 30\n") {
		t.Errorf("the lock file has %q, %v", content, err)
	}
	if info, err := os.Stat(killed); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if c := open(t, killed).Created(); !c.Equal(ledgertest.Start) {
		t.Errorf("made %s", c)
	}
}

// A damaged ledger, whatever is left of it, can be replaced.
func TestRestoreOverDamaged(t *testing.T) {
	backup := filled(t, 30)
	for name, content := range map[string]string{"text": "text", "empty": "", "header": "SQLite format 3\x00garbage"} {
		path := filepath.Join(t.TempDir(), "ledger.db")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := restore(t, path, backup, true)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		sound(t, path, 30)
		if kept, err := os.ReadFile(r.Kept); err != nil || string(kept) != content {
			t.Errorf("%s: kept %q, %v", name, kept, err)
		}
	}
	path := filepath.Join(t.TempDir(), "ledger.db") // of which only a log is left
	if err := os.WriteFile(path+"-wal", []byte("log"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := restore(t, path, backup, false); err == nil || !strings.Contains(err.Error(), "give --replace") {
		t.Errorf("over a log: %v", err)
	}
	if _, err := restore(t, path, backup, true); err != nil {
		t.Fatal(err)
	}
	sound(t, path, 30)
}

// What can't be restored changes nothing.
func TestRestoreRefused(t *testing.T) {
	backup, dir := filled(t, 3000), t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	execute(t, in("other.db"), `CREATE TABLE t (x)`)
	for name, statement := range map[string]string{
		"newer.db": `PRAGMA user_version = 999`, "totals.db": `UPDATE totals SET bounds = 'x'`, "made.db": `DELETE FROM ledger`,
	} {
		copyFile(t, backup, in(name))
		execute(t, in(name), statement)
	}
	copyFile(t, backup, in("damaged.db"))
	damage(t, in("damaged.db"))
	copyFile(t, backup, in("short.db"))
	if err := os.Truncate(in("short.db"), 40_000); err != nil {
		t.Fatal(err)
	}
	path := filled(t, 5)
	if err := os.Symlink(path, in("link.db")); err != nil {
		t.Fatal(err)
	}
	before := listing(t, filepath.Dir(path))
	for _, test := range []struct{ from, want string }{
		{"other.db", "not a ledger"},
		{"newer.db", "schema 999 is newer"},
		{"totals.db", "reading the buckets"},
		{"made.db", "says 0 times when it was made"},
		{"damaged.db", "damaged"},
		{"short.db", "damaged"},
		{"missing.db", "there is no such file"},
		{"link.db", "it is the backup itself"},
	} {
		if r, err := restore(t, path, in(test.from), true); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %+v, %v\nwant: %s", test.from, r, err, test.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := sqlite.Restore(ctx, path, backup, true, restoredAt, func(what string, _, _ int64) {
		if what == "copying pages" {
			cancel()
		}
	}); !errors.Is(err, context.Canceled) {
		t.Errorf("when it is stopped: %v", err)
	}
	without := func(listing string) string { // the lock names who had it last
		i := strings.Index(listing, "ledger.db.lock")
		return listing[:i]
	}
	if after := listing(t, filepath.Dir(path)); without(after) != without(before) || strings.Count(after, "\n") != strings.Count(before, "\n") {
		t.Errorf("there is now: %s", names(t, filepath.Dir(path)))
	}

	open(t, path) // a receiver
	if _, err := restore(t, path, backup, true); err == nil || !strings.Contains(err.Error(), "a receiver (pid") {
		t.Errorf("while a receiver uses it: %v", err)
	}
}
