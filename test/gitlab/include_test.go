package gitlab_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ci-jobs-metrics/test/internal/harness"
)

// A ciFile is a file of GitLab's, as far as it is looked at.
type ciFile map[string]any

// readCI reads the last YAML document of a file, which is the jobs behind a spec. A key
// that is there twice is an error.
func readCI(t *testing.T, path string) ciFile {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var last ciFile
	for decoder := harness.StrictYAML(text); ; {
		var document ciFile
		if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
			return last
		} else if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		last = document
	}
}

// lines are the lines of an after_script, with what it refers to in its place.
func (f ciFile) lines(t *testing.T, job string, includes ciFile) []string {
	t.Helper()
	content, _ := f[job].(map[any]any)
	list, _ := content["after_script"].([]any)
	var lines []string
	for _, line := range list {
		switch line := line.(type) {
		case string:
			lines = append(lines, line)
		case []any: // !reference [job, keyword]
			if len(line) != 2 || line[1] != "after_script" {
				t.Fatalf("%s refers to %v", job, line)
			}
			lines = append(lines, includes.lines(t, fmt.Sprint(line[0]), nil)...)
		default:
			t.Fatalf("%s: %v is no line", job, line)
		}
	}
	if len(lines) == 0 {
		t.Errorf("%s has no after_script", job)
	}
	return lines
}

// What is included is the text that has the tests, and changes nothing by itself.
func TestIncludeHoldsTheAfterScript(t *testing.T) {
	t.Parallel()
	include := readCI(t, harness.GitLabDir+"metrics.gitlab-ci.yml")
	script := include.lines(t, ".ci-jobs-metrics", nil)
	if len(include) != 1 || len(script) != 1 || script[0] != afterScript(t) {
		t.Errorf("metrics.gitlab-ci.yml is not .ci-jobs-metrics with the text of after_script.sh alone: %q", include)
	}
	if strings.Contains(afterScript(t), "$[[") {
		t.Error("GitLab would take a part of the text for an input")
	}
}

// Every example takes over what exists, and is a script for every shell.
func TestIncludeExamples(t *testing.T) {
	t.Parallel()
	include := readCI(t, harness.GitLabDir+"metrics.gitlab-ci.yml")
	for file, job := range map[string]string{
		"default.gitlab-ci.yml":  "default",
		"template.gitlab-ci.yml": ".dotnet_build",
		"component/template.yml": "$[[ component.name ]]",
		"shell.gitlab-ci.yml":    "default",
	} {
		example := readCI(t, harness.GitLabDir+file)
		lines := example.lines(t, job, include)
		if !slices.Contains(lines, afterScript(t)) {
			t.Errorf("%s does not report the job: %q", file, lines)
		}
		harness.CheckShell(t, file, strings.Join(lines, "\n"))
		includes, _ := example["include"].([]any)
		if len(includes) != 1 || includes[0].(map[any]any)["file"] != "/deploy/gitlab/metrics.gitlab-ci.yml" {
			t.Errorf("%s includes %v", file, includes)
		}
	}
	powershell := readCI(t, harness.GitLabDir+"metrics-powershell.gitlab-ci.yml")
	powershell.lines(t, ".ci-jobs-metrics-powershell", nil)
}

// The shell executor's example, from the job's end to the metrics, and without a receiver.
func TestShellExample(t *testing.T) {
	t.Parallel()
	receiver := harness.NewReceiver(t)
	receiver.Start(t)
	lines := readCI(t, harness.GitLabDir+"shell.gitlab-ci.yml").lines(t, "default", readCI(t, harness.GitLabDir+"metrics.gitlab-ci.yml"))
	bin := t.TempDir()
	if err := os.Symlink(harness.Program(t, "exporter"), filepath.Join(bin, "ci-jobs-metrics-exporter")); err != nil {
		t.Fatal(err)
	}
	id := 0
	for name, command := range harness.Shells {
		harness.NeedProgram(t, command[0])
		for _, target := range []string{receiver.Address, "127.0.0.1:1"} {
			id++
			j := &jobShell{t: t, command: command, builds: t.TempDir(), before: "set -e", path: bin + ":" + os.Getenv("PATH")}
			j.text = strings.ReplaceAll(strings.Join(lines, "\n"), "receiver.example", target)
			said := j.run("CI_JOB_NAME=deploy", "CI_PROJECT_PATH=shop/"+name, "CI_JOB_STATUS=canceled", fmt.Sprint("CI_JOB_ID=", id),
				"CI_SERVER_URL=https://gitlab.example", "CI_JOB_STARTED_AT="+time.Now().UTC().Format(time.RFC3339))
			if target == receiver.Address && !strings.Contains(said, fmt.Sprintf("id=gitlab.example/%d/deploy", id)) {
				t.Errorf("%s: the exporter says %s", name, said)
			}
			if left, _ := filepath.Glob(filepath.Join(j.builds, ".metrics", "*")); len(left) > 0 {
				t.Errorf("%s: left are %q", name, left)
			}
		}
		page, err := harness.Fetch(receiver.URL("/metrics"))
		want := fmt.Sprintf(`cijob_runs_total{template="deploy",project="shop/%s",status="canceled"} 1`, name)
		if err != nil || !strings.Contains(page, want) {
			t.Errorf("no %s: %v\n%s", want, err, receiver.LogExcerpt())
		}
	}
}
