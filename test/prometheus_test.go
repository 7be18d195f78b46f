package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ci-jobs-metrics/internal/logtest"
)

// A real Prometheus reads a real receiver in each format that it can be brought to ask
// for, and has what the receiver has.
func TestPrometheus(t *testing.T) {
	s := newService(t)
	s.start(t)
	recorded := recordVariety(t, s)
	for name, test := range map[string]struct {
		scrape  string // of the configuration
		feature string
		format  string // what it then asks for first
		check   func(*testing.T, *prometheus)
	}{
		"by default": {"", "exemplar-storage", "OpenMetricsText1.0.0", checkExemplars},
		"text":       {"scrape_protocols: [PrometheusText0.0.4]", "", "PrometheusText0.0.4", nil},
		"protobuf": {"scrape_protocols: [PrometheusProto]\n    scrape_native_histograms: true\n    always_scrape_classic_histograms: true",
			"exemplar-storage", "PrometheusProto", checkNative},
		"created timestamps": {"", "created-timestamp-zero-ingestion", "PrometheusProto", checkCreated},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startPrometheus(t, promConfig{target: s.address, scrape: test.scrape, feature: test.feature, every: 2 * time.Second})
			p.scraped(t)
			err := eventually(func() error { // what it has of itself may grow in between
				lines, samples := s.lines(t), p.value(t, `scrape_samples_post_metric_relabeling`)
				if float64(lines) > samples || name != "protobuf" && float64(lines) != samples {
					return fmt.Errorf("the receiver has %d lines, Prometheus %v samples", lines, samples)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			for _, query := range []string{`sum(cijob_runs_total)`, `sum({__name__=~"(U__)?ci_.+_total"})`} {
				if got := p.value(t, query); got != float64(recorded) {
					t.Errorf("%s is %v, recorded are %d", query, got, recorded)
				}
			}
			sum := p.value(t, `sum(cijob_duration_seconds_sum{template="dotnet_build"} or ignoring(le) histogram_sum(cijob_duration_seconds{template="dotnet_build"}))`)
			if want := 10 * 61.5; sum != want {
				t.Errorf("the durations' sum is %v, want %v", sum, want)
			}
			if n := p.value(t, `count({__name__=~".+_created"}) or vector(0)`); n != 0 {
				t.Errorf("%v series of created timestamps", n)
			}
			if test.check != nil {
				test.check(t, p)
			}
			for _, line := range p.complaints() {
				t.Errorf("its log: %s", line)
			}
		})
	}
}

// recordVariety records jobs of hostile names and otherwise, and returns how many.
func recordVariety(t *testing.T, s *service) int {
	t.Helper()
	n := 0
	for i, name := range []string{"dotnet_build", "helm restore", "x", "x_duration", "x_duration_total", "naïve", "---", "ci_total", "a_created", "buildApp", "my_histogram"} {
		for j := range 10 {
			form := url.Values{"name": {name}, "project": {fmt.Sprintf("group/\"p\\%d", j%3)}, "status": {"success"},
				"duration": {"61.5"}, "id": {fmt.Sprintf("gitlab.example/%d/%s", i*100+j, name)}}
			response, err := http.PostForm(s.url("/steps"), form)
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

// lines is how many samples the receiver's text has.
func (s *service) lines(t *testing.T) (n int) {
	t.Helper()
	body, err := fetch(s.url("/metrics"))
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
func checkQueries(t *testing.T, p *prometheus) {
	t.Helper()
	text, err := os.ReadFile("../docs/metrics.md")
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
		if values := p.series(t, query); len(values) == 0 && !strings.Contains(query, "> 0") {
			t.Errorf("no answer to %s", query)
		}
	}
}

func checkExemplars(t *testing.T, p *prometheus) {
	t.Helper()
	ids := p.exemplars(t, `cijob_duration_seconds_bucket{template="dotnet_build"}`)
	if !slices.Equal(ids, []string{"gitlab.example/9/dotnet_build"}) {
		t.Errorf("exemplars: %v, want that of the last job", ids)
	}
}

func checkNative(t *testing.T, p *prometheus) {
	t.Helper()
	checkQueries(t, p)
	checkExemplars(t, p)
	if n := p.value(t, `histogram_count(cijob_duration_seconds{template="dotnet_build"})`); n != 10 {
		t.Errorf("the native histogram has %v jobs, want 10", n)
	}
	if q := p.value(t, `histogram_quantile(0.5, cijob_duration_seconds{template="dotnet_build"})`); q < 61.5/1.045 || q > 61.5*1.045 {
		t.Errorf("its median is %v, want 61.5 within 4.5 %%", q)
	}
	if n := p.value(t, `cijob_duration_seconds_bucket{template="dotnet_build",le="120.0"}`); n != 10 {
		t.Errorf("the classic bucket has %v jobs, want 10", n)
	}
}

// With created timestamps Prometheus knows that a counter began at 0, so that not even
// its first job is lost to increase().
func checkCreated(t *testing.T, p *prometheus) {
	t.Helper()
	values := p.series(t, `cijob_runs_total{template="dotnet_build",project="group/\"p\\0"}[1h]`)
	if len(values) < 2 || values[0] != 0 || values[1] != 4 {
		t.Errorf("the counter's samples are %v, want 0 and then 4", values)
	}
}

// A promConfig says what a server scrapes, and how.
type promConfig struct {
	target  string
	scrape  string // more of its configuration
	feature string
	every   time.Duration
	rules   string // files, as a pattern
}

// A prometheus is a server that scrapes.
type prometheus struct {
	address string
	log     *logtest.Buffer
	args    []string
	cmd     *exec.Cmd
}

func startPrometheus(t *testing.T, c promConfig) *prometheus {
	t.Helper()
	address, err := ownAddress()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	rules := ""
	if c.rules != "" {
		pattern, err := filepath.Abs(c.rules)
		if err != nil {
			t.Fatal(err)
		}
		rules = fmt.Sprintf("rule_files: [%q]", pattern)
	}
	config := fmt.Sprintf(`global:
  scrape_interval: %[1]v
  scrape_timeout: %[1]v
%[2]s
scrape_configs:
  - job_name: ci-jobs-metrics
    %[3]s
    static_configs:
      - targets: [%[4]q]
`, c.every, rules, c.scrape, c.target)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &prometheus{address: address, log: &logtest.Buffer{}, args: []string{
		tool(t, "prometheus"),
		"--config.file=" + filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path=" + filepath.Join(dir, "data"),
		"--web.listen-address=" + address, "--log.level=info"}}
	if c.feature != "" {
		p.args = append(p.args, "--enable-feature="+c.feature)
	}
	p.start(t)
	t.Cleanup(p.stop)
	return p
}

// start starts it, again if it was killed, over the same data.
func (p *prometheus) start(t *testing.T) {
	t.Helper()
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

func (p *prometheus) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// tool is a program that make builds into bin.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "bin", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		missing(t, "bin/"+name+" is missing; make "+name+" builds it")
	}
	return path
}

// complaints are the warnings and errors in its log.
func (p *prometheus) complaints() (all []string) {
	for line := range strings.Lines(p.log.String()) {
		if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
			all = append(all, line)
		}
	}
	return all
}

func (p *prometheus) stop() {
	if p.cmd.ProcessState != nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
}

// scraped waits until it has scraped its target more than once.
func (p *prometheus) scraped(t *testing.T) {
	t.Helper()
	err := eventually(func() error {
		values, err := p.query(`sum_over_time(up[1m]) > 1 and up == 1`)
		if err == nil && len(values) != 1 {
			err = fmt.Errorf("it has not scraped twice")
		}
		return err
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, p.log.String())
	}
}

type promAnswer struct {
	Status, Error string
	Data          json.RawMessage
}

func (p *prometheus) get(path string, parameters url.Values, data any) error {
	body, err := fetch("http://" + p.address + path + "?" + parameters.Encode())
	if err != nil {
		return err
	}
	var answer promAnswer
	if err := json.NewDecoder(strings.NewReader(body)).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", path, answer.Error)
	}
	return json.Unmarshal(answer.Data, data)
}

type promSample [2]any // time and value

func (s promSample) value() (float64, error) { return strconv.ParseFloat(fmt.Sprint(s[1]), 64) }

func (p *prometheus) query(query string) (values []float64, err error) {
	var data struct {
		Result []struct {
			Value  promSample
			Values []promSample
		}
	}
	if err := p.get("/api/v1/query", url.Values{"query": {query}}, &data); err != nil {
		return nil, err
	}
	for _, r := range data.Result {
		samples := r.Values
		if samples == nil {
			samples = []promSample{r.Value}
		}
		for _, s := range samples {
			v, err := s.value()
			if err != nil {
				return nil, err
			}
			values = append(values, v)
		}
	}
	return values, nil
}

// value is that of a query with one result.
func (p *prometheus) value(t *testing.T, query string) float64 {
	t.Helper()
	values := p.series(t, query)
	if len(values) != 1 {
		t.Fatalf("%s: %v, want one value", query, values)
	}
	return values[0]
}

func (p *prometheus) series(t *testing.T, query string) []float64 {
	t.Helper()
	values, err := p.query(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return values
}

// exemplars are the distinct ids of those that are stored.
func (p *prometheus) exemplars(t *testing.T, query string) (ids []string) {
	t.Helper()
	now := time.Now()
	var series []struct {
		Exemplars []struct{ Labels map[string]string }
	}
	err := p.get("/api/v1/query_exemplars", url.Values{"query": {query},
		"start": {now.Add(-time.Hour).Format(time.RFC3339)}, "end": {now.Add(time.Hour).Format(time.RFC3339)}}, &series)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range series {
		for _, e := range s.Exemplars {
			ids = append(ids, e.Labels["id"])
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// promtool has nothing to complain of but names that users chose.
func TestPromtool(t *testing.T) {
	s := newService(t)
	s.start(t)
	recordVariety(t, s)
	body, err := fetch(s.url("/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	check := exec.Command(tool(t, "promtool"), "check", "metrics")
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
	need(t, "curl")
	need(t, "chromium")
	s := newService(t)
	s.start(t)
	for range 3 {
		recordVariety(t, s)
	}
	plain, err := exec.Command("curl", "-sS", s.url("/metrics/jobs")).Output()
	if err != nil {
		t.Fatal(err)
	}
	zipped, err := exec.Command("curl", "-sS", "--compressed", s.url("/metrics/jobs")).Output()
	if err != nil || !bytes.Equal(plain, zipped) || len(plain) < 1000 {
		t.Errorf("curl --compressed: %d bytes, %v; without %d", len(zipped), err, len(plain))
	}
	shown, err := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(),
		"--dump-dom", s.url("/metrics/jobs")).Output()
	if err != nil {
		t.Fatal(err)
	}
	last := strings.TrimSpace(string(plain[bytes.LastIndexByte(bytes.TrimSpace(plain), '\n'):]))
	if !strings.Contains(string(shown), last) {
		t.Errorf("Chromium does not show the last line, %q:\n%.2000s", last, shown)
	}
}
