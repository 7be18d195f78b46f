package sqlite_test

import (
	"context"
	"errors"
	"fmt"

	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/ledgertest"
	"ci-jobs-metrics/internal/ledger/sqlite"
	"ci-jobs-metrics/internal/totals"
)

func silent(string, int64, int64) {}

// filled makes a ledger with as many jobs, closes it, and returns its path.
func filled(t *testing.T, jobs int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := serve(t, path)
	record(t, l, jobs)
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return path
}

func serve(t *testing.T, path string) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(t.Context(), open(t, path), ledger.Options{Totals: totals.Settings{Bounds: []float64{60}}, CheckpointEvery: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close(context.Background()) })
	return l
}

func record(t *testing.T, l *ledger.Ledger, jobs int) {
	t.Helper()
	entries := make([]ledger.Entry, jobs)
	for i := range entries {
		entries[i] = ledgertest.Entry(time.Duration(i)*time.Second, "")
		entries[i].Job.ID = fmt.Sprintf("gitlab.example/%d/%p", i, entries)
		entries[i].Job.Timed, entries[i].Job.Duration = true, time.Duration(i)*time.Second
	}
	if _, err := l.Record(entries); err != nil {
		t.Fatal(err)
	}
}

// listing is what lies in a directory, with sizes, times and contents.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		content := ""
		if !strings.HasSuffix(f.Name(), "-shm") { // readers mark there how far they read
			raw, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			content = fmt.Sprintf(" %s %x", info.ModTime(), raw)
		}
		fmt.Fprintf(&b, "%s %d%s\n", f.Name(), info.Size(), content)
	}
	return b.String()
}

// names are the files in a directory.
func names(t *testing.T, dir string) string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range files {
		all = append(all, f.Name())
	}
	return strings.Join(all, " ")
}

func verify(t *testing.T, path string) *sqlite.Report {
	t.Helper()
	r, err := sqlite.Verify(t.Context(), path, silent)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func sound(t *testing.T, path string, jobs int64) {
	t.Helper()
	if r := verify(t, path); len(r.Problems) > 0 || r.Jobs != jobs || !r.Created.Equal(ledgertest.Start) || r.Schema != 4 {
		t.Errorf("%s: %+v, want %d jobs", path, r, jobs)
	}
}

// It changes nothing: not in a ledger that is served, nor in one that a kill left with
// its log, nor in one at rest.
func TestVerifyChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := serve(t, path)
	record(t, l, 100)
	for verify(t, path).Tail > 0 { // until the checkpoint, after which it writes no more
		time.Sleep(time.Millisecond)
	}
	check := func(path string, want int64) {
		t.Helper()
		before := listing(t, filepath.Dir(path))
		sound(t, path, want)
		if after := listing(t, filepath.Dir(path)); after != before {
			t.Errorf("before:\n%.2000s\nafter:\n%.2000s", before, after)
		}
	}
	check(path, 100)
	killed := filepath.Join(t.TempDir(), "ledger.db")
	for _, end := range []string{"", "-wal", "-shm"} {
		copyFile(t, path+end, killed+end)
	}
	check(killed, 100)
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(path, 100)
	if err := os.Remove(killed + "-shm"); err != nil {
		t.Fatal(err)
	}
	sound(t, killed, 100)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A ledger at rest may lie where nothing can be written.
func TestVerifyReadOnly(t *testing.T) {
	path := filled(t, 10)
	if err := errors.Join(os.Remove(path+".lock"), os.Chmod(path, 0o400), os.Chmod(filepath.Dir(path), 0o500)); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(filepath.Dir(path), 0o700) // so that it can be removed
	sound(t, path, 10)
	if got := names(t, filepath.Dir(path)); got != "ledger.db" { // root could have
		t.Errorf("there are: %s", got)
	}
}

// A receiver that comes while a ledger at rest is read makes it be read again.
func TestVerifyBegunAtRest(t *testing.T) {
	path := filled(t, 10)
	var l *ledger.Ledger
	r, err := sqlite.Verify(t.Context(), path, func(what string, _, _ int64) {
		if l == nil && what == "replaying jobs" {
			l = serve(t, path)
			record(t, l, 7)
		}
	})
	if err != nil || len(r.Problems) > 0 || r.Jobs != 17 {
		t.Errorf("%+v, %v", r, err)
	}
}

// While jobs are recorded, all is of one moment.
func TestVerifyWhileRecording(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := serve(t, path)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				record(t, l, 20)
			}
		}
	}()
	for last := int64(-1); last < 2000; {
		r := verify(t, path)
		if len(r.Problems) > 0 || r.Jobs < last {
			t.Errorf("%+v after %d jobs", r, last)
		}
		last = r.Jobs
	}
	close(stop)
	<-stopped
}

// What is wrong with the tables is told.
func TestVerifyTables(t *testing.T) {
	for _, test := range []struct{ statement, want string }{
		{`DROP INDEX jobs_id`, "index jobs_id is missing"},
		{`DROP TABLE totals_durations`, "table totals_durations is missing"},
		{`ALTER TABLE jobs ADD COLUMN more TEXT`, "table jobs is not as the receiver made it"},
		{`DELETE FROM ledger`, "says 0 times when it was made"},
		{`INSERT INTO ledger VALUES (1)`, "says 2 times when it was made"},
		{`INSERT INTO totals SELECT * FROM totals`, "says 2 times which job"},
		{`DELETE FROM totals`, "says 0 times which job"},
		{`UPDATE totals SET up_to = 9`, "counters hold 10 jobs, but they end at job 9"},
		{`UPDATE totals SET bounds = '{'`, "the stored totals: reading the buckets: unexpected end of JSON input: restore a backup"},
		{`UPDATE totals_runs SET count = -1`, "the stored totals: reading the counters: of dotnet_build, group/app, success:"},
		{`UPDATE totals_runs SET count = 9`, "is 9, but 10 of its jobs are here"},
		{`UPDATE totals_durations SET count = -1`, "the stored totals: reading the histograms: of dotnet_build, success:"},
		{`UPDATE totals_durations SET buckets = 'garbage'`, "reading the histograms: of dotnet_build, success: invalid character"},
		{`UPDATE totals_durations SET buckets = '[1]'`, "1 buckets for 1 bounds"},
		{`UPDATE totals_durations SET exp = '{"x": 1}'`, "reading the histograms: of dotnet_build, success: json"},
		{`UPDATE totals_durations SET sum = sum + 1`, "differs in its sum"},
		{`UPDATE jobs SET seq = -5 WHERE seq = 5`, "job -5 has a number below 1"},
		{`UPDATE jobs SET status = '' WHERE seq = 5`, `job 5 has the status ""`},
		{`UPDATE jobs SET duration = 1 << 61 WHERE seq = 5`, "job 5 took 2562047h47m16.854775s"},
		{`UPDATE jobs SET duration = -(1 << 62) WHERE seq = 5`, "job 5 took -2562047h47m16.854775s"},
		{`UPDATE jobs SET received = 1 << 62 WHERE seq = 5`, "job 5 was received at"},
	} {
		path := filled(t, 10)
		execute(t, path, test.statement)
		got := strings.Join(verify(t, path).Problems, "\n")
		if !strings.Contains(got, test.want) || !strings.HasSuffix(got, ": restore a backup") {
			t.Errorf("%s:\n%s\nwant: %s", test.statement, got, test.want)
		}
	}
	path := filled(t, 10)
	execute(t, path, `CREATE INDEX own ON jobs (project)`)
	sound(t, path, 10)
}

// What is no ledger is no report but an error, with what to do.
func TestVerifyRefused(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	execute(t, in("other.db"), `CREATE TABLE t (x)`)
	execute(t, in("empty.db"), `PRAGMA user_version = 0`)
	open(t, in("newer.db")).Close()
	execute(t, in("newer.db"), `PRAGMA user_version = 999`)
	if err := os.WriteFile(in("text.db"), []byte(strings.Repeat("text", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, want string }{
		{"other.db", "not a ledger: choose another file"},
		{"empty.db", "no receiver has used it"},
		{"newer.db", "schema 999 is newer than this program"},
		{"text.db", "not a SQLite database"},
		{"missing.db", "there is no such file"},
		{"missing/ledger.db", "does not exist"},
	} {
		if r, err := sqlite.Verify(t.Context(), in(test.name), silent); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %+v, %v\nwant: %s", test.name, r, err, test.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	if r, err := sqlite.Verify(ctx, filled(t, 10), func(string, int64, int64) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("when it is stopped: %+v, %v", r, err)
	}
}

// Whatever the bytes are, it comes to an end: with problems, an error, or, where they
// mean nothing, neither.
func TestVerifyDamaged(t *testing.T) {
	undamaged := filled(t, 500)
	whole, err := os.ReadFile(undamaged)
	if err != nil {
		t.Fatal(err)
	}
	sound, err := sqlite.Verify(t.Context(), undamaged, silent)
	if err != nil || len(sound.Problems) > 0 {
		t.Fatalf("%+v, %v", sound, err)
	}
	path := filepath.Join(t.TempDir(), "ledger.db")
	r, found := rand.New(rand.NewPCG(1, 2)), 0
	const rounds = 60
	for i := range rounds {
		damaged := append([]byte(nil), whole...)
		switch i % 3 {
		case 0:
			damaged = damaged[:4096+r.IntN(len(damaged)-4096)]
		case 1: // a stretch
			at := 100 + r.IntN(len(damaged)-1000)
			for k := range 1 + r.IntN(900) {
				damaged[at+k] = byte(r.Uint32())
			}
		case 2: // single bytes, of the heads of pages among others
			for range 20 {
				damaged[100+r.IntN(len(damaged)-100)] = byte(r.Uint32())
			}
			page := 4096 * (1 + r.IntN(len(damaged)/4096-1))
			damaged[page+r.IntN(12)] = byte(r.Uint32())
		}
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		report, err := sqlite.Verify(ctx, path, silent)
		if ctx.Err() != nil {
			t.Fatalf("round %d does not come to an end", i)
		}
		cancel()
		if err == nil && (len(report.Problems) > 60 || strings.Contains(strings.Join(report.Problems, ""), "\n")) {
			t.Errorf("round %d: %d problems: %q", i, len(report.Problems), report.Problems)
		}
		if err != nil || len(report.Problems) > 0 {
			found++
		} else if report.Jobs != sound.Jobs || report.UpTo != sound.UpTo || report.Runs != sound.Runs || report.Durations != sound.Durations {
			t.Errorf("round %d: called sound, but it has %+v of %+v", i, report.Verdict, sound.Verdict)
		}
	}
	if found < rounds*7/8 { // the others hit room that is not used, or a text that means nothing
		t.Errorf("only %d of %d damaged ledgers were found", found, rounds)
	}
}
