package monitoring_test

import (
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
	"ci-jobs-metrics/test/internal/harness"
	"ci-jobs-metrics/test/internal/harness/prometheus"
)

// How long a real Prometheus looks on; rules are evaluated every two minutes.
const lookingOn = 130 * time.Second

// A real Prometheus, with our rules, scrapes a real receiver for some minutes. Both are killed
// meanwhile, and started again. Then the dashboards and rules have each job once.
func TestCountsInPrometheus(t *testing.T) {
	t.Parallel()
	receiver := harness.NewReceiver(t)
	receiver.Start(t)
	p := prometheus.Start(t, prometheus.Config{
		Target: receiver.Address, Interval: time.Second, Rules: "../../deploy/prometheus/rules/*.yml",
		Scrape: "scrape_native_histograms: true\n    always_scrape_classic_histograms: true",
	})
	o := &jobSender{receiver: receiver, counts: map[[3]string]int{}}
	o.run(t, time.Second)
	before := maps.Clone(o.counts)
	from := settled(t, p, o)

	var wait sync.WaitGroup
	wait.Add(1)
	go func() {
		defer wait.Done()
		o.run(t, lookingOn)
	}()
	kills, end := 0, time.Now().Add(lookingOn-5*time.Second)
	for time.Now().Before(end) {
		time.Sleep(4 * time.Second)
		receiver.Kill()
		time.Sleep(time.Duration(kills%4) * time.Second) // so some scrapes find nobody
		receiver.Start(t)
		if kills++; kills == 8 {
			p.Kill()
			time.Sleep(3 * time.Second)
			p.Start(t)
		}
	}
	wait.Wait()
	to := settled(t, p, o)
	during := map[[3]string]int{}
	for key, n := range o.counts {
		during[key] = n - before[key]
	}

	if !compareDashboards(t, p, from, to, during) {
		t.Logf("the receiver:\n%s", receiver.LogExcerpt())
	}
	compareRules(t, p, o.counts)
	for _, line := range p.Complaints() {
		if !strings.Contains(line, "A lockfile from a previous execution already existed") { // it was killed
			t.Errorf("Prometheus' log: %s", line)
		}
	}
	t.Logf("%d kills, %d jobs in %v, %d requests sent again", kills+1, total(during), to.Sub(from), o.again)
}

// An office sends jobs, again and again until they are acknowledged.
type jobSender struct {
	receiver *harness.Receiver
	sent     int
	again    int
	counts   map[[3]string]int // acknowledged, by template, project and status
}

func (o *jobSender) run(t *testing.T, length time.Duration) {
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
			response, err := client.PostForm(o.receiver.URL("/steps"), form)
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
func settled(t *testing.T, p *prometheus.Server, o *jobSender) time.Time {
	t.Helper()
	err := harness.Eventually(func() error {
		values, err := p.Query(`sum(cijob_runs_total)`)
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

// compareDashboards asks every query of every panel, and compares the counts.
func compareDashboards(t *testing.T, p *prometheus.Server, from, to time.Time, during map[[3]string]int) bool {
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
				got, err := p.Ask(query, first, to, step)
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
						values = []prometheus.Sample{series.Value}
					}
					for _, sample := range values {
						x, err := sample.Value()
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
func compareRules(t *testing.T, p *prometheus.Server, counts map[[3]string]int) {
	t.Helper()
	deadline := time.Now().Add(150 * time.Second)
	for _, rule := range []string{"job_template_status:cijob_runs_total:sum", "job_template_status:cijob_runs:increase1d"} {
		for {
			values, err := p.Query("sum(" + rule + ")")
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
	if err := p.Get("/api/v1/rules", nil, &rules); err != nil {
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
