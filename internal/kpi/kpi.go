// Package kpi answers what a platform team asks about its CI templates: who uses them,
// how they do, what takes the time. docs/kpi.md has every definition with its formula.
//
// An [Asker] takes a [Query], a period and filters, and answers with numbers over the
// roll-ups of the ledger (package rollup), beside those of the period before. Counts are
// exact. Quantiles are within 4.4 %. Every answer says as of which job it is: all that
// were acknowledged before the question are in it.
//
// Package api serves the answers as JSON and CSV.
package kpi

import (
	"errors"
	"fmt"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/rollup"
)

// An Asker answers questions from a ledger. Its methods may be called from several
// goroutines.
type Asker struct{ ledger *ledger.Ledger }

// New returns an Asker.
func New(l *ledger.Ledger) *Asker { return &Asker{l} }

// Zone is the time zone whose days answers have.
func (a *Asker) Zone() *time.Location { return a.ledger.Calendar().Zone() }

// A Query says which jobs a question is about.
type Query struct {
	Period   Period
	Filter   Filter
	Interval Interval // of series; the zero value is Daily
}

// An Interval is how long the points of a series are.
type Interval string

// Intervals: days of the reporting time zone, of which the first and the last may be cut
// by the period, and hours counted from its beginning.
const (
	Daily  Interval = "day"
	Hourly Interval = "hour"
)

// MaxHours is the longest period of which there are series by the hour.
const MaxHours = 31 * 24

// A Period is the jobs that finished from From up to, and without, To: both whole quarters
// of an hour.
type Period struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// MaxPeriod is the longest period.
const MaxPeriod = 800 * 24 * time.Hour

// setBack is how much longer than that many days a period may be: the hour by which clocks
// are set back.
const setBack = time.Hour

// ErrPeriod says that a period is none.
var ErrPeriod = errors.New("the period")

// Check fails, saying what to ask for, if there can be no answer for the period.
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

// Check fails, saying what to ask for, if there can be no answer for the period, or no
// series by the interval.
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

// Previous is the period of the same length that ends where p begins.
func (p Period) Previous() Period { return Period{p.From.Add(p.From.Sub(p.To)), p.From} }

func (p Period) slots() rollup.Range {
	return rollup.Range{From: rollup.SlotOf(p.From), To: rollup.SlotOf(p.To)}
}

// A Filter chooses jobs. Each of its lists, unless it is empty, has what one of a job's
// fields has to be: any of them.
type Filter struct {
	Templates []Pattern    `json:"template,omitempty"`
	Projects  []Pattern    `json:"project,omitempty"`
	Versions  []Pattern    `json:"version,omitempty"`
	Statuses  []job.Status `json:"status,omitempty"`
}

// Meta is what every answer says about itself.
type Meta struct {
	AsOf AsOf `json:"as_of"`
	// RecordedSince is the time since when jobs are recorded: a period that began earlier has
	// fewer jobs than ran in it.
	RecordedSince time.Time `json:"recorded_since"`
	TimeZone      string    `json:"time_zone"` // of the days
	Period        Period    `json:"period"`
	Previous      Period    `json:"previous_period"`
	Filter        Filter    `json:"filter"`
}

// Comparable reports whether the period before is recorded as a whole, so that numbers can be
// compared with it.
func (m *Meta) Comparable() bool { return m.Period.comparable(m.RecordedSince) }

// AsOf is the last job that an answer has, with all before it.
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

// Statuses is how many jobs ended in each way.
type Statuses struct {
	Success  int64 `json:"success"`
	Failed   int64 `json:"failed"`
	Canceled int64 `json:"canceled"`
	Skipped  int64 `json:"skipped"`
	TimedOut int64 `json:"timedout"`
	Unknown  int64 `json:"unknown"`
}

// Durations are how long jobs took, in seconds: of the successful ones, or, where the
// query filters by status, of those that it lets through.
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

// A Point is the part of a period that is in one day, or hour.
type Point struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	Stats
}

// Overview is the answer to how the templates do together.
type Overview struct {
	Meta
	Compared
	Series []Point `json:"series"`
}

// A Distribution is how many jobs took how long. Bucket i holds durations above
// Bounds[i-1], up to Bounds[i] seconds; the first one those of 0 too.
type Distribution struct {
	Bounds  []float64 `json:"bounds_seconds"` // each 2^(1/2) times the one before
	Success []int64   `json:"success"`
	Failed  []int64   `json:"failed"` // and timed out
	// Heat are, for each Point of the series, the jobs of Durations by the same buckets.
	Heat [][]int64 `json:"heat"`
}

// Template is the answer to how one template does. Its projects, versions and failures
// are answers of their own, filtered by it.
type Template struct {
	Meta
	Template string `json:"template"`
	Compared
	Series       []Point      `json:"series"`
	Distribution Distribution `json:"distribution"`
}

// Project is the answer to how one project does, and what it does not use.
type Project struct {
	Meta
	Project string `json:"project"`
	Compared
	Series []Point `json:"series"`
	Unused []Usage `json:"unused"` // templates of the period that only others use, most projects first; MaxUnused at most
}

// MaxUnused is how many templates Project.Unused names.
const MaxUnused = 100

// Usage is how widely a template is used.
type Usage struct {
	Template string `json:"template"`
	Projects int    `json:"projects"`
	Jobs     int64  `json:"jobs"`
}

// A TemplateRow is one of a table of templates.
type TemplateRow struct {
	Template string `json:"template"`
	Compared
	Trend []int64 `json:"trend"` // jobs for each day of the period
}

// A ProjectRow is one of a table of projects.
type ProjectRow struct {
	Project string `json:"project"`
	Compared
	Trend   []int64 `json:"trend"`
	LastDay string  `json:"last_day"` // of the period with a job, as 2006-01-02; empty: none
}

// A VersionRow is one of a table of versions.
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

// A Cut says which part of a table is wanted, and in which order.
type Cut struct {
	Sort       string // one of the table's columns; empty: its first choice
	Descending bool
	Offset     int
	Limit      int // rows; 0: all
}
