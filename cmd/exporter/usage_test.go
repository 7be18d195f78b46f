package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ci-jobs-metrics/internal/steps/stepstest"
)

// Wrong arguments are said, and then it stays: a container that exits would fail
// the job.
func TestWrongArgumentsStay(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"got []":                    {},
		`got [\"only-one\"]`:        {"only-one"},
		`\"c\"`:                     {"a", "b", "c"},
		"not defined: -no-such":     {"--no-such-flag", "a", "b"},
		"invalid value":             {"a", "b", "--shutdown-timeout=soon"},
		"longer than 0":             {"a", "b", "--shutdown-timeout", "-1s"},
		"use http://":               {"a", "ftp://b"},
		"variable that was not":     {"a", "$RECEIVER"},
		"no shell reads":            {"$CI_PROJECT_DIR/a", "b"},
		"<file-path> is empty":      {"", "b"},
		"host name is empty":        {"a", ""},
		"proxy":                     {"a", "b", "--proxy=ftp://p"},
		"invalid boolean value":     {"a", "b", "--once=maybe"},
		"flag needs an argument":    {"a", "b", "--proxy"},
		"or give --token-over-http": {"a", "b", "--token-file=t"},
		"TLS isn't spoken":          {"a", "b", "--tls-ca-file=c"},
		"end the path in /":         {"a", "b", "--state-file=s"},
		"must not be negative":      {"a/", "b", "--delete-after=-1h"},
		`[\"a\" \"b\" \"--once\"]`:  {"a", "b", "--", "--once"},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			p := start(t, nil, args...)
			p.logs("Usage: exporter")
			p.logs(want)
			p.running()
			p.term(0)
		})
	}
}

// Who asks for one delivery waits for its end.
func TestWrongArgumentsOnce(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--once", "a"}, {"a", "", "-once"}, {"--once", "--no-such-flag", "a", "b"}} {
		p := start(t, nil, args...)
		p.ends(2)
		p.logs("Usage: exporter")
	}
}

// Not even a variable that makes no sense ends it.
func TestBadVariableIsReported(t *testing.T) {
	t.Parallel()
	p := newPod(t, jobEnv("CI_METRICS_EXPORTER_SHUTDOWN_TIMEOUT=soon", "CI_METRICS_EXPORTER_REPORT_MISSING=perhaps",
		"CI_METRICS_EXPORTER_ONCE=true", "CI_METRICS_EXPORTER_TOKEN_FILE=/etc/passwd", "CI_METRICS_EXPORTER_PROXY=http://127.0.0.1:1",
		"LOG_LEVEL=x", "CI_JOB_STATUS=running", "SSL_CERT_FILE=/nowhere", "GODEBUG=x", "GOGC=x", "GOMAXPROCS=no", "SHUTDOWN_TIMEOUT=1ns", "HTTP_PROXY=http://127.0.0.1:1", "http_proxy=http://127.0.0.1:1"))
	p.logs("CI_METRICS_EXPORTER_SHUTDOWN_TIMEOUT")
	p.logs("default=5s")
	p.logs("CI_METRICS_EXPORTER_REPORT_MISSING")
	p.write(`{}`)
	p.sent(build)
	p.term(0)
}

func TestFlagsAnywhere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "metrics.json")
	if err := os.WriteFile(path, []byte(`{}`), 0o644); err != nil {
		t.Fatal(err)
	}
	to := stepstest.New(t)
	for _, args := range [][]string{
		{"--once", path, to.URL},
		{path, "-once", to.URL},
		{path, to.URL, "--shutdown-timeout", "9s", "--once"},
		{"--once", "--", path, to.URL},
	} {
		start(t, jobEnv(), args...).ends(0)
	}
	if got := strings.Fields(to.IDs()); len(got) != 4 {
		t.Errorf("sent %q", got)
	}
}

func TestOnceFails(t *testing.T) {
	t.Parallel()
	start(t, jobEnv(), "--once", filepath.Join(t.TempDir(), "none"), "localhost").ends(1)
}

func TestHelpTeaches(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"--help", "-h"} {
		p := start(t, nil, "a", "b", flag)
		p.ends(0)
		for _, want := range []string{"<file-path>", "<receiver-hostname>", "after_script", "CI_METRICS_NAME", "--once",
			"--proxy", "--report-missing", "--shutdown-timeout", "--tls-ca-file FILE", "--token-file FILE", "--state-file FILE",
			"--delete-after", "<directory>/", "default 5s", "CI_METRICS_EXPORTER_SHUTDOWN_TIMEOUT", "Exit codes"} {
			p.logs(want)
		}
		for line := range strings.Lines(p.log.String()) {
			if len(line) > 90 {
				t.Errorf("a long line: %s", line)
			}
		}
	}
	v := start(t, nil, "--version")
	v.ends(0)
	v.logs("exporter, version ")
}

// On a terminal a person waits for the prompt.
func TestWrongArgumentsOnATerminal(t *testing.T) {
	t.Parallel()
	script, err := exec.LookPath("script") // gives a program a terminal
	if err != nil {
		t.Skip("there is no script(1) to make a terminal")
	}
	cmd := exec.Command(script, "-qec", program+" only-one", "/dev/null")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	p := startCommand(t, os.Environ(), cmd)
	p.ends(2)
	p.logs("Usage: exporter")
}
