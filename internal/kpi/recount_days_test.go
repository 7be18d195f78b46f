package kpi_test

import (
	"regexp"
	"strings"
	"time"

	"ci-jobs-metrics/internal/kpi"
)

// A calendar says on which day of a time zone a moment is. Days are written as their
// midnight in UTC, whenever they begin in the zone.
type calendar struct {
	zone   *time.Location
	starts map[time.Time]time.Time // of days that were asked for before
}

func newCalendar(zone *time.Location) *calendar {
	return &calendar{zone, map[time.Time]time.Time{}}
}

func next(day time.Time) time.Time { return day.AddDate(0, 0, 1) }

// quarter is when the quarter of an hour begins in which a moment is.
func quarter(t time.Time) time.Time { return t.Truncate(15 * time.Minute) }

func (c *calendar) date(t time.Time) time.Time {
	year, month, day := t.In(c.zone).Date()
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

// start is when a day begins: with the first quarter of an hour that begins on that date
// or a later one. No zone is more than 14 hours ahead of UTC.
func (c *calendar) start(day time.Time) time.Time {
	start, known := c.starts[day]
	if !known {
		for start = day.Add(-15 * time.Hour); c.date(start).Before(day); {
			start = start.Add(15 * time.Minute)
		}
		c.starts[day] = start
	}
	return start
}

func (c *calendar) dayOf(t time.Time) time.Time {
	day := c.date(t).AddDate(0, 0, -2)
	for !c.start(next(day)).After(t) {
		day = next(day)
	}
	return day
}

// days are those of a period, with dates that a zone left out.
func (c *calendar) days(p kpi.Period) (days []time.Time) {
	last := c.dayOf(p.To.Add(-1))
	for day := c.dayOf(p.From); !day.After(last); day = next(day) {
		days = append(days, day)
	}
	return days
}

// anyOf says whether a text is as any of some patterns says; if there are none it is.
func anyOf(patterns []kpi.Pattern, text string) bool {
	for _, p := range patterns {
		if expression(p).MatchString(text) {
			return true
		}
	}
	return len(patterns) == 0
}

var expressions = map[kpi.Pattern]*regexp.Regexp{}

func expression(p kpi.Pattern) *regexp.Regexp {
	if expressions[p] == nil {
		expressions[p] = compile(p)
	}
	return expressions[p]
}

// compile makes the regular expression that says the same as a pattern.
func compile(p kpi.Pattern) *regexp.Regexp {
	var b strings.Builder
	escaped := false
	for _, c := range string(p) {
		switch {
		case escaped:
			b.WriteString(regexp.QuoteMeta(string(c)))
			escaped = false
		case c == '\\':
			escaped = true
		case c == '*':
			b.WriteString(".*")
		case c == '?':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	if escaped { // there is nothing behind it
		b.WriteString(`\\`)
	}
	return regexp.MustCompile(`(?s)\A` + b.String() + `\z`)
}
