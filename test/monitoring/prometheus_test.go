// Package monitoring_test connects a real Prometheus to a real receiver. It tests the rules,
// alerts and dashboards in deploy/.
package monitoring_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ci-jobs-metrics/test/internal/harness"
	"ci-jobs-metrics/test/internal/harness/prometheus"
)

// A real Prometheus reads a real receiver in each format that it can be brought to ask
// for, and has what the receiver has.
func TestPrometheus(t *testing.T) {
	receiver := harness.NewReceiver(t)
	receiver.Start(t)
	recorded := recordVariety(t, receiver)
	for name, test := range map[string]struct {
		scrape  string // of the configuration
		feature string
		format  string // what it then asks for first
		check   func(*testing.T, *prometheus.Server)
	}{
		"by default": {"", "exemplar-storage", "OpenMetricsText1.0.0", checkExemplars},
		"text":       {"scrape_protocols: [PrometheusText0.0.4]", "", "PrometheusText0.0.4", nil},
		"protobuf": {"scrape_protocols: [PrometheusProto]\n    scrape_native_histograms: true\n    always_scrape_classic_histograms: true",
			"exemplar-storage", "PrometheusProto", checkNative},
		"created timestamps": {"", "created-timestamp-zero-ingestion", "PrometheusProto", checkCreated},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := prometheus.Start(t, prometheus.Config{Target: receiver.Address, Scrape: test.scrape, Feature: test.feature, Interval: 2 * time.Second})
			p.WaitScraped(t)
			err := harness.Eventually(func() error { // what it has of itself may grow in between
				lines, samples := sampleLines(t, receiver), p.Value(t, `scrape_samples_post_metric_relabeling`)
				if float64(lines) > samples || name != "protobuf" && float64(lines) != samples {
					return fmt.Errorf("the receiver has %d lines, Prometheus %v samples", lines, samples)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			for _, query := range []string{`sum(cijob_runs_total)`, `sum({__name__=~"(U__)?ci_.+_total"})`} {
				if got := p.Value(t, query); got != float64(recorded) {
					t.Errorf("%s is %v, recorded are %d", query, got, recorded)
				}
			}
			sum := p.Value(t, `sum(cijob_duration_seconds_sum{template="dotnet_build"} or ignoring(le) histogram_sum(cijob_duration_seconds{template="dotnet_build"}))`)
			if want := 10 * 61.5; sum != want {
				t.Errorf("the durations' sum is %v, want %v", sum, want)
			}
			if n := p.Value(t, `count({__name__=~".+_created"}) or vector(0)`); n != 0 {
				t.Errorf("%v series of created timestamps", n)
			}
			if test.check != nil {
				test.check(t, p)
			}
			for _, line := range p.Complaints() {
				t.Errorf("its log: %s", line)
			}
		})
	}
}

// recordVariety records jobs of hostile names and otherwise, and returns how many.
func recordVariety(t *testing.T, receiver *harness.Receiver) int {
	t.Helper()
	n := 0
	for i, name := range []string{"dotnet_build", "helm restore", "x", "x_duration", "x_duration_total", "naïve", "---", "ci_total", "a_created", "buildApp", "my_histogram"} {
		for j := range 10 {
			form := url.Values{"name": {name}, "project": {fmt.Sprintf("group/\"p\\%d", j%3)}, "status": {"success"},
				"duration": {"61.5"}, "id": {fmt.Sprintf("gitlab.example/%d/%s", i*100+j, name)}}
			response, err := http.PostForm(receiver.URL("/steps"), form)
			if err != nil {
				t.Fatal(err)
			}
			answer, _ := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if response.StatusCode != http.StatusOK {
				t.Fatalf("%s: %s", response.Status, answer)
			}
			n++
		}
	}
	return n
}

// sampleLines is how many samples the receiver's text has.
func sampleLines(t *testing.T, receiver *harness.Receiver) (n int) {
	t.Helper()
	body, err := harness.Fetch(receiver.URL("/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, "#") {
			n++
		}
	}
	return n
}

// checkQueries asks what docs/metrics.md proposes.
func checkQueries(t *testing.T, p *prometheus.Server) {
	t.Helper()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "```promql\n")
	block, _, _ = strings.Cut(block, "\n```")
	queries := strings.Split(strings.ReplaceAll(block, "\n  ", " "), "\n")
	if len(queries) < 5 {
		t.Fatalf("only %d queries were found", len(queries))
	}
	for _, query := range queries {
		// What is behind # is a comment to PromQL too. Nothing moves while this test
		// looks, so that nothing is above 0.
		if values := p.Values(t, query); len(values) == 0 && !strings.Contains(query, "> 0") {
			t.Errorf("no answer to %s", query)
		}
	}
}

func checkExemplars(t *testing.T, p *prometheus.Server) {
	t.Helper()
	ids := p.Exemplars(t, `cijob_duration_seconds_bucket{template="dotnet_build"}`)
	if !slices.Equal(ids, []string{"gitlab.example/9/dotnet_build"}) {
		t.Errorf("exemplars: %v, want that of the last job", ids)
	}
}

func checkNative(t *testing.T, p *prometheus.Server) {
	t.Helper()
	checkQueries(t, p)
	checkExemplars(t, p)
	if n := p.Value(t, `histogram_count(cijob_duration_seconds{template="dotnet_build"})`); n != 10 {
		t.Errorf("the native histogram has %v jobs, want 10", n)
	}
	if q := p.Value(t, `histogram_quantile(0.5, cijob_duration_seconds{template="dotnet_build"})`); q < 61.5/1.045 || q > 61.5*1.045 {
		t.Errorf("its median is %v, want 61.5 within 4.5 %%", q)
	}
	if n := p.Value(t, `cijob_duration_seconds_bucket{template="dotnet_build",le="120.0"}`); n != 10 {
		t.Errorf("the classic bucket has %v jobs, want 10", n)
	}
}

// With created timestamps Prometheus knows that a counter began at 0, so that not even
// its first job is lost to increase().
func checkCreated(t *testing.T, p *prometheus.Server) {
	t.Helper()
	values := p.Values(t, `cijob_runs_total{template="dotnet_build",project="group/\"p\\0"}[1h]`)
	if len(values) < 2 || values[0] != 0 || values[1] != 4 {
		t.Errorf("the counter's samples are %v, want 0 and then 4", values)
	}
}

// promtool has nothing to complain of but names that users chose.
func TestPromtool(t *testing.T) {
	receiver := harness.NewReceiver(t)
	receiver.Start(t)
	recordVariety(t, receiver)
	body, err := harness.Fetch(receiver.URL("/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	check := exec.Command(harness.BuiltTool(t, "promtool"), "check", "metrics")
	check.Stdin = strings.NewReader(body)
	said, _ := check.CombinedOutput() // it fails if it says anything
	complaints := map[string]string{}
	for line := range strings.Lines(string(said)) {
		metric, complaint, _ := strings.Cut(strings.TrimSpace(line), " ")
		complaints[metric] += complaint
	}
	want := map[string]string{
		"ci_buildApp_total":        "metric names should be written in 'snake_case' not 'camelCase'",
		"ci_buildApp_duration":     "metric names should be written in 'snake_case' not 'camelCase'",
		"ci_my_histogram_duration": `metric name should not include type 'histogram'`,
	}
	if diff := cmp.Diff(want, complaints); diff != "" {
		t.Errorf("(-explained in docs/metrics.md +said):\n%s", diff)
	}
}

// curl and a browser read what is compressed as one member.
func TestCompressedInBrowser(t *testing.T) {
	harness.NeedProgram(t, "curl")
	harness.NeedProgram(t, "chromium")
	receiver := harness.NewReceiver(t)
	receiver.Start(t)
	for range 3 {
		recordVariety(t, receiver)
	}
	plain, err := exec.Command("curl", "-sS", receiver.URL("/metrics/jobs")).Output()
	if err != nil {
		t.Fatal(err)
	}
	zipped, err := exec.Command("curl", "-sS", "--compressed", receiver.URL("/metrics/jobs")).Output()
	if err != nil || !bytes.Equal(plain, zipped) || len(plain) < 1000 {
		t.Errorf("curl --compressed: %d bytes, %v; without %d", len(zipped), err, len(plain))
	}
	shown, err := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(),
		"--dump-dom", receiver.URL("/metrics/jobs")).Output()
	if err != nil {
		t.Fatal(err)
	}
	last := strings.TrimSpace(string(plain[bytes.LastIndexByte(bytes.TrimSpace(plain), '\n'):]))
	if !strings.Contains(string(shown), last) {
		t.Errorf("Chromium does not show the last line, %q:\n%.2000s", last, shown)
	}
}
