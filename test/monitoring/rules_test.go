package monitoring_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ci-jobs-metrics/test/internal/harness"
)

const prometheusDir = "../../deploy/prometheus/"

// A rule of a rule file, either kind.
type rule struct {
	Record, Alert, Expr string
	For                 string
	Labels, Annotations map[string]string
}

// A ruleTests is a file of promtool test rules.
type ruleTests struct {
	RuleFiles          []string `yaml:"rule_files"`
	EvaluationInterval string   `yaml:"evaluation_interval"`
	GroupEvalOrder     []string `yaml:"group_eval_order"`
	Tests              []struct {
		Name           string
		StartTimestamp string                            `yaml:"start_timestamp"`
		Interval       string                            `yaml:"interval"`
		InputSeries    []struct{ Series, Values string } `yaml:"input_series"`
		AlertRuleTest  []struct {
			Alertname string
			EvalTime  string `yaml:"eval_time"`
			ExpAlerts []struct {
				Labels      map[string]string `yaml:"exp_labels"`
				Annotations map[string]string `yaml:"exp_annotations"`
			} `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
		PromqlExprTest []struct {
			Expr       string
			EvalTime   string                                      `yaml:"eval_time"`
			ExpSamples []struct{ Labels, Value, Histogram string } `yaml:"exp_samples"`
		} `yaml:"promql_expr_test"`
	}
}

// shipped are the files of a directory of deploy/prometheus.
func shipped(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(prometheusDir + dir + "/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s: %v", dir, err)
	}
	return files
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := harness.StrictYAML(text).Decode(into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	for _, path := range shipped(t, "rules") {
		var file struct {
			Groups []struct {
				Name, Interval string
				Rules          []rule
			}
		}
		readYAML(t, path, &file)
		for _, g := range file.Groups {
			all = append(all, g.Rules...)
		}
	}
	if len(all) < 50 {
		t.Fatalf("only %d rules were found", len(all))
	}
	return all
}

// promtool accepts what is shipped for Prometheus, and its tests of the rules pass. (It
// knows Kubernetes' service discovery, other than a prometheus that is built without.)
func TestRules(t *testing.T) {
	t.Parallel()
	promtool := harness.BuiltTool(t, "promtool")
	run := func(t *testing.T, args ...string) {
		t.Parallel()
		if said, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, said)
		}
	}
	t.Run("check", func(t *testing.T) {
		run(t, append([]string{"check", "rules", "--lint=all", "--lint-fatal"}, shipped(t, "rules")...)...)
	})
	for _, path := range shipped(t, "scrape") {
		t.Run(filepath.Base(path), func(t *testing.T) { run(t, "check", "config", "--lint=all", "--lint-fatal", path) })
	}
	for _, path := range shipped(t, "tests") {
		t.Run(filepath.Base(path), func(t *testing.T) { run(t, "test", "rules", path) })
	}
}

// Every recording rule is compared with values, every alert fires in one test and does not
// in another.
func TestRulesAreTested(t *testing.T) {
	t.Parallel()
	firing, silent, values := map[string]int{}, map[string]int{}, map[string]int{}
	name := regexp.MustCompile(`[a-z_]+:[a-z0-9_:]+`)
	for _, path := range shipped(t, "tests") {
		var file ruleTests
		readYAML(t, path, &file)
		for _, test := range file.Tests {
			for _, a := range test.AlertRuleTest {
				if len(a.ExpAlerts) == 0 {
					silent[a.Alertname]++
				} else {
					firing[a.Alertname]++
				}
			}
			for _, p := range test.PromqlExprTest {
				for _, n := range name.FindAllString(p.Expr, -1) {
					values[n] += len(p.ExpSamples)
				}
			}
		}
	}
	for _, r := range rules(t) {
		switch {
		case r.Record != "" && values[r.Record] == 0:
			t.Errorf("no test has a value of %s", r.Record)
		case r.Alert != "" && firing[r.Alert] == 0:
			t.Errorf("%s fires in no test", r.Alert)
		case r.Alert != "" && silent[r.Alert] == 0:
			t.Errorf("no test has %s silent", r.Alert)
		}
	}
}

// The rules read what docs/metrics.md has, which is compared with what a receiver exposes,
// and it has what they record.
func TestRulesReadWhatThereIs(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var recorded []string
	raw := regexp.MustCompile(`(?:^|[^a-z_:])(cijob_[a-z_]+)`)
	for _, r := range rules(t) {
		if r.Record != "" {
			recorded = append(recorded, r.Record)
		}
		for _, m := range raw.FindAllStringSubmatch(r.Expr, -1) {
			metric := m[1]
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				metric = strings.TrimSuffix(metric, suffix)
			}
			if !strings.Contains(string(text), "| `"+metric+"` |") {
				t.Errorf("%s%s reads %s, which docs/metrics.md does not have", r.Record, r.Alert, m[1])
			}
		}
		for _, n := range regexp.MustCompile(`[a-z_]+:cijob_[a-z0-9_:]+`).FindAllString(r.Expr, -1) {
			if r.Record != "" && !slices.Contains(recorded, n) {
				t.Errorf("%s reads %s, which is not recorded above it", r.Record, n)
			} else if !slices.Contains(recorded, n) && r.Alert == "" {
				t.Errorf("nothing records %s", n)
			}
		}
	}
	_, section, _ := strings.Cut(string(text), "\n### Recorded\n")
	section, _, _ = strings.Cut(section, "\n#")
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(section, -1) {
		documented = append(documented, strings.ReplaceAll(m[1], "7d", "1d"))
	}
	for i := range recorded {
		recorded[i] = strings.ReplaceAll(recorded[i], "7d", "1d")
	}
	slices.Sort(recorded)
	slices.Sort(documented)
	if diff := cmp.Diff(slices.Compact(recorded), slices.Compact(documented)); diff != "" {
		t.Errorf("docs/metrics.md (-rules +documented):\n%s", diff)
	}
}

// docs/alerts.md has a line and a section for every alert, and none for others; every alert
// says what somebody who is woken by it needs.
func TestAlertsAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	var lines, sections, wantLines, wantSections []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if title, ok := strings.CutPrefix(line, "## "); ok {
			sections = append(sections, title)
		}
		if strings.HasPrefix(line, "| [CIJob") {
			lines = append(lines, strings.Join(strings.Split(line, "|")[1:4], "|"))
		}
	}
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		anchor := strings.ToLower(r.Alert)
		wantSections = append(wantSections, r.Alert)
		wantLines = append(wantLines, " ["+r.Alert+"](#"+anchor+") | "+r.Labels["severity"]+" | "+r.For+" ")
		if want := "docs/alerts.md#" + anchor; r.Annotations["runbook"] != want {
			t.Errorf("%s: its runbook is %q, want %q", r.Alert, r.Annotations["runbook"], want)
		}
		if s := r.Labels["severity"]; s != "critical" && s != "warning" || len(r.Labels) != 1 {
			t.Errorf("%s has the labels %v", r.Alert, r.Labels)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s: annotations %v", r.Alert, r.Annotations)
		}
	}
	if diff := cmp.Diff(wantSections, sections); diff != "" {
		t.Errorf("sections of docs/alerts.md (-alerts +sections):\n%s", diff)
	}
	if diff := cmp.Diff(wantLines, lines); diff != "" {
		t.Errorf("table of docs/alerts.md (-alerts +lines):\n%s", diff)
	}
}
