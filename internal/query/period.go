package query

import (
	"strconv"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/rollup"
)

// defaultLast is how long a period is that nobody chose.
const defaultLast = "30d"

const day = 24 * time.Hour

const (
	local    = "2006-01-02T15:04" // in the reporting time zone
	maxLast  = int(kpi.MaxPeriod / day)
	aMoment  = "2006-01-02 or 2006-01-02T15:04 in the reporting time zone, or RFC 3339 such as 2006-01-02T15:04:00+01:00"
	aQuarter = "give a whole hour, or a quarter of one"
)

func (d *decoder) readPeriod() error {
	if !d.takes("last") {
		return nil
	}
	p := &d.request.Query.Period
	p.To = d.endOfHour()
	if d.Values.Has("from") || d.Values.Has("to") {
		return d.fromTo(p)
	}
	length, err := d.last()
	p.From = p.To.Add(-length)
	return err
}

func (d *decoder) fromTo(p *kpi.Period) (err error) {
	if d.Values.Has("last") {
		return bad("last", "give either last, or from and to", "last is given beside from or to")
	}
	if !d.Values.Has("from") {
		return bad("from", "give from as well, or last", "to is given without from")
	}
	if p.From, err = d.moment("from"); err != nil {
		return err
	}
	blame := "from"
	if d.Values.Has("to") {
		blame = "to"
		if p.To, err = d.moment("to"); err != nil {
			return err
		}
	}
	if err := p.Check(); err != nil {
		return bad(blame, "give from before to, "+strconv.Itoa(maxLast)+" days apart at most", "%s", err.Error())
	}
	return nil
}

// endOfHour is when the current hour of the reporting zone ends.
func (d *decoder) endOfHour() time.Time {
	_, offset := d.Now.In(d.Calendar.Zone()).Zone() // of some zones not whole hours
	shift := time.Duration(offset) * time.Second
	return d.Now.UTC().Add(shift).Truncate(time.Hour).Add(time.Hour - shift)
}

// units of the length of a period.
var units = map[string]time.Duration{"h": time.Hour, "d": day, "w": 7 * day}

// last is the length of the period.
func (d *decoder) last() (time.Duration, error) {
	value := d.get("last", defaultLast)
	number, unit := value[:max(len(value)-1, 0)], units[value[max(len(value)-1, 0):]]
	n, err := strconv.ParseUint(number, 10, 16) // of hours, the longest period fits
	if length := time.Duration(n) * unit; err == nil && length > 0 && length <= kpi.MaxPeriod {
		return length, nil
	}
	return 0, bad("last", "give a whole number of hours, days or weeks, such as 24h, 7d or 12w, "+strconv.Itoa(maxLast)+"d at most",
		"last can't be %q", job.Quote(value))
}

// moment reads a parameter that says when.
func (d *decoder) moment(name string) (time.Time, error) {
	value := d.Values.Get(name)
	t, err := d.parse(name, value)
	if err == nil && !rollup.SlotOf(t).Start().Equal(t) {
		err = bad(name, aQuarter, "%s %q is in the middle of a quarter of an hour", name, job.Quote(value))
	}
	return t, err
}

func (d *decoder) parse(name, value string) (time.Time, error) {
	if date, err := time.Parse(time.DateOnly, value); err == nil {
		return d.startOf(name, date)
	}
	if clock, err := time.Parse(local, value); err == nil {
		return d.instant(name, clock)
	}
	t, err := job.ParseTime(value)
	if err != nil {
		return t, bad(name, "write "+aMoment, "%s can't be %q", name, job.Quote(value))
	}
	return t, nil
}

// startOf is when a day of the reporting zone begins: not always at midnight, where clocks
// are set then.
func (d *decoder) startOf(name string, date time.Time) (time.Time, error) {
	of := rollup.DateOf(date.Date())
	slots := d.Calendar.Slots(of)
	if slots.From == slots.To {
		return time.Time{}, bad(name, "the next day is "+(of+1).String(), "the day %s was left out in %s", of, d.Calendar.Zone())
	}
	return slots.From.Start(), nil
}

// instant is when clocks of the reporting zone show what clock, which is in UTC, says. Of
// two such moments, where they are set back, it is the earlier one.
func (d *decoder) instant(name string, clock time.Time) (time.Time, error) {
	zone := d.Calendar.Zone()
	var t time.Time
	for _, side := range [...]time.Duration{day, -day} { // no change of clocks is near another one
		_, offset := clock.Add(side).In(zone).Zone()
		candidate := clock.Add(-time.Duration(offset) * time.Second)
		if candidate.In(zone).Format(local) == clock.Format(local) {
			t = candidate
		}
	}
	if t.IsZero() {
		_, before := clock.Add(-day).In(zone).Zone()
		change, _ := clock.Add(-time.Duration(before) * time.Second).In(zone).ZoneBounds()
		return t, bad(name, "the next time that there was is "+change.Format(local),
			"%s was left out in %s: clocks were set forward", clock.Format(local), zone)
	}
	return t, nil
}
