package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ci-jobs-metrics/internal/grafanatest"
)

// How long a real Prometheus looks on; rules are evaluated every two minutes.
const lookingOn = 130 * time.Second

// A real Prometheus, with our rules, scrapes a real receiver for some minutes. Both are killed
// meanwhile, and started again. Then the dashboards and rules have each job once.
func TestCountsInPrometheus(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start(t)
	p := startPrometheus(t, promConfig{
		target: s.address, every: time.Second, rules: "../deploy/prometheus/rules/*.yml",
		scrape: "scrape_native_histograms: true\n    always_scrape_classic_histograms: true",
	})
	o := &office{service: s, counts: map[[3]string]int{}}
	o.run(t, time.Second)
	before := maps.Clone(o.counts)
	from := p.settled(t, o)

	var wait sync.WaitGroup
	wait.Add(1)
	go func() {
		defer wait.Done()
		o.run(t, lookingOn)
	}()
	kills, end := 0, time.Now().Add(lookingOn-5*time.Second)
	for time.Now().Before(end) {
		time.Sleep(4 * time.Second)
		s.kill()
		time.Sleep(time.Duration(kills%4) * time.Second) // so some scrapes find nobody
		s.start(t)
		if kills++; kills == 8 {
			p.kill()
			time.Sleep(3 * time.Second)
			p.start(t)
		}
	}
	wait.Wait()
	to := p.settled(t, o)
	during := map[[3]string]int{}
	for key, n := range o.counts {
		during[key] = n - before[key]
	}

	if !p.compareDashboards(t, from, to, during) {
		t.Logf("the receiver:\n%s", s.excerpt())
	}
	p.compareRules(t, o.counts)
	for _, line := range p.complaints() {
		if !strings.Contains(line, "A lockfile from a previous execution already existed") { // it was killed
			t.Errorf("Prometheus' log: %s", line)
		}
	}
	t.Logf("%d kills, %d jobs in %v, %d requests sent again", kills+1, total(during), to.Sub(from), o.again)
}

// An office sends jobs, again and again until they are acknowledged.
type office struct {
	service *service
	sent    int
	again   int
	counts  map[[3]string]int // acknowledged, by template, project and status
}

func (o *office) run(t *testing.T, length time.Duration) {
	templates := []string{"dotnet build", "helm restore", `na"me\ with`, "größe"}
	statuses := []string{"success", "success", "success", "failed", "timedout", "canceled"}
	client := &http.Client{Timeout: 2 * time.Second}
	for end := time.Now().Add(length); time.Now().Before(end); time.Sleep(3 * time.Millisecond) {
		o.sent++
		key := [3]string{templates[o.sent%4], fmt.Sprintf("group/p%d", o.sent%7), statuses[o.sent%6]}
		if o.sent%5 == 0 { // new ones appear all the time
			key[1] = fmt.Sprintf("group/new%d", o.sent/500)
		}
		form := url.Values{"name": {key[0]}, "project": {key[1]}, "status": {key[2]},
			"duration": {strconv.Itoa(o.sent % 1500)}, "id": {strconv.Itoa(o.sent)}}
		for {
			response, err := client.PostForm(o.service.url("/steps"), form)
			if err == nil {
				_ = response.Body.Close()
				if response.StatusCode == http.StatusOK {
					break
				}
			}
			o.again++
			time.Sleep(50 * time.Millisecond)
			if t.Context().Err() != nil {
				return
			}
		}
		o.counts[key]++
	}
}

func total(counts map[[3]string]int) (n int) {
	for _, v := range counts {
		n += v
	}
	return n
}

// settled waits until Prometheus has all jobs, and returns a whole second from then on.
func (p *prometheus) settled(t *testing.T, o *office) time.Time {
	t.Helper()
	err := eventually(func() error {
		values, err := p.query(`sum(cijob_runs_total)`)
		if want := float64(total(o.counts)); err == nil && (len(values) != 1 || values[0] != want) {
			err = fmt.Errorf("Prometheus has %v jobs, acknowledged were %v", values, want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond)
	return time.Now().Truncate(time.Second)
}

// A promSeries is a labelled value of an answer, or several.
type promSeries struct {
	Metric map[string]string
	Value  promSample
	Values []promSample
}

// ask queries at a moment, or over a range if step is given. Any warning or note is an error.
func (p *prometheus) ask(query string, from, to time.Time, step time.Duration) ([]promSeries, error) {
	at := func(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }
	path, parameters := "/api/v1/query", url.Values{"query": {query}, "time": {at(to)}}
	if step > 0 {
		path, parameters = "/api/v1/query_range", url.Values{"query": {query}, "start": {at(from)}, "end": {at(to)}, "step": {at(time.UnixMilli(step.Milliseconds()))}}
	}
	body, err := fetch("http://" + p.address + path + "?" + parameters.Encode())
	if err != nil {
		return nil, err
	}
	var answer struct {
		Status, Error   string
		Warnings, Infos []string
		Data            struct{ Result []promSeries }
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return nil, err
	}
	if answer.Status != "success" || len(answer.Warnings)+len(answer.Infos) > 0 {
		return nil, fmt.Errorf("%s %s %v %v", answer.Status, answer.Error, answer.Warnings, answer.Infos)
	}
	return answer.Data.Result, nil
}

// compareDashboards asks every query of every panel, and compares the counts.
func (p *prometheus) compareDashboards(t *testing.T, from, to time.Time, during map[[3]string]int) bool {
	t.Helper()
	sum := func(keep func(key [3]string) bool) (n float64) {
		for key, v := range during {
			if keep(key) {
				n += float64(v)
			}
		}
		return n
	}
	failed := func(key [3]string) bool { return key[2] == "failed" || key[2] == "timedout" }
	passed := func(key [3]string) bool { return key[2] == "success" }
	all := func([3]string) bool { return true }
	projects := map[string]bool{}
	for key, n := range during {
		projects[key[1]] = projects[key[1]] || n > 0
	}
	want := map[string]float64{
		"Jobs": sum(all), "Passed": sum(passed), "Failed": sum(failed), "Templates in use": 4, "Projects": float64(len(projects)),
		"Success rate": sum(passed) / (sum(passed) + sum(failed)), "Jobs by how they ended": sum(all), "Jobs by template": sum(all),
	}
	asked, compared := 0, 0
	for _, d := range grafanatest.Load(t, grafanaDir+"dashboards") {
		for panel := range d.Every {
			for _, target := range panel.Targets {
				const bars = 5
				step := time.Duration(0)
				if !target.Instant {
					step = to.Sub(from) / bars
				}
				query, err := d.Interpolate(target.Expr, grafanatest.Values{"template": nil}, to.Sub(from), max(step, time.Second))
				if err != nil {
					t.Fatal(err)
				}
				first := from.Add(step) // a bar ends where it is drawn
				got, err := p.ask(query, first, to, step)
				if err != nil {
					t.Errorf("%s, %s: %v", d.UID, panel.Title, err)
					continue
				}
				asked++
				n, ok := want[panel.Title]
				if !ok || d.UID != "cijob-overview" || target.RefID != "A" {
					continue
				}
				compared++
				var v float64
				for _, series := range got {
					values := series.Values
					if step == 0 {
						values = []promSample{series.Value}
					}
					for _, sample := range values {
						x, err := sample.value()
						if err != nil {
							t.Fatal(err)
						}
						v += x
					}
				}
				if math.Abs(v-n) > 1e-9 {
					t.Errorf("%s is %v, want %v", panel.Title, v, n)
				}
			}
		}
	}
	if asked < 50 || compared != len(want) {
		t.Errorf("%d queries, %d of %d compared", asked, compared, len(want))
	}
	t.Logf("%d queries of dashboards asked", asked)
	return !t.Failed()
}

// compareRules waits for an evaluation after the last job.
func (p *prometheus) compareRules(t *testing.T, counts map[[3]string]int) {
	t.Helper()
	deadline := time.Now().Add(150 * time.Second)
	for _, rule := range []string{"job_template_status:cijob_runs_total:sum", "job_template_status:cijob_runs:increase1d"} {
		for {
			values, err := p.query("sum(" + rule + ")")
			if err == nil && len(values) == 1 && values[0] == float64(total(counts)) {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("%s is %v, want %d: %v", rule, values, total(counts), err)
				break
			}
			time.Sleep(time.Second)
		}
	}
	var rules struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError, State string }
		}
	}
	if err := p.get("/api/v1/rules", nil, &rules); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			n++
			if r.LastError != "" || r.Health == "err" || r.State == "firing" {
				t.Errorf("rule %s: %s %s %s", r.Name, r.Health, r.State, r.LastError)
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d rules are loaded", n)
	}
}
