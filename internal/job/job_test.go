package job_test

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"ci-jobs-metrics/internal/job"
)

const retention = 90 * 24 * time.Hour

var received = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

func TestFoldName(t *testing.T) {
	for name, want := range map[string]string{
		"dotnet_build":            "dotnet_build",
		"test 1/5":                "test",
		"test 12/50":              "test",
		"build: [linux, arm64]":   "build",
		"build [a]":               "build",
		"a: [x] 1/2":              "a",
		"rspec pg9 1/10":          "rspec pg9",
		"deploy 3":                "deploy 3",
		"deploy:3":                "deploy:3",
		"test 1 5":                "test",
		"test 1:5":                "test",
		`test 1\5`:                "test",
		"test 1 / 5":              "test",
		"test1/5":                 "test1/5",
		"test 1/5 rest":           "test 1/5 rest",
		"matrix: [a]: [b]: [c]":   "matrix",
		"build: [a, [b]] 1/2 3/4": "build",
		"a 1/2 3/4 5/6 7/8":       "a 1/2",
		" 1/5":                    "1/5",
		": [a]":                   ": [a]",
		"  spaced 1/2  ":          "spaced",
		"":                        "",
		"é 1/2":                   "é",
		"2024 1/2":                "2024",
	} {
		if got := job.FoldName(name); got != want {
			t.Errorf("FoldName(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestParseStatus(t *testing.T) {
	for want, words := range map[job.Status][]string{
		job.Success:  {"success", "SUCCESS", "Succeeded", "passed", "succeeded-with-issues"},
		job.Failed:   {"failed", "failure", "FAILURE", "error", "startup_failure"},
		job.Canceled: {"canceled", "cancelled", "Aborted"},
		job.Skipped:  {"skipped", "not_built", "NOT RUN"},
		job.TimedOut: {"timedout", "timed_out", "timed-out", "Timed Out", "timeout"},
		job.Unknown:  {"unknown", "Unknown"},
	} {
		for _, word := range words {
			if got, ok := job.ParseStatus(word); got != want || !ok {
				t.Errorf("ParseStatus(%q) = %q, %t, want %q", word, got, ok, want)
			}
		}
	}
	for _, word := range []string{"running", "neutral", "", "success!", "💥"} {
		if got, ok := job.ParseStatus(word); got != job.Unknown || ok {
			t.Errorf("ParseStatus(%q) = %q, %t", word, got, ok)
		}
	}
	for i, s := range job.Statuses {
		if s.Rank() != i {
			t.Errorf("%s has rank %d, want %d", s, s.Rank(), i)
		}
	}
}

func TestParseTime(t *testing.T) {
	want := time.Date(2023, 5, 23, 13, 1, 0, 0, time.UTC)
	for _, s := range []string{
		"2023-05-23T13:01:00Z", "2023-05-23t13:01:00z", "2023-05-23 13:01:00Z",
		"2023-05-23T15:01:00+02:00", "2023-05-23T15:01:00 02:00", "2023-05-23 15:01:00 02:00",
		"2023-05-23T07:31:00-05:30", "2023-05-23T13:01:00.0000009Z",
	} {
		got, err := job.ParseTime(s)
		if err != nil || !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("ParseTime(%q) = %v, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"2023-05023T13:01:00Z", "", "now", "2023-05-23", "2023-05-23T13:01:00", "2023-02-30T13:01:00Z",
		"2023-05-23T13:01:00+", "1684846860", "2023-05-23T25:01:00Z", "          ", "           ",
	} {
		if got, err := job.ParseTime(s); err == nil {
			t.Errorf("ParseTime(%q) = %v", s, got)
		}
	}
}

func TestUnexpanded(t *testing.T) {
	for s, want := range map[string]bool{
		"CI_JOB_NAME": true, "$CI_JOB_NAME": true, "${CI_JOB_NAME}": true, "$CI_2": true,
		"ci_job_name": false, "CI_": false, "CI_JOB_NAME x": false, "MY_CI_JOB": false, "$$CI_JOB_NAME": false, "": false,
	} {
		if got := job.Unexpanded(s); got != want {
			t.Errorf("Unexpanded(%q) = %t", s, got)
		}
	}
}

// change makes a report that is fine but for what f does to it.
func change(f func(*job.Report)) job.Report {
	r := job.Report{Name: "n", Project: "p", Status: "success"}
	f(&r)
	return r
}

func TestRejections(t *testing.T) {
	long := strings.Repeat("é", job.MaxText+1)
	for name, test := range map[string]struct {
		report job.Report
		want   []string // field: reason
	}{
		"nothing":            {job.Report{}, []string{"name: missing", "project: missing", "status: missing"}},
		"blank name":         {change(func(r *job.Report) { r.Name = " \t " }), []string{"name: missing"}},
		"long name":          {change(func(r *job.Report) { r.Name = long }), []string{"name: too_long"}},
		"long version":       {change(func(r *job.Report) { r.Version = long }), []string{"version: too_long"}},
		"long status":        {change(func(r *job.Report) { r.Status = long }), []string{"status: too_long"}},
		"long id":            {change(func(r *job.Report) { r.ID = strings.Repeat("x", job.MaxID+1) }), []string{"id: too_long"}},
		"long url":           {change(func(r *job.Report) { r.URL = "https://" + strings.Repeat("x", job.MaxURL) }), []string{"url: too_long"}},
		"broken UTF-8":       {change(func(r *job.Report) { r.Project = "p\xff" }), []string{"project: invalid_utf8"}},
		"broken ref":         {change(func(r *job.Report) { r.Ref = "\xc0\x80" }), []string{"ref: invalid_utf8"}},
		"forgotten dollars":  {change(func(r *job.Report) { r.Name, r.Project = "CI_JOB_NAME", "${CI_PROJECT_PATH}" }), []string{"name: unexpanded_variable", "project: unexpanded_variable"}},
		"a start of 300 chr": {change(func(r *job.Report) { r.Started = strings.Repeat("2", 300) }), []string{"started: too_long"}},
	} {
		t.Run(name, func(t *testing.T) {
			v := test.report.Check(received, retention)
			if v.Accepted() {
				t.Fatal("accepted")
			}
			if diff := cmp.Diff(test.want, reasons(t, v.Rejections)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// reasons lists problems as "field: reason", and checks that each has what people
// need.
func reasons(t *testing.T, problems []job.Problem) (list []string) {
	t.Helper()
	for _, p := range problems {
		if p.Remedy == "" || utf8.RuneCountInString(p.Value) > 100 || !utf8.ValidString(p.Value) {
			t.Errorf("problem %+v", p)
		}
		list = append(list, p.Field+": "+string(p.Reason))
	}
	return list
}

func TestWarnings(t *testing.T) {
	at := job.Instant(received)
	ago := func(d time.Duration) string { return received.Add(-d).Format(time.RFC3339Nano) }
	for name, test := range map[string]struct {
		report job.Report
		want   []string
		job    func(*job.Job) // what differs from a plain job
	}{
		"plain":             {report: change(func(*job.Report) {})},
		"limits":            {report: change(func(r *job.Report) { r.Stage = strings.Repeat("é", job.MaxText) }), job: func(j *job.Job) { j.Stage = strings.Repeat("é", job.MaxText) }},
		"timed":             {report: change(func(r *job.Report) { r.Started = ago(time.Minute) }), job: func(j *job.Job) { j.Started, j.Timed, j.Duration = at.Add(-time.Minute), true, time.Minute }},
		"duration wins":     {report: change(func(r *job.Report) { r.Started, r.Duration = ago(time.Minute), "1.5" }), job: func(j *job.Job) { j.Started, j.Timed, j.Duration = at.Add(-time.Minute), true, 1500*time.Millisecond }},
		"longest":           {report: change(func(r *job.Report) { r.Duration = "2592000" }), job: func(j *job.Job) { j.Timed, j.Duration = true, job.MaxDuration }},
		"other words":       {report: change(func(r *job.Report) { r.Status = "cancelled" }), job: func(j *job.Job) { j.Status = job.Canceled }},
		"folded":            {report: change(func(r *job.Report) { r.Name = "n 1/2" }), job: func(j *job.Job) { j.Job = "n 1/2" }},
		"folded, own":       {report: change(func(r *job.Report) { r.Name, r.Job = "n 1/2", "own" }), job: func(j *job.Job) { j.Job = "own" }},
		"a bit ahead":       {report: change(func(r *job.Report) { r.Finished = ago(-4 * time.Minute) }), job: func(j *job.Job) { j.Finished = at.Add(4 * time.Minute) }},
		"back-dated":        {report: change(func(r *job.Report) { r.Finished = ago(89 * 24 * time.Hour) }), job: func(j *job.Job) { j.Finished = at.Add(-89 * 24 * time.Hour) }},
		"forgotten $":       {change(func(r *job.Report) { r.Status = "CI_JOB_STATUS" }), []string{"status: unexpanded_variable"}, func(j *job.Job) { j.Status = job.Unknown }},
		"strange status":    {change(func(r *job.Report) { r.Status = "running" }), []string{"status: unknown_status"}, func(j *job.Job) { j.Status = job.Unknown }},
		"forgotten id":      {change(func(r *job.Report) { r.ID, r.Version = "$CI_JOB_ID", "CI_METRICS_VERSION" }), []string{"id: unexpanded_variable", "version: unexpanded_variable"}, nil},
		"forgotten start":   {change(func(r *job.Report) { r.Started = "CI_JOB_STARTED_AT" }), []string{"started: unexpanded_variable"}, nil},
		"impossible start":  {change(func(r *job.Report) { r.Started = "2023-05023T13:01:00Z" }), []string{"started: unreadable_time"}, nil},
		"impossible end":    {change(func(r *job.Report) { r.Finished = "soon" }), []string{"finished: unreadable_time"}, nil},
		"far ahead":         {change(func(r *job.Report) { r.Finished = ago(-6 * time.Minute) }), []string{"finished: finished_in_the_future"}, nil},
		"long ago":          {change(func(r *job.Report) { r.Finished = ago(91 * 24 * time.Hour) }), []string{"finished: finished_too_old"}, nil},
		"backwards":         {change(func(r *job.Report) { r.Started = ago(-time.Second) }), []string{"started: negative_duration"}, func(j *job.Job) { j.Started = at.Add(time.Second) }},
		"started long ago":  {change(func(r *job.Report) { r.Started = ago(31 * 24 * time.Hour) }), []string{"started: duration_too_long"}, func(j *job.Job) { j.Started = at.Add(-31 * 24 * time.Hour) }},
		"negative":          {change(func(r *job.Report) { r.Duration = "-1" }), []string{"duration: negative_duration"}, nil},
		"too long":          {change(func(r *job.Report) { r.Duration = "2592000.000001" }), []string{"duration: duration_too_long"}, nil},
		"enormous":          {change(func(r *job.Report) { r.Duration = "1e400" }), []string{"duration: duration_too_long"}, nil},
		"minus infinity":    {change(func(r *job.Report) { r.Duration = "-Inf" }), []string{"duration: negative_duration"}, nil},
		"not a number":      {change(func(r *job.Report) { r.Duration = "NaN" }), []string{"duration: unreadable_duration"}, nil},
		"a word":            {change(func(r *job.Report) { r.Duration = "1m" }), []string{"duration: unreadable_duration"}, nil},
		"control character": {change(func(r *job.Report) { r.Name, r.Ref = "n\x00m\n", "a\u0085b" }), []string{"name: control_characters", "ref: control_characters"}, func(j *job.Job) { j.Name, j.Ref = "n m", "a b" }},
		"not a link":        {change(func(r *job.Report) { r.URL = "javascript:alert(1)" }), []string{"url: not_a_link"}, nil},
		"a path":            {change(func(r *job.Report) { r.URL = "https:/x" }), []string{"url: not_a_link"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			v := test.report.Check(received, retention)
			if !v.Accepted() {
				t.Fatalf("rejected: %+v", v.Rejections)
			}
			if diff := cmp.Diff(test.want, reasons(t, v.Warnings)); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
			want := job.Job{Name: "n", Project: "p", Status: job.Success, Finished: at}
			if test.job != nil {
				test.job(&want)
			}
			if diff := cmp.Diff(want, v.Job); diff != "" {
				t.Errorf("job (-want +got):\n%s", diff)
			}
		})
	}
}

// Every reason that Check gives is one that the metrics know.
func TestReasonsAreListed(t *testing.T) {
	for _, r := range []job.Reason{job.Missing, job.TooLong, job.InvalidUTF8, job.UnexpandedVariable} {
		if !slices.Contains(job.Rejections, r) {
			t.Errorf("%s is not listed", r)
		}
	}
	r := change(func(r *job.Report) {
		r.Status, r.Duration, r.Started, r.Finished, r.URL, r.Ref, r.ID = "?", "?", "?", "?", "?", "\x01", "CI_X"
	})
	for _, p := range append(reasons(t, r.Check(received, retention).Warnings), "x: "+string(job.NegativeDuration),
		"x: "+string(job.DurationTooLong), "x: "+string(job.FinishedAhead), "x: "+string(job.FinishedTooOld)) {
		_, reason, _ := strings.Cut(p, ": ")
		if !slices.Contains(job.Warnings, job.Reason(reason)) {
			t.Errorf("%s is not listed", reason)
		}
	}
}

func TestQuote(t *testing.T) {
	for value, want := range map[string]string{
		"short":                  "short",
		"a\x00b\xff":             "a b\uFFFD",
		strings.Repeat("é", 101): strings.Repeat("é", 99) + "…",
		strings.Repeat("é", 100): strings.Repeat("é", 100),
		strings.Repeat("\xf0\x9f\x98\x80", 1<<16): strings.Repeat("😀", 99) + "…",
	} {
		if got := job.Quote(value); got != want {
			t.Errorf("Quote(%.20q) = %q", value, got)
		}
	}
	if got := job.Clip(strings.Repeat("é", 300), 255); got != strings.Repeat("é", 254)+"…" {
		t.Errorf("Clip: %q", got)
	}
}

// Folding is what GitLab's expression says, always leaves something, and takes
// only from the end.
func FuzzFoldName(f *testing.F) {
	for _, seed := range []string{"test 1/5", "build: [linux, arm64]", "a: [x] 1/2", ": [a]", "deploy 3", "\u00a01/2", "[]", "a:[b]\xff]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		folded := job.FoldName(name)
		trimmed := strings.TrimSpace(name)
		if !strings.HasPrefix(trimmed, folded) {
			t.Fatalf("%q was folded to %q", name, folded)
		}
		if (folded == "") != (trimmed == "") {
			t.Fatalf("%q was folded to nothing", name)
		}
		if rest := strings.TrimPrefix(trimmed, folded); rest != "" && !strings.ContainsFunc(rest, func(r rune) bool {
			return unicode.IsDigit(r) || r == ']'
		}) {
			t.Fatalf("%q lost %q", name, rest)
		}
	})
}
