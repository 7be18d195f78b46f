package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ci-jobs-metrics/test/internal/harness"
)

// What docs/api.md asks is answered, and what it says of an error is said.
func TestAPIDocument(t *testing.T) {
	t.Parallel()
	harness.NeedProgram(t, "curl")
	receiver := harness.NewReceiver(t)
	receiver.Start(t)
	for _, job := range []string{"status=success&duration=60&version=1.0", "status=timedout"} {
		if _, err := harness.Fetch(receiver.URL("/steps?name=dotnet_build&project=shop/web&" + job)); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	dir, commands := t.TempDir(), 0
	run := func(line string) string {
		t.Helper()
		commands++
		command := strings.Replace(strings.ReplaceAll(line, "http://localhost:8080", receiver.URL("")), "curl ", "curl -sS -w '%{stderr}%{http_code}' ", 1)
		shell := exec.Command("sh", "-ec", command)
		shell.Dir = dir
		var status strings.Builder
		shell.Stderr = &status
		out, err := shell.Output()
		want := "200"
		switch {
		case strings.Contains(line, "etag-compare"):
			want = "304"
		case strings.Contains(line, "templat="):
			want = "400"
		}
		if err != nil || status.String() != want {
			t.Errorf("%s: %v, %s, want %s: %s", line, err, status.String(), want, out)
		}
		return string(out)
	}
	for _, block := range codeBlock.FindAllStringSubmatch(string(text), -1) {
		switch language, code := block[1], block[2]; language {
		case "sh":
			for line := range strings.Lines(code) {
				run(line)
			}
		case "json":
			_, before, _ := strings.Cut(string(text), "For example,\n`")
			line, _, _ := strings.Cut(before, "`")
			if got := run(line); got != code {
				t.Errorf("%s says\n%s", line, got)
			}
		}
	}
	if saved, err := filepath.Glob(filepath.Join(dir, "ci-jobs_templates_*.csv")); err != nil || len(saved) != 1 {
		t.Errorf("saved are %v, %v", saved, err)
	}
	if commands < 10 {
		t.Errorf("only %d commands were found", commands)
	}
}
