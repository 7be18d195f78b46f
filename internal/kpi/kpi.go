// Package kpi computes the numbers of a platform team about its CI templates: who uses them, with which
// results, and what takes the time. docs/kpi.md defines every number with its formula.
//
// An [Asker] takes a [Query], which is a period and filters, and computes an answer from the roll-ups of
// the ledger (package rollup), beside the numbers of the period before and a verdict on the difference:
//
//	o, err := kpi.New(ledger).Overview(ctx, kpi.Query{Period: period})
//
// Counts are exact. Quantiles are within 4.4 %. An answer names its last job (as of): it contains every
// job that was acknowledged before the query. Packages api and page show the answers, and package
// findings suggests what to improve.
package kpi

import (
	"errors"
	"fmt"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/rollup"
)

// An Asker answers queries from a ledger. Its methods may be called from several goroutines.
type Asker struct{ ledger *ledger.Ledger }

// New returns an Asker.
func New(l *ledger.Ledger) *Asker { return &Asker{l} }

// Zone returns the time zone of the days in answers.
func (a *Asker) Zone() *time.Location { return a.ledger.Calendar().Zone() }

// A Query selects jobs by their period and a filter.
type Query struct {
	Period   Period
	Filter   Filter
	Interval Interval // of series; the zero value is Daily
}

// An Interval is the length of the points of a series.
type Interval string

// Intervals: days of the reporting time zone, which the period may cut at both ends, and hours counted
// from the period's beginning.
const (
	Daily  Interval = "day"
	Hourly Interval = "hour"
)

// MaxHours is the longest period with a series by the hour, in hours.
const MaxHours = 31 * 24

// A Period is the time from From up to, and without, To. Both are whole quarters of an hour. A job is in
// it if it finished in it.
type Period struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// MaxPeriod is the longest period.
const MaxPeriod = 800 * 24 * time.Hour

// setBack is added to the longest period: the hour by which clocks are set back.
const setBack = time.Hour

// ErrPeriod means that a period is not valid.
var ErrPeriod = errors.New("the period")

// Check returns an error with a remedy if the period can't have an answer.
func (p Period) Check() error {
	switch {
	case !aligned(p.From) || !aligned(p.To):
		return fmt.Errorf("%w has to begin and end on a whole hour (quarters of an hour will do)", ErrPeriod)
	case !p.From.Before(p.To):
		return fmt.Errorf("%w has to end after it begins", ErrPeriod)
	case p.To.Sub(p.From) > MaxPeriod+setBack:
		return fmt.Errorf("%w is longer than %d days", ErrPeriod, MaxPeriod/(24*time.Hour))
	case p.From.Before(earliest) || p.To.After(latest):
		return fmt.Errorf("%w is outside of %d to %d", ErrPeriod, earliest.Year(), latest.Year())
	}
	return nil
}

var (
	earliest = time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2190, 1, 1, 0, 0, 0, 0, time.UTC)
)

// Check returns an error with a remedy if the period can't have an answer, or no series by the interval.
func (q *Query) Check() error {
	if err := q.Period.Check(); err != nil {
		return err
	}
	if q.Interval == Hourly && q.Period.To.Sub(q.Period.From) > MaxHours*time.Hour+setBack {
		return fmt.Errorf("%w is too long for a series by the hour: ask for %d days at most, or by the day", ErrPeriod, MaxHours/24)
	}
	return nil
}

func aligned(t time.Time) bool { return t.Equal(rollup.SlotOf(t).Start()) }

// Previous returns the period of the same length that ends where p begins.
func (p Period) Previous() Period { return Period{p.From.Add(p.From.Sub(p.To)), p.From} }

func (p Period) slots() rollup.Range {
	return rollup.Range{From: rollup.SlotOf(p.From), To: rollup.SlotOf(p.To)}
}

// A Filter chooses jobs. For each list that is not empty, the job's field must match one of its
// elements.
type Filter struct {
	Templates []Pattern    `json:"template,omitempty"`
	Projects  []Pattern    `json:"project,omitempty"`
	Versions  []Pattern    `json:"version,omitempty"`
	Statuses  []job.Status `json:"status,omitempty"`
}

// Meta is the meta data of an answer.
type Meta struct {
	AsOf     AsOf   `json:"as_of"`
	TimeZone string `json:"time_zone"` // of the days
	Period   Period `json:"period"`
	Previous Period `json:"previous_period"`
	Filter   Filter `json:"filter"`
	// RecordedSince is the time since when jobs are recorded: a period that began earlier has
	// fewer jobs than ran in it.
	RecordedSince time.Time `json:"recorded_since"`
}

// Comparable reports whether the period before is recorded as a whole, so that numbers can be
// compared with it.
func (m *Meta) Comparable() bool { return m.Period.comparable(m.RecordedSince) }

// AsOf is the last job in an answer. The answer has all jobs before it too.
type AsOf struct {
	Job  int64     `json:"job"`  // its number in the ledger; 0: there is none yet
	Time time.Time `json:"time"` // when it was received; see ledger.Received
}

// Stats are the numbers about some jobs.
type Stats struct {
	Jobs        int64     `json:"jobs"`
	Statuses    Statuses  `json:"statuses"`
	SuccessRate *float64  `json:"success_rate"` // 0 to 1; null where no job passed or failed
	Projects    int       `json:"projects"`     // with a job
	Templates   int       `json:"templates"`    // with a job
	Timed       int64     `json:"timed"`        // jobs whose duration is known
	CIHours     float64   `json:"ci_hours"`
	HoursLost   float64   `json:"hours_lost"` // of failed and timed out jobs
	Durations   Durations `json:"durations"`
	// Flaky is how many successes came after a failure of the same job for the same commit,
	// and FlakyHours what those failures had taken.
	Flaky      int64   `json:"flaky"`
	FlakyHours float64 `json:"flaky_hours"`
}

// Statuses are the numbers of jobs by status.
type Statuses struct {
	Success  int64 `json:"success"`
	Failed   int64 `json:"failed"`
	Canceled int64 `json:"canceled"`
	Skipped  int64 `json:"skipped"`
	TimedOut int64 `json:"timedout"`
	Unknown  int64 `json:"unknown"`
}

// Durations are the durations of jobs in seconds: of the successful jobs, or, if the query filters by
// status, of the jobs that match.
type Durations struct {
	Jobs int64    `json:"jobs"` // whose duration is known
	Mean *float64 `json:"mean_seconds"`
	P50  *float64 `json:"p50_seconds"`
	P95  *float64 `json:"p95_seconds"`
}

// Compared has the numbers of a period and of the period before, and what the difference means.
type Compared struct {
	Current  Stats    `json:"current"`
	Previous Stats    `json:"previous"`
	Verdicts Verdicts `json:"verdicts"`
}

// A Point is the part of a period in one day or hour.
type Point struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	Stats
}

// Overview has the numbers of all templates together.
type Overview struct {
	Meta
	Compared
	Series []Point `json:"series"`
}

// A Distribution counts jobs by duration. Bucket i holds durations above Bounds[i-1] and up to
// Bounds[i] seconds. The first bucket also holds durations of 0.
type Distribution struct {
	Bounds  []float64 `json:"bounds_seconds"` // each 2^(1/2) times the one before
	Success []int64   `json:"success"`
	Failed  []int64   `json:"failed"` // and timed out
	// Heat are, for each Point of the series, the jobs of Durations by the same buckets.
	Heat [][]int64 `json:"heat"`
}

// Template has the numbers of one template. Its projects, versions and failures are other answers,
// filtered by it.
type Template struct {
	Meta
	Template string `json:"template"`
	Compared
	Series       []Point      `json:"series"`
	Distribution Distribution `json:"distribution"`
}

// Project has the numbers of one project, and the templates that it does not use.
type Project struct {
	Meta
	Project string `json:"project"`
	Compared
	Series []Point `json:"series"`
	Unused []Usage `json:"unused"` // templates of the period that only others use, most projects first; MaxUnused at most
}

// MaxUnused is the largest length of Project.Unused.
const MaxUnused = 100

// Usage counts the projects and jobs of a template.
type Usage struct {
	Template string `json:"template"`
	Projects int    `json:"projects"`
	Jobs     int64  `json:"jobs"`
}

// A TemplateRow is a row of the table of templates.
type TemplateRow struct {
	Template string `json:"template"`
	Compared
	Trend []int64 `json:"trend"` // jobs for each day of the period
}

// A ProjectRow is a row of the table of projects.
type ProjectRow struct {
	Project string `json:"project"`
	Compared
	Trend   []int64 `json:"trend"`
	LastDay string  `json:"last_day"` // of the period with a job, as 2006-01-02; empty: none
}

// A VersionRow is a row of the table of versions.
type VersionRow struct {
	Template string `json:"template"`
	Version  string `json:"version"` // empty: jobs that were sent without
	Compared
	Share    *float64 `json:"share"`     // of the template's jobs in the period that the filter lets through
	Trend    []int64  `json:"trend"`     // jobs for each day of the period
	FirstDay string   `json:"first_day"` // of the period with a job
	LastDay  string   `json:"last_day"`
}

// A FailedJob is a job that failed or timed out.
type FailedJob struct {
	Number   int64      `json:"number"` // in the ledger
	ID       string     `json:"id"`
	Template string     `json:"template"`
	Project  string     `json:"project"`
	Version  string     `json:"version"`
	Status   job.Status `json:"status"`
	Finished time.Time  `json:"finished"`
	Duration *float64   `json:"duration_seconds"`
	Job      string     `json:"job"` // GitLab's own name of it
	URL      string     `json:"url"`
	Stage    string     `json:"stage"`
	Ref      string     `json:"ref"`
	SHA      string     `json:"sha"`
	Pipeline string     `json:"pipeline"`
	Runner   string     `json:"runner"`
	Source   string     `json:"source"`
}

// A Page is a part of a table.
type Page[Row any] struct {
	Meta
	Total  int   `json:"total"` // rows of the whole table
	Offset int   `json:"offset"`
	Items  []Row `json:"items"`
}

// A Cut selects a part of a table, and its order.
type Cut struct {
	Sort       string // one of the table's columns; empty: its first choice
	Descending bool
	Offset     int
	Limit      int // rows; 0: all
}
