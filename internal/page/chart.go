package page

import (
	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/kpi"
)

// A chart is drawn by static/app.js from Data, beside a table of the same numbers.
type chart struct {
	ID, Title, Help string
	Data            chartData
	Legend          []legend
	Table           *numbers
}

// A legend is that of one series. Its Key is a class of the style sheet.
type legend struct{ Key, Text string }

// numbers is the table beside a chart.
type numbers struct {
	Link    string // of the answer
	Columns []string
	Rows    []numberRow
}

type numberRow struct {
	Name    string
	Numbers []number
}

// chartData is what app.js draws.
type chartData struct {
	Kind   string   `json:"kind"`
	Unit   string   `json:"unit"`
	Labels []string `json:"labels"` // of points, for axes
	Long   []string `json:"long"`   // of points, for the legend
	// Starts of points, and the end of the last one: what a part that is chosen becomes in
	// the address.
	Starts []string `json:"starts,omitempty"`
	Parts  []int    `json:"parts,omitempty"` // points that are parts of a day
	Series []series `json:"series,omitempty"`
	// Bounds and Cells are of a heat map: jobs by point and bucket.
	Bounds  []float64 `json:"bounds,omitempty"`
	Buckets []string  `json:"buckets,omitempty"`
	Cells   [][]int64 `json:"cells,omitempty"`
}

type series struct {
	Key    string     `json:"key"`
	Text   string     `json:"text"`
	Values []*float64 `json:"values"`
}

// inOrder are the statuses as bars are stacked: what was in vain stands on the axis, where
// days can be compared.
var inOrder = []job.Status{job.Failed, job.TimedOut, job.Success, job.Canceled, job.Skipped, job.Unknown}

func countOf(s *kpi.Statuses, status job.Status) int64 {
	switch status {
	case job.Success:
		return s.Success
	case job.Failed:
		return s.Failed
	case job.Canceled:
		return s.Canceled
	case job.Skipped:
		return s.Skipped
	case job.TimedOut:
		return s.TimedOut
	default:
		return s.Unknown
	}
}

// byPoint begins a chart over a series.
func (v *request) byPoint(a *asked, id, kind, unit string, points []kpi.Point) chart {
	c := chart{ID: id, Data: chartData{Kind: kind, Unit: unit}, Table: &numbers{Link: a.link()}}
	for i := range points {
		p := &points[i]
		short, long := pointNames(p, a.Query.Interval)
		if len(points) > 1 && inPart(points, i) {
			c.Data.Parts = append(c.Data.Parts, i)
			long += " (part of the day)"
		}
		c.Data.Labels, c.Data.Long = append(c.Data.Labels, short), append(c.Data.Long, long)
		c.Data.Starts = append(c.Data.Starts, p.From.Format("2006-01-02T15:04:05Z07:00"))
	}
	if n := len(points); n > 0 {
		c.Data.Starts = append(c.Data.Starts, points[n-1].To.Format("2006-01-02T15:04:05Z07:00"))
	}
	return c
}

func pointNames(p *kpi.Point, interval kpi.Interval) (short, long string) {
	if interval == kpi.Hourly {
		short = p.From.Format("15:04")
		if p.From.Hour() == 0 {
			short = p.From.Format("2 Jan")
		}
		return short, p.From.Format("Mon 2 Jan, 15:04") + " – " + p.To.Format("15:04")
	}
	return p.From.Format("2 Jan"), p.From.Format("Mon 2 Jan 2006")
}

func per(a *asked) string {
	if a.Query.Interval == kpi.Hourly {
		return "hour"
	}
	return "day"
}

// stack is the chart of jobs by status.
func (v *request) stack(a *asked, points []kpi.Point) chart {
	c := v.byPoint(a, "stack", "stack", "jobs per "+per(a), points)
	c.Title, c.Help = "Jobs per "+per(a), "by how they ended"
	c.Table.Columns = []string{"jobs"}
	for _, s := range inOrder {
		one := series{Key: string(s), Text: statusWord(s)}
		for i := range points {
			one.Values = append(one.Values, float(countOf(&points[i].Statuses, s)))
		}
		c.Data.Series = append(c.Data.Series, one)
		c.Legend = append(c.Legend, legend{string(s), statusWord(s)})
		c.Table.Columns = append(c.Table.Columns, statusWord(s))
	}
	for i := range points {
		row := numberRow{Name: c.Data.Long[i], Numbers: []number{jobs.number(at(i), &points[i].Stats)}}
		for _, s := range inOrder {
			row.Numbers = append(row.Numbers, whole64(countOf(&points[i].Statuses, s), at(i)+".statuses."+string(s)))
		}
		c.Table.Rows = append(c.Table.Rows, row)
	}
	return c
}

// at is the path of a point in an answer.
func at(i int) string { return "series." + whole(i) }

// band is the chart of durations over time.
func (v *request) band(a *asked, points []kpi.Point) chart {
	c := v.byPoint(a, "band", "band", "duration", points)
	c.Title, c.Help = "Duration", "of jobs that passed"
	if len(a.Query.Filter.Statuses) > 0 {
		c.Help = "of jobs with the chosen status"
	}
	for _, m := range []*measure{p50, p95} {
		one := series{Key: m.column, Text: m.title}
		for i := range points {
			one.Values = append(one.Values, m.of(&points[i].Stats))
		}
		c.Data.Series = append(c.Data.Series, one)
		c.Legend = append(c.Legend, legend{m.column, m.title})
	}
	c.Table.Columns = []string{p50.title, p95.title}
	for i := range points {
		c.Table.Rows = append(c.Table.Rows, numberRow{c.Data.Long[i], []number{p50.number(at(i), &points[i].Stats), p95.number(at(i), &points[i].Stats)}})
	}
	return c
}

// heat is the chart of durations by point of the series and bucket.
func (v *request) heat(a *asked, t *kpi.Template) chart {
	c := v.byPoint(a, "heat", "heat", "duration", t.Series)
	c.Title, c.Help = "Durations by "+per(a), "how many of the jobs that passed took how long"
	c.Data.Bounds, c.Data.Cells = t.Distribution.Bounds, t.Distribution.Heat
	for i := range c.Data.Bounds {
		c.Table.Columns = append(c.Table.Columns, bucket(c.Data.Bounds, i))
	}
	c.Data.Buckets = c.Table.Columns
	for i, cells := range c.Data.Cells {
		row := numberRow{Name: c.Data.Long[i]}
		for j, n := range cells {
			row.Numbers = append(row.Numbers, whole64(n, "distribution.heat."+whole(i)+"."+whole(j)))
		}
		c.Table.Rows = append(c.Table.Rows, row)
	}
	return c
}

// distribution is the chart of how long jobs that passed, and those that did not, took.
func (v *request) distribution(a *asked, t *kpi.Template) chart {
	d := &t.Distribution
	c := chart{ID: "distribution", Title: "Distribution of durations", Help: "share of the jobs that passed, and of those that failed or timed out",
		Data: chartData{Kind: "distribution", Unit: "share of jobs"}, Table: &numbers{Link: a.link(), Columns: []string{"passed", "failed"}}}
	c.Legend = []legend{{"success", "passed"}, {"failed", "failed or timed out"}}
	passed, lost := series{Key: "success", Text: "passed"}, series{Key: "failed", Text: "failed or timed out"}
	for i, bound := range d.Bounds {
		long := bucket(d.Bounds, i)
		c.Data.Labels, c.Data.Long = append(c.Data.Labels, seconds(bound)), append(c.Data.Long, long)
		passed.Values, lost.Values = append(passed.Values, float(d.Success[i])), append(lost.Values, float(d.Failed[i]))
		c.Table.Rows = append(c.Table.Rows, numberRow{long, []number{
			whole64(d.Success[i], "distribution.success."+whole(i)), whole64(d.Failed[i], "distribution.failed."+whole(i)),
		}})
	}
	c.Data.Series, c.Data.Bounds = []series{passed, lost}, d.Bounds
	return c
}

// bucket is which durations are in one.
func bucket(bounds []float64, i int) string {
	if i == 0 {
		return "up to " + seconds(bounds[i])
	}
	return seconds(bounds[i-1]) + " – " + seconds(bounds[i])
}
