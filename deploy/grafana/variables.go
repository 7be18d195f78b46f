package main

import (
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// newSheet is a dashboard with what both have: variables of the data source, scrape job and receiver,
// the time picker, and marks where a ledger was made.
func newSheet(uid, title, description string) *sheet {
	s := &sheet{classic: dashboard.NewDashboardBuilder(title).Uid(uid).Description(description). //nolint:staticcheck // as classic
													Tags([]string{"ci-jobs-metrics", "gitlab", "ci"}).Editable().Timezone("browser").
													Time("now-7d", "now").Refresh("5m").Tooltip(dashboard.DashboardCursorSyncCrosshair).
													Timepicker(picker())}
	s.WithVariable(built[dashboard.VariableModel]{dashboard.VariableModel{
		Type: dashboard.VariableTypeDatasource, Name: "datasource", Label: ptr("Data source"),
		Description: ptr("The Prometheus that scrapes the receiver."),
		Query:       &dashboard.StringOrMap{String: ptr("prometheus")}, Refresh: ptr(dashboard.VariableRefreshOnDashboardLoad),
		Hide: ptr(dashboard.VariableHideDontHide), IncludeAll: ptr(false), Multi: ptr(false),
	}})
	s.values("job", "Scrape job", "Prometheus' label job of the receivers: one for each ledger.", many)
	s.Annotation(built[dashboard.AnnotationQuery]{ledgersMade()})
	return s
}

// picker offers periods that end now or earlier: at a moment in the future there is no scrape, so a count
// up to then is not known.
func picker() cog.Builder[dashboard.TimePickerConfig] {
	p := dashboard.NewTimePickerBuilder().
		RefreshIntervals([]string{"1m", "5m", "15m", "30m", "1h", "2h", "1d"})
	var ranges []cog.Builder[dashboard.TimeOption]
	for _, r := range [][3]string{
		{"Last 24 hours", "now-24h", "now"}, {"Last 7 days", "now-7d", "now"}, {"Last 14 days", "now-14d", "now"},
		{"Last 30 days", "now-30d", "now"}, {"Last 90 days", "now-90d", "now"}, {"Last 6 months", "now-6M", "now"},
		{"Today so far", "now/d", "now"}, {"Yesterday", "now-1d/d", "now-1d/d"},
		{"This week so far", "now/w", "now"}, {"Previous week", "now-1w/w", "now-1w/w"},
		{"This month so far", "now/M", "now"}, {"Previous month", "now-1M/M", "now-1M/M"},
	} {
		ranges = append(ranges, built[dashboard.TimeOption]{dashboard.TimeOption{Display: r[0], From: r[1], To: r[2]}})
	}
	return p.QuickRanges(ranges)
}

const (
	one  = false
	many = true
)

// values adds a variable of what a label of the counters has, where the variables before it apply.
func (s *sheet) values(label, title, description string, multi bool, given ...string) {
	selector := runs
	if len(given) > 0 {
		selector += "{" + strings.Join(given, ", ") + "}"
	}
	q := "label_values(" + selector + ", " + label + ")"
	v := dashboard.VariableModel{
		Type: dashboard.VariableTypeQuery, Name: label, Label: &title, Description: &description,
		Datasource: &source,
		Query:      &dashboard.StringOrMap{Map: map[string]any{"qryType": 1, "query": q, "refId": "PrometheusVariableQueryEditor-VariableQuery"}},
		Refresh:    ptr(dashboard.VariableRefreshOnTimeRangeChanged), Sort: ptr(dashboard.VariableSortAlphabeticalCaseInsensitiveAsc),
		Hide: ptr(dashboard.VariableHideDontHide), Regex: ptr(""), Multi: &multi, IncludeAll: &multi,
	}
	if multi {
		// One expression for all: a list of them would be a query of 100 kB.
		v.AllValue = ptr(".*")
		v.Current = &dashboard.VariableOption{Selected: ptr(true),
			Text:  dashboard.StringOrArrayOfString{ArrayOfString: []string{"All"}},
			Value: dashboard.StringOrArrayOfString{ArrayOfString: []string{"$__all"}}}
	}
	s.WithVariable(built[dashboard.VariableModel]{v})
}

// receiver adds the variable of where the receiver's page is: links are the only use of it.
func (s *sheet) receiver() {
	address := "http://localhost:8080"
	chosen := dashboard.VariableOption{Selected: ptr(true),
		Text:  dashboard.StringOrArrayOfString{String: &address},
		Value: dashboard.StringOrArrayOfString{String: &address}}
	s.WithVariable(built[dashboard.VariableModel]{dashboard.VariableModel{
		Type: dashboard.VariableTypeTextbox, Name: "receiver", Label: ptr("Receiver"),
		Description: ptr("The address of the receiver's page as a browser reaches it, for links."),
		Query:       &dashboard.StringOrMap{String: &address}, Current: &chosen, Options: []dashboard.VariableOption{chosen},
		Hide: ptr(dashboard.VariableHideDontHide),
	}})
}

// ledgersMade marks when each ledger was made: counts begin there at 0. The value is the time, and
// what is before or behind the period is not drawn.
func ledgersMade() dashboard.AnnotationQuery {
	expr := call("max by ("+received+")", created+"{"+matches(received)+"}") + " * 1000"
	return dashboard.AnnotationQuery{
		Name: "Ledger made", Datasource: &source, Enable: true, Hide: ptr(false), IconColor: warning,
		// Grafana up to 11 reads the query here, later ones in target.
		Expr: &expr, Step: ptr(minBar), UseValueForTime: ptr(true),
		TitleFormat: ptr("Ledger made"), TextFormat: ptr("The ledger of {{job}} was made: its counters begin here."), TagKeys: ptr(received),
		Target: build(query("Anno", expr).Range().Interval(minBar).LegendFormat("{{job}}")),
	}
}
