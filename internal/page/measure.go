package page

import "ci-jobs-metrics/internal/kpi"

// A measure is a KPI: what it is, where answers have it, and how it is written.
type measure struct {
	column  string // of tables at the API, by which they are sorted
	field   string // of kpi.Stats as JSON
	title   string
	short   string // title of columns; empty: the same
	help    string
	of      func(*kpi.Stats) *float64
	text    func(float64) (text, unit string)
	verdict func(*kpi.Verdicts) kpi.Verdict // nil: neither more nor less is better
	points  bool                            // changes are told in points of a percentage
	level   bool                            // it does not grow with the length of a period
	span    float64                         // how much the axis of a spark has at least; 0: it begins at zero
}

func (m *measure) number(path string, s *kpi.Stats) number {
	n := number{Text: none, Of: path + "." + m.field}
	if v := m.of(s); v != nil {
		n.Text, n.Unit = m.text(*v)
		n.Value = raw(*v)
	}
	return n
}

func inCount(v float64) (text, unit string)   { return count(v), "" }
func inPercent(v float64) (text, unit string) { return share(v), percent }
func inHours(v float64) (text, unit string)   { return hours(v), "h" }
func inSeconds(v float64) (text, unit string) { return seconds(v), "" }

func float(n int64) *float64 { return new(float64(n)) }

// The measures.
var (
	jobs = &measure{column: "jobs", field: "jobs", title: "Jobs", help: "finished, whatever their status",
		of: func(s *kpi.Stats) *float64 { return float(s.Jobs) }, text: inCount}
	successRate = &measure{column: "success_rate", field: "success_rate", title: "Success rate", help: "of those that passed, failed or timed out",
		of: func(s *kpi.Stats) *float64 { return s.SuccessRate }, text: inPercent, verdict: func(v *kpi.Verdicts) kpi.Verdict { return v.SuccessRate }, points: true, level: true, span: 0.2}
	projects = &measure{column: "projects", field: "projects", title: "Projects", help: "with at least one job",
		of: func(s *kpi.Stats) *float64 { return float(int64(s.Projects)) }, text: inCount, verdict: func(v *kpi.Verdicts) kpi.Verdict { return v.Projects }}
	templates = &measure{column: "templates", field: "templates", title: "Templates", help: "with at least one job",
		of: func(s *kpi.Stats) *float64 { return float(int64(s.Templates)) }, text: inCount}
	ciHours = &measure{column: "ci_hours", field: "ci_hours", title: "CI hours", help: "that all jobs took together",
		of: func(s *kpi.Stats) *float64 { return &s.CIHours }, text: inHours}
	hoursLost = &measure{column: "hours_lost", field: "hours_lost", title: "Hours lost", help: "to jobs that failed or timed out",
		of: func(s *kpi.Stats) *float64 { return &s.HoursLost }, text: inHours, verdict: func(v *kpi.Verdicts) kpi.Verdict { return v.HoursLost }}
	flaky = &measure{column: "flaky", field: "flaky", title: "Flaky", help: "passed in another try, for the same commit",
		of: func(s *kpi.Stats) *float64 { return float(s.Flaky) }, text: inCount, verdict: func(v *kpi.Verdicts) kpi.Verdict { return v.Flaky }}
	p50 = &measure{column: "p50", field: "durations.p50_seconds", title: "Median", help: "duration of jobs that passed",
		of: func(s *kpi.Stats) *float64 { return s.Durations.P50 }, text: inSeconds, verdict: func(v *kpi.Verdicts) kpi.Verdict { return v.P50 }, level: true}
	p95 = &measure{column: "p95", field: "durations.p95_seconds", title: "95th percentile", short: "p95", help: "of the durations: one job in 20 takes longer",
		of: func(s *kpi.Stats) *float64 { return s.Durations.P95 }, text: inSeconds, verdict: func(v *kpi.Verdicts) kpi.Verdict { return v.P95 }, level: true}
)

// called is the measure with another title, where that says more.
func (m *measure) called(title string) *measure {
	other := *m
	other.title = title
	return &other
}

// neutral is the measure without a verdict.
func (m *measure) neutral() *measure {
	other := *m
	other.verdict = nil
	return &other
}

// A tile is a measure of all the jobs that a page is about.
type tile struct {
	Title, Help string
	Number      number
	Change      change
	Spark       *spark
	Note        string
}

// tiles are those of an answer.
func (v *request) tiles(c *kpi.Compared, series []kpi.Point, measures ...*measure) (made []tile) {
	for _, m := range measures {
		t := tile{
			Title: m.title, Help: m.help, Number: m.number("current", &c.Current),
			Spark: m.spark(series),
		}
		if c.Previous.Jobs > 0 {
			t.Change = v.change(m, "previous", c)
		}
		if m.field == successRate.field {
			t.Note = ofUnknown(&c.Current)
		}
		made = append(made, t)
	}
	return made
}

// worthNote is from which share of jobs on the unknown ones make the success rate doubtful.
const worthNote = 0.01

func ofUnknown(s *kpi.Stats) string {
	if s.Jobs == 0 || float64(s.Statuses.Unknown) < worthNote*float64(s.Jobs) {
		return ""
	}
	return share(float64(s.Statuses.Unknown)/float64(s.Jobs)) + thin + percent + " ended unknown"
}
