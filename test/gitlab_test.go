package test

import (
	"os"
	"testing"

	"go.yaml.in/yaml/v2"
)

const gitlabDir = "../deploy/gitlab/"

// readYAML reads a file of one YAML document. A key that is there twice is an error.
func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// What is included is the text that has the tests, and changes nothing by itself.
func TestIncludeHoldsTheAfterScript(t *testing.T) {
	t.Parallel()
	var include map[string]struct {
		AfterScript []string `yaml:"after_script"`
	}
	readYAML(t, gitlabDir+"metrics.gitlab-ci.yml", &include)
	script := include[".ci-jobs-metrics"].AfterScript
	if len(include) != 1 || len(script) != 1 || script[0] != afterScript(t) {
		t.Errorf("metrics.gitlab-ci.yml is not .ci-jobs-metrics with the text of after_script.sh alone: %q", include)
	}
}
