// Package prometheus starts a real Prometheus that scrapes a receiver, and queries it. The
// server is bin/prometheus, which make builds.
//
//	p := prometheus.Start(t, prometheus.Config{Target: receiver.Address, Interval: time.Second})
//	p.WaitScraped(t)
//	jobs := p.Value(t, `sum(cijob_runs_total)`)
package prometheus

import (
	"encoding/json"
	"fmt"
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

	"ci-jobs-metrics/internal/logtest"
	"ci-jobs-metrics/test/internal/harness"
)

// A Series is one labelled series of an answer, with Value at a moment or Values over a range.
type Series struct {
	Metric map[string]string
	Value  Sample
	Values []Sample
}

// Ask queries at the moment to, or over the range from from to to if step is above 0. Any
// warning or note is an error.
func (p *Server) Ask(query string, from, to time.Time, step time.Duration) ([]Series, error) {
	at := func(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }
	path, parameters := "/api/v1/query", url.Values{"query": {query}, "time": {at(to)}}
	if step > 0 {
		path, parameters = "/api/v1/query_range", url.Values{"query": {query}, "start": {at(from)}, "end": {at(to)}, "step": {at(time.UnixMilli(step.Milliseconds()))}}
	}
	body, err := harness.Fetch("http://" + p.address + path + "?" + parameters.Encode())
	if err != nil {
		return nil, err
	}
	var answer struct {
		Status, Error   string
		Warnings, Infos []string
		Data            struct{ Result []Series }
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return nil, err
	}
	if answer.Status != "success" || len(answer.Warnings)+len(answer.Infos) > 0 {
		return nil, fmt.Errorf("%s %s %v %v", answer.Status, answer.Error, answer.Warnings, answer.Infos)
	}
	return answer.Data.Result, nil
}

// A Config configures a server with one target.
type Config struct {
	Target   string
	Scrape   string // more lines of its scrape configuration
	Feature  string
	Interval time.Duration
	Rules    string // files, as a pattern
}

// A Server is a Prometheus that scrapes.
type Server struct {
	address string
	log     *logtest.Buffer
	args    []string
	cmd     *exec.Cmd
}

// Start starts a server, which ends with the test.
func Start(t *testing.T, c Config) *Server {
	t.Helper()
	address, err := harness.OwnAddress()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	rules := ""
	if c.Rules != "" {
		pattern, err := filepath.Abs(c.Rules)
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
`, c.Interval, rules, c.Scrape, c.Target)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &Server{address: address, log: &logtest.Buffer{}, args: []string{
		harness.BuiltTool(t, "prometheus"),
		"--config.file=" + filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path=" + filepath.Join(dir, "data"),
		"--web.listen-address=" + address, "--log.level=info"}}
	if c.Feature != "" {
		p.args = append(p.args, "--enable-feature="+c.Feature)
	}
	p.Start(t)
	t.Cleanup(p.stop)
	return p
}

// Start starts the server again after Kill, with the same data.
func (p *Server) Start(t *testing.T) {
	t.Helper()
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// Kill kills the server and waits for its end.
func (p *Server) Kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// Complaints returns the warnings and errors in the log.
func (p *Server) Complaints() (all []string) {
	for line := range strings.Lines(p.log.String()) {
		if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
			all = append(all, line)
		}
	}
	return all
}

func (p *Server) stop() {
	if p.cmd.ProcessState != nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
}

// WaitScraped waits until the server has scraped its target more than once.
func (p *Server) WaitScraped(t *testing.T) {
	t.Helper()
	err := harness.Eventually(func() error {
		values, err := p.Query(`sum_over_time(up[1m]) > 1 and up == 1`)
		if err == nil && len(values) != 1 {
			err = fmt.Errorf("it has not scraped twice")
		}
		return err
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, p.log.String())
	}
}

type apiAnswer struct {
	Status, Error string
	Data          json.RawMessage
}

// Get decodes the data of an answer of the HTTP API.
func (p *Server) Get(path string, parameters url.Values, data any) error {
	body, err := harness.Fetch("http://" + p.address + path + "?" + parameters.Encode())
	if err != nil {
		return err
	}
	var answer apiAnswer
	if err := json.NewDecoder(strings.NewReader(body)).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", path, answer.Error)
	}
	return json.Unmarshal(answer.Data, data)
}

// A Sample is a time and a value.
type Sample [2]any

// Value returns the sample's value.
func (s Sample) Value() (float64, error) { return strconv.ParseFloat(fmt.Sprint(s[1]), 64) }

// Query returns the values of a query, now.
func (p *Server) Query(query string) (values []float64, err error) {
	var data struct {
		Result []struct {
			Value  Sample
			Values []Sample
		}
	}
	if err := p.Get("/api/v1/query", url.Values{"query": {query}}, &data); err != nil {
		return nil, err
	}
	for _, r := range data.Result {
		samples := r.Values
		if samples == nil {
			samples = []Sample{r.Value}
		}
		for _, s := range samples {
			v, err := s.Value()
			if err != nil {
				return nil, err
			}
			values = append(values, v)
		}
	}
	return values, nil
}

// Value returns the value of a query that must have one result.
func (p *Server) Value(t *testing.T, query string) float64 {
	t.Helper()
	values := p.Values(t, query)
	if len(values) != 1 {
		t.Fatalf("%s: %v, want one value", query, values)
	}
	return values[0]
}

// Values does as Query, and fails the test for an error.
func (p *Server) Values(t *testing.T, query string) []float64 {
	t.Helper()
	values, err := p.Query(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return values
}

// Exemplars returns the distinct job ids of the stored exemplars of a query, sorted.
func (p *Server) Exemplars(t *testing.T, query string) (ids []string) {
	t.Helper()
	now := time.Now()
	var series []struct {
		Exemplars []struct{ Labels map[string]string }
	}
	err := p.Get("/api/v1/query_exemplars", url.Values{"query": {query},
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
