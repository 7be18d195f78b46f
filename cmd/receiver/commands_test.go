package main

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/sqlite"
)

// play runs a command line as main does.
func play(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	_, command, err := parse(args, io.Discard)
	if err != nil {
		return "", err
	}
	if command == nil {
		t.Fatalf("%v is no command", args)
	}
	var out strings.Builder
	err = command(t.Context(), &out, io.Discard)
	return out.String(), err
}

// A mistake in a command is told with what to do.
func TestCommandMistakes(t *testing.T) {
	t.Setenv("CI_METRICS_RECEIVER_METRICS_BUCKETS", "nonsense") // is not theirs
	for _, test := range []struct{ args, want string }{
		{"verify --ledger=postgres:x", "can't be opened: give the file of a SQLite ledger"},
		{"verify --ledger=sqlite:/missing/ledger.db", "the directory /missing does not exist"},
		{"verify here", "unexpected here"},
		{"verify --metrics.buckets=60", "unknown long flag '--metrics.buckets'"},
		{"backup", "required argument 'TO'"},
		{"backup x --ledger=x", "can't be opened"},
		{"restore", "required argument 'FROM'"},
		{"restore x --ledger=x", "can't be opened"},
		{"--web.listen-address=:1 verify", "unexpected"},
	} {
		if _, err := play(t, strings.Fields(test.args)...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v\nwant something with: %s", test.args, err, test.want)
		}
	}
	if _, err := play(t, "backup", ""); err == nil || !strings.Contains(err.Error(), "the name of the file to make is empty") {
		t.Errorf("a variable that is not set: %v", err)
	}
}

// The flag and its twin name the ledger of every command, before or behind it.
func TestCommandLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	s, err := sqlite.Open(context.Background(), path, time.Now(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	sound := func(args ...string) {
		t.Helper()
		if out, err := play(t, args...); err != nil || !strings.Contains(out, path+" is sound") || !strings.Contains(out, "no jobs") {
			t.Errorf("%v: %s, %v", args, out, err)
		}
	}
	sound("verify", "--ledger=sqlite:"+path)
	sound("--ledger=sqlite:"+path, "verify")
	t.Setenv("CI_METRICS_RECEIVER_LEDGER", "sqlite:"+path)
	sound("verify")
}

// The report says which comparison was possible.
func TestDescribe(t *testing.T) {
	made := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		report sqlite.Report
		want   string
	}{
		{sqlite.Report{Schema: 1, Created: made}, "Ledger l.db is sound.\n  made 2026-03-01T12:00:00Z, schema 1\n  no jobs\n"},
		{sqlite.Report{Schema: 1, Created: made, Verdict: ledger.Verdict{Jobs: 1, Tail: 1}}, `Ledger l.db is sound.
  made 2026-03-01T12:00:00Z, schema 1
  1 job here, 1 of them not in the stored totals yet
`},
		{sqlite.Report{Schema: 1, Created: made, Verdict: ledger.Verdict{Jobs: 1234, Replayed: 1234, UpTo: 1234, Runs: 1, Durations: 2}}, `Ledger l.db is sound.
  made 2026-03-01T12:00:00Z, schema 1
  1 234 jobs here, 0 of them not in the stored totals yet
  1 counter and 2 histograms stored, up to job 1 234
  compared with a replay of all 1 234 jobs
`},
		{sqlite.Report{Schema: 1, Created: made, Verdict: ledger.Verdict{Jobs: 1012, Replayed: 1000, UpTo: 1_001_500, Tail: 12, Runs: 3, Durations: 3, Partial: 2,
			Problems: []string{"one: do this", "two: do that"}}}, `Ledger l.db is not sound:
  problem: one: do this
  problem: two: do that
  made 2026-03-01T12:00:00Z, schema 1
  1 012 jobs here, 12 of them not in the stored totals yet
  3 counters and 3 histograms stored, up to job 1 001 500
  compared with a replay of the 1 000 jobs that are left: 1 000 500 jobs of these totals past retention, so it is a lower bound
  histograms all of whose jobs are left, compared exactly: 1
`},
		{sqlite.Report{Verdict: ledger.Verdict{Problems: []string{"damaged"}}}, "Ledger l.db is not sound:\n  problem: damaged\n"},
	} {
		if got := describe("l.db", &test.report); got != test.want {
			t.Errorf("got:\n%swant:\n%s", got, test.want)
		}
	}
}

// Long work says how far it is.
func TestProgress(t *testing.T) {
	var p progress
	for _, test := range []struct {
		what        string
		done, total int64
		want        string
	}{
		{"checking the file", 0, 0, "checking the file"},
		{"reading jobs", 1_200_000, 0, "reading jobs: 1 200 000"},
		{"replaying jobs", 1_200_000, 10_000_000, "replaying jobs: 1 200 000 of 10 000 000 (12 %)"},
	} {
		p.is(test.what, test.done, test.total)
		if got := p.String(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}
