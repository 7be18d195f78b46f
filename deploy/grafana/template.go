package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"

	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

// template is how one of them does.
func template() *classic {
	s := newSheet(templateUID, "CI templates: one template",
		"How one CI template does: who uses it, how it ends and how long it takes. Counts are exact: docs/grafana.md of CI Jobs Metrics.")
	job, template, project, status := matches("job"), matches("template"), matches("project"), matches("status")
	s.values("template", "Template", "The name that jobs were sent with.", one, job)
	s.values("project", "Project", "The path of the repository. It does not apply to durations.", many, job, template)
	s.values("status", "Status", "How jobs ended, for the panels that say so.", many, job, template, project)
	s.receiver()
	s.Link(built[dashboard.DashboardLink]{inMenu(toDashboard("Overview", overviewUID, ""), "dashboard", "How all templates do")})
	s.Link(built[dashboard.DashboardLink]{inMenu(toReceiver("Receiver's page of it", "/template?name=${template:percentencode}"), "external link",
		"The same from the ledger, with the jobs that failed")})

	chosen := choice{job, template, project}
	timed := choice{job, template}
	ok := timed.with(ended(passed))
	s.totals(chosen, 5)
	s.stat(4, "Projects", exact+"Projects with at least one job of this template; those beyond the receiver's budget of label sets are one, __other__.", jobs,
		instant("A", orZero(whole, used("project", nil, count(whole, chosen)))))
	s.lost(timed, 6)
	for _, q := range [][2]string{{"p50", "0.5"}, {"p95", "0.95"}} {
		s.stat(6, q[0], "Duration that "+map[string]string{"p50": "half", "p95": "95 %"}[q[0]]+" of the jobs did not exceed. "+ofSuccesses+quantiles+notProject, duration,
			instant("A", quantile(q[1], whole, ok)))
	}

	s.WithPanel(byStatus(bars(s.chart(12, "Jobs by how they ended", "Finished jobs with the chosen statuses. "+exactBars, jobs,
		barred("A", sum([]string{"status"}, count(step, chosen.with(status))), "{{status}}")))))
	s.WithPanel(line(s.chart(12, "Success rate over time", "success / (success + failed + timedout) of each bar's jobs; no point where that is 0 / 0. "+exactBars, share,
		barred("A", rate(step, chosen), "success rate")), "min", "max").Max(1))

	s.row("Projects")
	by := []string{"project"}
	here := toDashboard("This template in ${__data.fields.project} only", templateUID,
		"&${template:queryparam}&${status:queryparam}&var-project=${__data.fields.project:percentencode}"+keepTime)
	s.tableOf(12, 9, "Projects that use it", "Each project with a job of this template in the period. "+exact+
		"Failed: failed or timedout. Success rate: success / (success + failed + timedout).", noData,
		column{name: "Project", label: "project", unit: text, links: []dashboard.DashboardLink{
			here, toReceiver("The receiver's page of ${__data.fields.project}", "/project?name=${__data.fields.project:percentencode}"),
		}},
		column{name: "Jobs", unit: jobs, query: sum(by, count(whole, chosen)) + " > 0", width: 100},
		column{name: "Failed", unit: jobs, none: "0", query: sum(by, count(whole, chosen.with(ended(failed, timedout)))) + " > 0", width: 100},
		column{name: "Success rate", unit: share, none: "–", query: rate(whole, chosen, by...), width: 120},
	)
	s.WithPanel(bars(s.top(12, "Jobs by project", "project", "projects", chosen.with(status))))

	s.row("Durations")
	s.WithPanel(line(s.durationsOverTime(ok), "min", "max"))
	s.heatmap(12, "Durations of the chosen statuses", "How many jobs took up to the time at the left, and longer than the one below. "+exactBars+notProject,
		sum([]string{"le"}, buckets(step, timed.with(status))))
	s.distribution(12, "Durations of jobs that passed", "How many jobs took up to so long, and longer than the bar above says. "+exact+notProject, good,
		sum([]string{"le"}, buckets(whole, ok)))
	s.distribution(12, "Durations of jobs that failed", "Jobs that failed or timed out: how many took up to so long, and longer than the bar above says. "+exact+notProject, bad,
		sum([]string{"le"}, buckets(whole, timed.with(ended(failed, timedout)))))

	s.versions(chosen.with(`version!=""`), []string{"version"})
	return s.classic
}

// durationsOverTime has exemplars: the jobs themselves, of which Prometheus keeps some.
func (s *sheet) durationsOverTime(ok choice) *timeseries.PanelBuilder {
	at := func(ref, name, q string) *prometheus.DataqueryBuilder {
		return barred(ref, quantile(q, step, ok), name).Exemplar(true)
	}
	return s.chart(12, "p50 and p95 over time", ofSuccesses+"Of each bar's jobs; no point where there was none. "+quantiles+notProject+
		"The small marks are single jobs (exemplars): follow the link of their id, which the data source has to have (docs/grafana.md).", duration,
		at("A", "p50", "0.5"), at("B", "p95", "0.95"))
}

// top is the jobs by the ten values of a label with the most of them in the period, and those of all others.
func (s *sheet) top(width uint32, title, label, plural string, chosen choice) *timeseries.PanelBuilder {
	ten := call("topk", "10,", sum([]string{label}, count(fixed, chosen)))
	return s.chart(width, title, "The ten "+plural+" with the most jobs in the period, and all others together. "+exactBars, jobs,
		barred("A", lines(sum([]string{label}, count(step, chosen)), "and on ("+label+")", ten), "{{"+label+"}}"),
		barred("B", sum(nil, lines(sum([]string{label}, count(step, chosen)), "unless on ("+label+")", ten)), "all other "+plural))
}
