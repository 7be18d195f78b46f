package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
)

// overview is how all templates do.
func overview() *classic {
	s := newSheet(overviewUID, "CI templates: overview",
		"Use of CI templates: by project, how often, with which results and durations. Counts are exact: docs/grafana.md of CI Jobs Metrics.")
	job, template, project := matches("job"), matches("template"), matches("project")
	s.values("template", "Template", "The name that jobs were sent with.", many, job)
	s.values("project", "Project", "The path of the repository. It does not apply to durations.", many, job, template)
	s.receiver()
	s.Link(built[dashboard.DashboardLink]{inMenu(toDashboard("One template", templateUID, ""), "dashboard", "How one template does")})
	s.Link(built[dashboard.DashboardLink]{inMenu(toReceiver("Receiver's page", "/"), "external link", "The same from the ledger, and where to improve")})

	chosen := choice{job, template, project}
	timed := choice{job, template}
	s.totals(chosen, 6)
	s.stat(6, "Templates in use", exact+"Templates with at least one job; those beyond the receiver's budget of label sets are one, __other__.", jobs,
		instant("A", orZero(whole, used("template", nil, count(whole, chosen)))))
	s.stat(6, "Projects", exact+"Projects with at least one job of the chosen templates; those beyond the receiver's budget of label sets are one, __other__.", jobs,
		instant("A", orZero(whole, used("project", nil, count(whole, chosen)))))
	s.lost(timed, 6)

	s.WithPanel(byStatus(bars(s.chart(12, "Jobs by how they ended", "Finished jobs. "+exactBars, jobs,
		barred("A", sum([]string{"status"}, count(step, chosen)), "{{status}}")))))
	s.WithPanel(bars(s.top(12, "Jobs by template", "template", "templates", chosen)))
	s.WithPanel(line(s.chart(12, "Success rate over time", "success / (success + failed + timedout) of each bar's jobs; no point where that is 0 / 0. "+exactBars, share,
		barred("A", rate(step, chosen), "success rate")), "min", "max").Max(1))
	s.WithPanel(s.ranking(12, "Projects that use them most", "The ten projects with the most jobs of the chosen templates. "+exact, jobs, neutral,
		labelled(highest("project", count(whole, chosen)), "{{project}}"),
		toReceiver("The receiver's page of ${__field.labels.project}", "/project?name=${__field.labels.project:percentencode}")))
	s.templatesTable(chosen, timed)
	failing := toDashboard("More about ${__field.labels.template}", templateUID, "&${project:queryparam}&var-template=${__field.labels.template:percentencode}"+keepTime)
	s.WithPanel(s.ranking(12, "Templates that fail most", "The ten templates with the most jobs that failed or timed out. "+exact, jobs, bad,
		labelled(highest("template", count(whole, chosen.with(ended(failed, timedout)))), "{{template}}"), failing))
	s.WithPanel(s.ranking(12, "Slowest templates", "The ten templates with the highest p95. "+ofSuccesses+quantiles+notProject, duration, warning,
		labelled(call("topk", "10,", quantile("0.95", whole, timed.with(ended(passed)), "template")), "{{template}}"), failing))

	s.versions(chosen.with(`version!=""`), []string{"template", "version"})
	s.complete()
	return s.classic
}

// totals are the numbers that say most, of a row's first panels.
func (s *sheet) totals(chosen choice, width uint32) {
	number := func(c choice) string { return orZero(whole, sum(nil, count(whole, c))) }
	s.stat(width, "Jobs", "Finished jobs, however they ended. "+exact, jobs, instant("A", number(chosen)))
	s.stat(width, "Passed", "Jobs with the status success. "+exact, jobs,
		instant("A", number(chosen.with(ended(passed)))), coloured(good))
	s.stat(width, "Failed", "Jobs with the status failed or timedout. "+exact, jobs,
		instant("A", number(chosen.with(ended(failed, timedout)))), coloured(bad))
	s.stat(width, "Success rate", "success / (success + failed + timedout); no value for 0 / 0. Canceled, skipped and unknown jobs are not included. "+exact, share,
		instant("A", rate(whole, chosen)), func(p *stat.PanelBuilder) {
			p.Decimals(1).NoValue("No job passed or failed, or no scrape when the period began")
		})
}

// lost is what they took.
func (s *sheet) lost(timed choice, width uint32) {
	took := func(c choice) string { return orZero(whole, hours(sum(nil, durations(whole, c)))) }
	s.stat(width, "CI hours", "The sum of the durations of all jobs that have one, however they ended. "+exact+notProject, inHours,
		instant("A", took(timed)), func(p *stat.PanelBuilder) { p.Decimals(1) })
	s.stat(width, "Hours lost to failures", "The sum of the durations of jobs that failed or timed out. "+exact+notProject, inHours,
		instant("A", took(timed.with(ended(failed, timedout)))),
		coloured(bad), func(p *stat.PanelBuilder) { p.Decimals(1) })
}

// highest are the ten with the most jobs.
func highest(label, counts string) string {
	return call("topk", "10,", sum([]string{label}, counts)+" > 0")
}

// templatesTable has a row for each template with a job.
func (s *sheet) templatesTable(chosen, timed choice) {
	by := []string{"template"}
	ok := timed.with(ended(passed))
	s.tableOf(24, 11, "Templates", "Each template with a job in the period; its name leads to more about it. "+exact+
		"Failed: failed or timedout. Success rate: success / (success + failed + timedout). p50 and p95 are of successful jobs. "+quantiles+
		"Hours are of all jobs. p50, p95 and hours have no project: the variable Project does not apply to them.", noData,
		column{name: "Template", label: "template", unit: text, links: []dashboard.DashboardLink{
			toDashboard("More about ${__data.fields.template}", templateUID, "&${project:queryparam}&var-template=${__data.fields.template:percentencode}"+keepTime),
			toReceiver("The receiver's page of ${__data.fields.template}", "/template?name=${__data.fields.template:percentencode}"),
		}},
		column{name: "Jobs", unit: jobs, query: sum(by, count(whole, chosen)) + " > 0"},
		column{name: "Projects", unit: jobs, none: "0", query: used("project", by, count(whole, chosen)) + " > 0"},
		column{name: "Failed", unit: jobs, none: "0", query: sum(by, count(whole, chosen.with(ended(failed, timedout)))) + " > 0"},
		column{name: "Success rate", unit: share, none: "–", query: rate(whole, chosen, by...)},
		column{name: "p50", unit: duration, none: "–", query: quantile("0.5", whole, ok, by...)},
		column{name: "p95", unit: duration, none: "–", query: quantile("0.95", whole, ok, by...)},
		column{name: "CI hours", unit: inHours, none: "–", query: hours(sum(by, durations(whole, timed))) + " > 0"},
	)
}

// versions is who uses which version.
func (s *sheet) versions(chosen choice, by []string) {
	s.row("Versions")
	columns := []column{
		{name: "Jobs", unit: jobs, query: sum(by, count(whole, chosen, "version")) + " > 0"},
		{name: "Projects", unit: jobs, none: "0", query: used("project", by, count(whole, chosen, "version")) + " > 0"},
		{name: "Success rate", unit: share, none: "–", query: rateOf(whole, chosen, []string{"version"}, by...)},
	}
	legend := "{{version}}"
	named := column{name: "Version", label: "version", unit: text}
	if len(by) > 1 {
		legend = "{{template}} {{version}}"
		columns = append([]column{{name: "Template", label: "template", unit: text, links: []dashboard.DashboardLink{
			toDashboard("More about ${__data.fields.template}", templateUID, "&var-template=${__data.fields.template:percentencode}"+keepTime)}}, named}, columns...)
	} else {
		columns = append([]column{named}, columns...)
	}
	s.tableOf(12, 9, "Adoption by version", "Jobs and projects of each version with a job in the period; jobs that were sent without a version are in none. "+exact, noVersion, columns...)
	s.WithPanel(bars(s.chart(12, "Jobs by version", "The ten versions with the most jobs in the period. "+exactBars, jobs,
		barred("A", lines(sum(by, count(step, chosen, "version")),
			"and",
			call("topk", "10,", sum(by, count(fixed, chosen, "version")))), legend)).NoValue(noVersion)))
}

// complete says whether the data is.
func (s *sheet) complete() {
	s.row("Is the data complete?")
	job := matches("job")
	gauge := func(metric string) string { return "cijob_receiver_" + metric + "{" + job + "}" }
	perJob := func(p *stat.PanelBuilder) { p.NoValue(noSelf).TextMode(common.BigValueTextModeValueAndName) }
	by := "max by (job)"
	s.stat(4, "Receivers scraped", "Receivers that Prometheus has scraped in the last five minutes before the period's end, for each scrape job.", jobs,
		labelled(call("count by (job)", call("group by (job, instance)", gauge("build_info"))), "{{job}}"), perJob)
	s.stat(4, "Last job received", "When the last job was received. If that is long ago, jobs may fail to report.", ago,
		labelled(call(by, gauge("last_job_timestamp_seconds"))+" * 1000 > 0", "{{job}}"), perJob,
		func(p *stat.PanelBuilder) {
			p.NoValue("No job was received yet, or /metrics/self of no receiver is scraped")
		})
	s.stat(4, "Ledger can be written", "Whether each receiver can record jobs; those that can't are answered 503 and senders try again.", text,
		labelled(call("min by (job)", gauge("ledger_writable")), "{{job}}"), perJob,
		func(p *stat.PanelBuilder) {
			p.ColorScheme(byThresholds()).Thresholds(steps(bad, from(1, good))).
				Mappings([]dashboard.ValueMapping{{ValueMap: &dashboard.ValueMap{Type: "value", Options: map[string]dashboard.ValueMappingResult{
					"0": {Text: ptr("no"), Index: ptr[int32](0)}, "1": {Text: ptr("yes"), Index: ptr[int32](1)}}}}})
		})
	s.stat(4, "Ledger made", "When the ledger was made: counts go back to then at most. It changes only if the ledger was lost or replaced, which charts mark.", moment,
		labelled(call(by, created+"{"+job+"}")+" * 1000", "{{job}}"), perJob)
	s.stat(4, "Budget of label sets", "Label sets in use of --metrics.max-series. When it is used up, new versions, then projects, then templates count as __other__.", share,
		labelled(call(by, gauge("label_sets"))+"\n/\n"+call(by, gauge("label_sets_limit")), "{{job}}"), perJob,
		func(p *stat.PanelBuilder) {
			p.Decimals(1).ColorScheme(byThresholds()).Thresholds(steps(good, from(0.8, warning), from(1, bad)))
		})
	s.stat(4, "Counted as __other__", "Jobs in the period that had no room for their version, project or template. Approximate: increase() of a counter that begins at 0 with each start.", jobs,
		labelled(call("sum by (job)", call("max by (job, label)", call("increase", gauge("jobs_folded_total")+"[$__range]"))), "{{job}}"), perJob,
		func(p *stat.PanelBuilder) {
			p.ColorScheme(byThresholds()).Thresholds(steps(good, from(0.5, warning)))
		})
	about := "Approximate: increase() of counters that begin at 0 with each start of a receiver. The receiver's page /problems shows what to send instead. "
	s.WithPanel(bars(s.chart(12, "Jobs rejected, by reason", "Jobs that were rejected because of a mistake in the report, and don't count. "+about, jobs,
		barred("A", call("sum by (reason)", call("increase", gauge("problems_rejected_total")+"[$__interval]"))+" > 0", "{{reason}}")).
		NoValue("No job was rejected, or /metrics/self of no receiver is scraped")))
	s.WithPanel(bars(s.chart(12, "Requests refused, by reason", "Requests that were refused as a whole; the exporter retries after starting, queue_full, busy and ledger. "+about, jobs,
		barred("A", call("sum by (reason)", call("increase", gauge("requests_refused_total")+"[$__interval]"))+" > 0", "{{reason}}")).
		NoValue("No request was refused, or /metrics/self of no receiver is scraped")))
}
