// Package docs_test tries what people copy out of README and docs.
package docs_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ci-jobs-metrics/test/internal/harness"
)

var codeBlock = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")

// What people copy out of the documents can be read by what it is for.
func TestDocumentsCode(t *testing.T) {
	t.Parallel()
	documents, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, path := range append(documents, "../../README.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range codeBlock.FindAllStringSubmatch(string(text), -1) {
			language, code := block[1], block[2]
			where := path + ": " + strings.SplitN(code, "\n", 2)[0]
			found[language]++
			switch language {
			case "yaml":
				var document map[string]any
				if err := harness.StrictYAML([]byte(code)).Decode(&document); err != nil {
					t.Errorf("%s: %v", where, err)
				}
			case "toml":
				for _, s := range harness.ParseRunner(t, where, "[[runners]]\n"+code).Runners[0].Kubernetes.Services {
					harness.CheckService(t, where, s)
				}
			case "sh":
				harness.CheckShell(t, where, code)
			case "json":
				if !json.Valid([]byte(code)) {
					t.Errorf("%s is no JSON", where)
				}
			case "promql": // checkQueries asks a Prometheus
			default:
				t.Errorf("%s: nothing reads %s", where, language)
			}
		}
		for _, line := range strings.Split(string(text), "\n") {
			checkReference(t, path, line)
		}
	}
	if found["yaml"] == 0 || found["toml"] == 0 {
		t.Errorf("found %v", found)
	}
	examples, err := filepath.Glob(harness.GitLabDir + "*.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(examples, harness.GitLabDir+"component/template.yml") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(text), "\n") {
			checkReference(t, path, line)
		}
	}
}

// checkReference wants the tag before a reference, which is else a command of that name.
func checkReference(t *testing.T, path, line string) {
	t.Helper()
	if at := strings.Index(line, "[.ci-jobs-metrics"); at >= 0 && !strings.HasSuffix(line[:at], "!reference ") {
		t.Errorf("%s: no !reference in %s", path, line)
	}
}

// The README and exporter --help tell the same two lines.
func TestDocumentsAgreeOnTheAfterScript(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	help, err := exec.Command(harness.Program(t, "exporter"), "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(readme), "```yaml\nafter_script:\n")
	block, _, _ = strings.Cut(block, "```")
	if lines := strings.Count(block, "\n"); lines == 0 || lines > 3 {
		t.Fatalf("the README's after_script is\n%s", block)
	}
	for line := range strings.Lines(block) {
		if !strings.Contains(string(help), strings.TrimSpace(line)) {
			t.Errorf("exporter --help lacks %s", line)
		}
	}
}
