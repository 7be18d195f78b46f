package queries

import (
	"testing"
	"time"

	"ci-jobs-metrics/internal/history"
)

// TestLedgerReplaced asks every query of the dashboards about days in which the ledger was
// lost: what they count is what the ledger of then recorded, never anything of both.
func TestLedgerReplaced(t *testing.T) {
	t.Parallel()
	const days, lost = 3, 2 * day
	r := record(t, story{
		shape: history.Shape{Templates: 10, Projects: 20, Jobs: 3000, Days: days, End: time.Date(2026, 6, 5, 18, 0, 0, 0, time.UTC), Seed: 2},
		targets: []*target{
			// As deploy/prometheus/scrape/several-receivers.yml has it.
			{instance: "receiver.metrics.svc:80", path: "/metrics/jobs", to: (days + 1) * day},
			{instance: "10.0.0.1:8080", pod: "receiver-a", path: "/metrics/self", to: (days + 1) * day},
		},
		lost: []time.Duration{lost},
	})
	queries := shippedQueries(t)
	replaced := r.begin.Add(lost)
	for name, c := range map[string]struct {
		end    time.Time
		period time.Duration
	}{
		"before":                   {replaced.Add(-time.Hour), day},
		"right after":              {replaced.Add(5 * time.Minute), day},
		"half an hour after":       {replaced.Add(30 * time.Minute), 10 * day},
		"soon after":               {replaced.Add(70 * time.Minute), 2 * time.Hour},
		"begun before":             {r.end, 30 * time.Hour},
		"begun before any":         {r.end, 10 * day},
		"begun half an hour after": {r.end, r.end.Sub(replaced) - 30*time.Minute},
		"after":                    {r.end, 6 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			a := asked{prometheus: prometheus{engine(), r.db}, native: true, classic: true, end: c.end, period: c.period}
			for _, q := range queries {
				r.ask(t, q, a)
			}
		})
	}
}
