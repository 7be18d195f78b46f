package queries

import (
	"strings"
	"testing"
	"time"

	"ci-jobs-metrics/internal/history"
)

// TestLedgerReplaced asks every query of the dashboards, and evaluates all rules, over days in which the
// jobs could not be scraped for three hours while receivers could, then the ledger was lost, and
// then brought back: what is counted is what the ledger of then recorded, never anything of both.
func TestLedgerReplaced(t *testing.T) {
	t.Parallel()
	const days, lost, back, outage1, outage2 = 5, 2 * day, 4 * day, 30 * time.Hour, 33 * time.Hour
	r := record(t, story{
		shape: history.Shape{Templates: 10, Projects: 20, Jobs: 5000, Days: days, End: time.Date(2026, 6, 5, 18, 0, 0, 0, time.UTC), Seed: 2},
		targets: []*target{
			// As deploy/prometheus/scrape/several-receivers.yml has it.
			{instance: "receiver.metrics.svc:80", path: "/metrics/jobs", to: (days + 1) * day, fails: []outage{{outage1, outage2}}},
			{instance: "10.0.0.1:8080", pod: "receiver-a", path: "/metrics/self", to: (days + 1) * day},
		},
		swaps: []swap{{lost, 1}, {back, 0}},
	})
	queries := shippedQueries(t)
	replaced, returned := r.begin.Add(lost), r.begin.Add(back)
	for name, c := range map[string]struct {
		end    time.Time
		period time.Duration
	}{
		"before":                   {replaced.Add(-time.Hour), day},
		"right after":              {replaced.Add(5 * time.Minute), day},
		"half an hour after":       {replaced.Add(30 * time.Minute), 10 * day},
		"soon after":               {replaced.Add(70 * time.Minute), 2 * time.Hour},
		"begun before":             {returned, 50 * time.Hour},
		"begun before any":         {returned, 10 * day},
		"begun half an hour after": {returned, returned.Sub(replaced) - 30*time.Minute},
		"after":                    {returned, 6 * time.Hour},
		"brought back":             {returned.Add(30 * time.Minute), time.Hour},
		"brought back, before":     {returned.Add(30 * time.Minute), 6 * time.Hour},
		"brought back, after":      {returned.Add(5 * time.Hour), 2 * time.Hour},
		"brought back, over all":   {r.end, r.end.Sub(r.begin) - 2*time.Hour},
		"brought back, all":        {r.end, 10 * day},
		"no jobs scraped":          {r.begin.Add(outage2 - 30*time.Minute), 6 * time.Hour},
		"begun with no jobs":       {r.begin.Add(outage2 + 5*time.Hour), 6 * time.Hour},
		"over an outage of jobs":   {r.begin.Add(outage2 + 3*time.Hour), 9 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			a := asked{prometheus: prometheus{engine(), r.db}, native: true, classic: true, end: c.end, period: c.period}
			for _, q := range queries {
				r.ask(t, q, a)
			}
		})
	}
	t.Run("rules", func(t *testing.T) {
		e, p := newEvaluator(t, r), prometheus{engine(), r.db}
		recording, _ := e.names()
		n := 0
		for at := r.begin.Add(evaluation); !at.After(r.end); at = at.Add(evaluation) {
			e.evaluate(t, at)
			for _, name := range recording {
				if recordedRules[name].answer == nil || strings.Contains(name, "cijob_duration_seconds") && r.returned(at, 8*day) {
					continue // durations that fell are not told
				}
				n++
				if wrong := r.judgeRule(t, p, name, at); len(wrong) > 0 {
					t.Errorf("%s at %v: %s", name, at, strings.Join(wrong[:min(len(wrong), 3)], "; "))
				}
			}
		}
		t.Logf("%d results compared", n)
	})
}

// returned says whether an older ledger, whose counters are lower or not, came back within a period.
func (r *recording) returned(at time.Time, period time.Duration) bool {
	for _, s := range r.story.swaps {
		if since := at.Sub(r.begin); s.to == 0 && s.at <= since && since < s.at+period {
			return true
		}
	}
	return false
}
