package main

import (
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/bargauge"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/heatmap"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// Units, as Grafana calls them.
const (
	jobs     = "locale" // 12,345 and not 12.3 K: counts are exact
	share    = "percentunit"
	duration = "s"
	inHours  = "suffix: h" // not "h", which becomes days and weeks
	ago      = "dateTimeFromNow"
	moment   = "dateTimeAsIso"
	text     = "string"
)

// Colours of how a job ended: the page's, which colour-blind people can tell apart.
var colours = [][2]string{
	{"success", "#3d9479"}, {"failed", "#e8552a"}, {"timedout", "#d9a02b"},
	{"canceled", "#8b95a5"}, {"skipped", "#5f7fb0"}, {"unknown", "#b78ad2"},
}

const (
	good    = "#3d9479"
	bad     = "#e8552a"
	warning = "#d9a02b"
	neutral = "#5b98f2"
)

// What is shown in place of a value that is not known, or of panels without any. It has to say what to do.
const (
	noStart = "No scrape here when the period began: shorter period? right data source?"
	noData  = "Nothing to show. No bar is over yet, no job fits the variables, or Prometheus has no scrape of the receiver within the hour before the period " +
		"(or bar) began or ended: choose a shorter period that ends now, not in the future, and look at the last row of CI templates: overview."
	noVersion = "No version here. Start the receiver with --metrics.label=version, and have templates send one (CI_METRICS_VERSION)."
	noSelf    = "No receiver is scraped: look at Prometheus' targets, and at the variable Scrape job."
)

// Sentences that descriptions share.
const (
	exact       = "Exact, between the last scrapes before the period's edges. "
	exactBars   = "Each bar is the time up to its right edge, exact between the last scrapes before its edges. "
	notProject  = "Durations have no project: the variable Project does not apply. "
	ofSuccesses = "Of successful jobs. "
	quantiles   = "The error is at most 9.1 % where Prometheus scrapes native histograms, and up to the width of a bucket where it has classic ones only. "
)

var source = common.DataSourceRef{Type: ptr("prometheus"), Uid: ptr("${datasource}")}

func ptr[T any](v T) *T { return &v }

// built is a value that needs no builder: the SDK's leave no way to omit their defaults.
type built[T any] struct{ v T }

func (b built[T]) Build() (T, error) { return b.v, nil }

// instant asks for the end of the period. In a table every label is a column.
func instant(ref, expr string) *prometheus.DataqueryBuilder {
	return query(ref, expr).Instant().Format(prometheus.PromQueryFormatTable)
}

// labelled asks likewise, and names each result by its labels.
func labelled(expr, legend string) *prometheus.DataqueryBuilder {
	return query("A", expr).Instant().Format(prometheus.PromQueryFormatTimeSeries).LegendFormat(legend)
}

// barred asks for each bar. Bars are an hour or longer: at less a job would often fall between
// two scrapes of which the first is an hour old.
func barred(ref, expr, legend string) *prometheus.DataqueryBuilder {
	return query(ref, expr).Range().Format(prometheus.PromQueryFormatTimeSeries).LegendFormat(legend).Interval(minBar)
}

const (
	minBar  = "1h"
	maxBars = 30 // of 30 days: a day each
)

func query(ref, expr string) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().RefId(ref).Expr(expr).Datasource(source).
		EditorMode(prometheus.QueryEditorModeCode)
}

// A sheet is a dashboard in the making: it numbers the panels and puts them side by side.
type sheet struct {
	*classic
	id, x, y, height uint32
}

// place puts a panel at the right of the one before, or below if it does not fit.
func (s *sheet) place(width, height uint32) (uint32, dashboard.GridPos) {
	if s.x+width > 24 {
		s.x, s.y, s.height = 0, s.y+s.height, 0
	}
	at := dashboard.GridPos{X: s.x, Y: s.y, W: width, H: height}
	s.x += width
	s.height = max(s.height, height)
	s.id++
	return s.id, at
}

func (s *sheet) row(title string) {
	if s.x > 0 {
		s.x, s.y, s.height = 0, s.y+s.height, 0
	}
	id, at := s.place(24, 1)
	s.x, s.y, s.height = 0, s.y+1, 0
	s.WithRow(built[dashboard.RowPanel]{dashboard.RowPanel{
		Type: "row", Title: &title, Id: id, GridPos: &at, Panels: []dashboard.Panel{}}})
}

// reduced is the one value of an instant query.
func reduced() cog.Builder[common.ReduceDataOptions] {
	return common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"}).Values(false)
}

// stat shows one value, or one for each scrape job.
func (s *sheet) stat(width uint32, title, description, unit string, target *prometheus.DataqueryBuilder, adapt ...func(*stat.PanelBuilder)) {
	id, at := s.place(width, 4)
	p := stat.NewPanelBuilder().Id(id).GridPos(at).Datasource(source).
		Title(title).Description(strings.TrimSpace(description)).Unit(unit).NoValue(noStart).
		WithTarget(target).ReduceOptions(reduced()).
		GraphMode(common.BigValueGraphModeNone).ColorMode(common.BigValueColorModeValue).
		TextMode(common.BigValueTextModeValue).JustifyMode(common.BigValueJustifyModeAuto).
		Orientation(common.VizOrientationAuto).WideLayout(true).
		ColorScheme(inColour(neutral))
	if unit == jobs {
		p.Decimals(0)
	}
	for _, f := range adapt {
		f(p)
	}
	s.WithPanel(p)
}

func inColour(colour string) cog.Builder[dashboard.FieldColor] {
	return dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdFixed).FixedColor(colour)
}

func coloured(colour string) func(*stat.PanelBuilder) {
	return func(p *stat.PanelBuilder) { p.ColorScheme(inColour(colour)) }
}

// steps colours a value by the thresholds that it has reached. Pairs of value and colour follow
// the first colour.
func steps(first string, then ...dashboard.Threshold) cog.Builder[dashboard.ThresholdsConfig] {
	return built[dashboard.ThresholdsConfig]{dashboard.ThresholdsConfig{
		Mode:  dashboard.ThresholdsModeAbsolute,
		Steps: append([]dashboard.Threshold{{Color: first}}, then...),
	}}
}

func from(value float64, colour string) dashboard.Threshold {
	return dashboard.Threshold{Value: &value, Color: colour}
}

func byThresholds() cog.Builder[dashboard.FieldColor] {
	return dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdThresholds)
}

// chart is over time.
func (s *sheet) chart(width uint32, title, description, unit string, targets ...*prometheus.DataqueryBuilder) *timeseries.PanelBuilder {
	id, at := s.place(width, 9)
	p := timeseries.NewPanelBuilder().Id(id).GridPos(at).Datasource(source).
		Title(title).Description(strings.TrimSpace(description)).Unit(unit).NoValue(noData).
		Interval(minBar).MaxDataPoints(maxBars).
		ColorScheme(dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdPaletteClassicByName)).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	for _, t := range targets {
		p.WithTarget(t)
	}
	return p
}

// bars are counts, one on the other: what lies between two edges is the bar at the left of the
// moment that its value is for.
func bars(p *timeseries.PanelBuilder) *timeseries.PanelBuilder {
	return legend(p, "sum").Decimals(0).Min(0).
		DrawStyle(common.GraphDrawStyleBars).BarAlignment(common.BarAlignmentBefore).BarWidthFactor(0.9).
		FillOpacity(85).LineWidth(0).ShowPoints(common.VisibilityModeNever).
		Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal).Group("A"))
}

// line is a value that can't be added up.
func line(p *timeseries.PanelBuilder, calcs ...string) *timeseries.PanelBuilder {
	return legend(p, calcs...).Min(0).
		DrawStyle(common.GraphDrawStyleLine).LineInterpolation(common.LineInterpolationLinear).LineWidth(2).
		ShowPoints(common.VisibilityModeAlways).PointSize(5).FillOpacity(0)
}

func legend(p *timeseries.PanelBuilder, calcs ...string) *timeseries.PanelBuilder {
	return p.Legend(common.NewVizLegendOptionsBuilder().
		DisplayMode(common.LegendDisplayModeTable).Placement(common.LegendPlacementBottom).ShowLegend(true).Calcs(calcs))
}

// byStatus gives each status its colour.
func byStatus(p *timeseries.PanelBuilder) *timeseries.PanelBuilder {
	for _, c := range colours {
		p.OverrideByName(c[0], []dashboard.DynamicConfigValue{fixedColour(c[1])})
	}
	return p
}

func fixedColour(colour string) dashboard.DynamicConfigValue {
	return dashboard.DynamicConfigValue{Id: "color", Value: map[string]any{"mode": "fixed", "fixedColor": colour}}
}

// ranking is a bar for each of the highest.
func (s *sheet) ranking(width uint32, title, description, unit, colour string, target *prometheus.DataqueryBuilder, links ...dashboard.DashboardLink) *bargauge.PanelBuilder {
	id, at := s.place(width, 9)
	p := bargauge.NewPanelBuilder().Id(id).GridPos(at).Datasource(source).
		Title(title).Description(strings.TrimSpace(description)).Unit(unit).NoValue(noData).Min(0).
		WithTarget(target).ReduceOptions(reduced()).
		Orientation(common.VizOrientationHorizontal).DisplayMode(common.BarGaugeDisplayModeBasic).
		ValueMode(common.BarGaugeValueModeText).NamePlacement(common.BarGaugeNamePlacementAuto).
		Sizing(common.BarGaugeSizingAuto).ShowUnfilled(false).
		Legend(common.NewVizLegendOptionsBuilder().DisplayMode(common.LegendDisplayModeList).
			Placement(common.LegendPlacementBottom).ShowLegend(false).Calcs([]string{})).
		ColorScheme(inColour(colour))
	if unit == jobs {
		p.Decimals(0)
	}
	if len(links) > 0 {
		p.DataLinks(linkBuilders(links))
	}
	return p
}

// A column of a table is a query's value, or one of the labels by which its rows are joined.
type column struct {
	name, unit, none string // none stands where there is no value
	query            string // empty for a label
	label            string
	links            []dashboard.DashboardLink
	width            uint32
}

// tableOf joins what the queries answer by their labels. A row needs a value in the first of the
// queries.
func (s *sheet) tableOf(width, height uint32, title, description, none string, columns ...column) {
	id, at := s.place(width, height)
	p := table.NewPanelBuilder().Id(id).GridPos(at).Datasource(source).
		Title(title).Description(strings.TrimSpace(description)).Unit(text).NoValue(none).
		ShowHeader(true).CellHeight(common.TableCellHeightSm).Filterable(true).
		CellOptions(common.TableCellOptions{TableAutoCellOptions: common.NewTableAutoCellOptions()})
	order, names, ref, first := map[string]int{}, map[string]string{}, 'A', ""
	for i, c := range columns {
		field := c.label
		if c.query != "" {
			field = "Value #" + string(ref)
			p.WithTarget(instant(string(ref), c.query))
			if first == "" {
				first = field
				p.SortBy([]cog.Builder[common.TableSortByFieldState]{
					common.NewTableSortByFieldStateBuilder().DisplayName(c.name).Desc(true)})
			}
			ref++
		}
		order[field], names[field] = i, c.name
		p.OverrideByName(c.name, c.properties())
	}
	// Merging is by all columns that the tables share: the time, which is the same, and the labels.
	p.WithTransformation(dashboard.DataTransformerConfig{Id: "merge", Options: map[string]any{}}).
		// What the variables leave out may have a value in the other queries: the durations have no project.
		WithTransformation(dashboard.DataTransformerConfig{Id: "filterByValue", Options: map[string]any{
			"type": "include", "match": "all",
			"filters": []any{map[string]any{"fieldName": first, "config": map[string]any{
				"id": "greater", "options": map[string]any{"value": 0}}}},
		}}).
		WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
			"excludeByName": map[string]bool{"Time": true}, "indexByName": order, "renameByName": names,
		}})
	panel := build(p)
	panel.Options.(*table.Options).Footer = nil // the SDK's default, which Grafana 13 has no more
	s.WithPanel(built[dashboard.Panel]{panel})
}

func (c column) properties() []dashboard.DynamicConfigValue {
	properties := []dashboard.DynamicConfigValue{{Id: "unit", Value: c.unit}}
	if c.none != "" {
		properties = append(properties, dashboard.DynamicConfigValue{Id: "noValue", Value: c.none})
	}
	if c.unit == jobs {
		properties = append(properties, dashboard.DynamicConfigValue{Id: "decimals", Value: 0})
	}
	if len(c.links) > 0 {
		properties = append(properties, dashboard.DynamicConfigValue{Id: "links", Value: plainLinks(c.links)})
	}
	if c.width > 0 {
		properties = append(properties, dashboard.DynamicConfigValue{Id: "custom.width", Value: c.width})
	}
	return properties
}

// distribution is how many durations fell between a bound and the one below. Grafana takes the counts up to
// each bound apart if the format is heatmap and the legend the bound alone.
func (s *sheet) distribution(width uint32, title, description, colour, expr string) {
	p := s.ranking(width, title, description, jobs, colour,
		query("A", expr).Instant().Format(prometheus.PromQueryFormatHeatmap).LegendFormat("{{le}}"))
	for _, r := range [][2]string{{`/^([0-9]+)(\.0)?$/`, "up to $1 s"}, {`/^\+Inf$/`, "longer"}} {
		p.WithTransformation(dashboard.DataTransformerConfig{Id: "renameByRegex",
			Options: map[string]any{"regex": r[0], "renamePattern": r[1]}})
	}
	s.WithPanel(p)
}

// heatmap is the distribution over time.
func (s *sheet) heatmap(width uint32, title, description, expr string) {
	id, at := s.place(width, 9)
	s.WithPanel(heatmap.NewPanelBuilder().Id(id).GridPos(at).Datasource(source).
		Title(title).Description(strings.TrimSpace(description)).Unit(jobs).NoValue(noData).
		Interval(minBar).MaxDataPoints(maxBars).
		WithTarget(query("A", expr).Range().Format(prometheus.PromQueryFormatHeatmap).LegendFormat("{{le}}").Interval(minBar)).
		Calculate(false).CellGap(1).
		RowsFrame(heatmap.NewRowsHeatmapOptionsBuilder().Layout(common.HeatmapCellLayoutLe)).
		YAxis(heatmap.NewYAxisConfigBuilder().Unit(duration).AxisPlacement(common.AxisPlacementLeft)).
		CellValues(heatmap.NewCellValuesBuilder().Unit(jobs)).
		// One colour from dark to light, which needs no telling of red from green.
		Color(heatmap.NewHeatmapColorOptionsBuilder().Mode(heatmap.HeatmapColorModeScheme).
			Scheme("Viridis").Fill("dark-orange").Steps(64).Exponent(0.5).Reverse(false)).
		Tooltip(heatmap.NewHeatmapTooltipBuilder().Mode(common.TooltipDisplayModeSingle).YHistogram(true).ShowColorScale(true)))
}
