package sqlite_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/ledgertest"
	"ci-jobs-metrics/internal/ledger/sqlite"
)

func appendJob(t *testing.T, s *sqlite.Store, id string) error {
	t.Helper()
	_, err := s.Append(t.Context(), []ledger.Entry{ledgertest.Entry(0, id)})
	return err
}

// killed is what a SIGKILL would leave: a copy of the files, without those named.
func killed(t *testing.T, path string, without ...string) string {
	t.Helper()
	dir := t.TempDir()
files:
	for _, end := range []string{"", "-wal", ".lock"} {
		for _, w := range without {
			if w == end {
				continue files
			}
		}
		from, err := os.Open(path + end)
		if err != nil {
			t.Fatal(err)
		}
		to, err := os.Create(filepath.Join(dir, "ledger.db"+end))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(to, from); err != nil {
			t.Fatal(err)
		}
		from.Close()
		to.Close()
	}
	return filepath.Join(dir, "ledger.db")
}

func jobs(t *testing.T, s *sqlite.Store) int {
	t.Helper()
	rows, err := s.Rows(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return len(rows)
}

// A write-ahead log that is deleted under a running store takes nothing with it.
func TestDeletedLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	s := open(t, path)
	n := 0
	for range 3 {
		for range 2 {
			if err := appendJob(t, s, fmt.Sprint(n)); err != nil {
				t.Fatal(err)
			}
			n++
		}
		for _, end := range []string{"-wal", "-shm"} {
			if err := os.Remove(path + end); err != nil {
				t.Fatal(err)
			}
		}
		// By the next job, or by the look that comes every few seconds.
		if n%4 == 0 {
			if err := s.Tend(t.Context()); err != nil {
				t.Fatal(err)
			}
		} else if err := appendJob(t, s, fmt.Sprint(n)); err != nil {
			t.Fatal(err)
		} else {
			n++
		}
		if got := jobs(t, open(t, killed(t, path))); got != n {
			t.Errorf("%d jobs after a kill, want %d", got, n)
		}
		if got := jobs(t, s); got != n {
			t.Errorf("%d jobs, want %d", got, n)
		}
	}
	if err := appendJob(t, s, "0"); err != nil || jobs(t, s) != n {
		t.Errorf("a duplicate: %v", err)
	}
}

// A ledger that is moved away, or another put in its place, is noticed, and it is used
// again when it is back.
func TestMovedLedger(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger.db")
	s := open(t, path)
	if err := appendJob(t, s, "1"); err != nil {
		t.Fatal(err)
	}
	away := filepath.Join(dir, "away.db")
	for _, in := range []string{"", "another"} {
		if err := os.Rename(path, away); err != nil {
			t.Fatal(err)
		}
		want := "deleted or moved away"
		if in != "" {
			want = "another file was put in place"
			if err := os.WriteFile(path, []byte(in), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, readErr := s.Rows(t.Context(), 0, 1)
		for what, err := range map[string]error{
			"Append": appendJob(t, s, "2"), "Tend": s.Tend(t.Context()), "Probe": s.Probe(t.Context()), "Rows": readErr,
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v\nwant something with: %s", what, err, want)
			}
		}
		if err := os.Rename(away, path); err != nil {
			t.Fatal(err)
		}
		if err := s.Probe(t.Context()); err != nil {
			t.Errorf("when it is back: %v", err)
		}
	}
	if err := appendJob(t, s, "2"); err != nil || jobs(t, s) != 2 {
		t.Errorf("when it is back: %v", err)
	}
}

// No start from less than was recorded.
func TestMissingFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	s := open(t, path)
	for i := range 3 {
		if err := appendJob(t, s, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(copied, want string) {
		t.Helper()
		o, err := sqlite.Open(t.Context(), copied, ledgertest.Start, slog.New(slog.DiscardHandler))
		if err == nil {
			o.Close()
			t.Error("opened")
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nwant something with: %s", err, want)
		}
	}
	whole := killed(t, path)
	if got := jobs(t, open(t, whole)); got != 3 {
		t.Errorf("%d jobs after a kill", got)
	}
	withoutLog := killed(t, path, "-wal")
	for range 2 { // a refusal forgets nothing
		refused(withoutLog, "but job 3 was recorded here")
	}
	without := killed(t, path, "", "-wal")
	for range 2 {
		refused(without, "3 jobs were recorded here, but the file is gone")
	}
	if err := os.Remove(without + ".lock"); err != nil {
		t.Fatal(err)
	}
	if got := jobs(t, open(t, without)); got != 0 {
		t.Errorf("%d jobs in a new ledger", got)
	}
}

func TestSpace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	s := open(t, path)
	space, err := s.Space()
	info, statErr := os.Stat(path)
	if err != nil || statErr != nil || space.Used < info.Size() || space.Free < 1<<20 {
		t.Errorf("%+v, %v, %v", space, err, statErr)
	}
}

// While the connections are opened anew the ledger may vanish. No new one is made then,
// and when it is back all goes on where it was.
func TestVanishedWhileReconnecting(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger.db")
	s := open(t, path)
	for i := range 3 {
		if err := appendJob(t, s, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	away := filepath.Join(dir, "away.db")
	other := filepath.Join(t.TempDir(), "other.db")
	open(t, other).Close()
	for _, intruder := range []string{"", other} {
		if err := os.Rename(path, away); err != nil {
			t.Fatal(err)
		}
		if intruder != "" {
			if err := os.Rename(intruder, path); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Reconnect(t); err == nil {
			t.Fatal("reconnected to nothing")
		}
		if _, err := os.Stat(path); intruder == "" && err == nil {
			t.Error("a new ledger was made")
		}
		if err := appendJob(t, s, "x"); err == nil {
			t.Error("a job was recorded")
		}
		if _, err := s.Rows(t.Context(), 0, 10); err == nil {
			t.Error("jobs were read")
		}
		if err := os.Rename(away, path); err != nil {
			t.Fatal(err)
		}
		if err := appendJob(t, s, "0"); err != nil || jobs(t, s) != 3 {
			t.Errorf("when it is back: %v, %d jobs", err, jobs(t, s))
		}
	}
	outcomes, err := s.Append(t.Context(), []ledger.Entry{ledgertest.Entry(0, "new")})
	if err != nil || outcomes[0].Seq != 4 {
		t.Errorf("%v, %v", outcomes, err)
	}
}

// Others read while a deleted log is saved.
func TestReadWhileReconnecting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	s := open(t, path)
	var readers sync.WaitGroup
	var stop atomic.Bool
	for range 3 {
		readers.Go(func() {
			for last := 0; !stop.Load(); {
				rows, err := s.Rows(t.Context(), 0, 1000)
				if err != nil || len(rows) < last || s.Created() != ledgertest.Start {
					t.Errorf("%d rows after %d, %v, made %v", len(rows), last, err, s.Created())
					return
				}
				last = len(rows)
				if _, err := s.Space(); err != nil && !errors.Is(err, fs.ErrNotExist) { // of the log, just then
					t.Error(err)
				}
			}
		})
	}
	for i := range 20 {
		if err := errors.Join(appendJob(t, s, fmt.Sprint(i)), os.Remove(path+"-wal")); err != nil {
			t.Error(err)
		}
	}
	stop.Store(true)
	readers.Wait()
	if err := s.Tend(t.Context()); err != nil || jobs(t, open(t, killed(t, path))) != 20 {
		t.Errorf("%v", err)
	}
}

// A lock that is removed is taken again, unless another receiver was faster, and the
// number of the last job is not lost with it.
func TestRemovedLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	s := open(t, path)
	if err := errors.Join(appendJob(t, s, "1"), os.Remove(path+".lock"), appendJob(t, s, "2")); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(t.Context(), path, ledgertest.Start, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "another receiver") {
		t.Errorf("a second store: %v", err)
	}
	if text, err := os.ReadFile(path + ".lock"); err != nil || !strings.HasSuffix(string(text), "\nlast 2\n") {
		t.Errorf("the lock has %q, %v", text, err)
	}
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	second := open(t, path)
	if err := appendJob(t, s, "3"); err == nil || !strings.Contains(err.Error(), "was removed while the receiver uses it: another receiver") {
		t.Errorf("beside another: %v", err)
	}
	if err := appendJob(t, second, "3"); err != nil || jobs(t, second) != 3 {
		t.Errorf("the other: %v", err)
	}
}

// Verify knows what the next start would refuse.
func TestVerifyMissingLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	open(t, path).Close()
	s := open(t, path)
	if err := appendJob(t, s, "1"); err != nil {
		t.Fatal(err)
	}
	for without, want := range map[string]int{"": 0, "-wal": 1} {
		copied := path
		if without != "" {
			copied = killed(t, path, without)
		}
		r, err := sqlite.Verify(t.Context(), copied, silent)
		if err != nil || len(r.Problems) != want || want > 0 && !strings.Contains(r.Problems[0], "job 1 was recorded here") {
			t.Errorf("without %q: %+v, %v", without, r, err)
		}
	}
}
