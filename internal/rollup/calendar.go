package rollup

import (
	"fmt"
	"time"
)

// A Day is a date of the reporting time zone, as days since 1 January 1970.
type Day int32

// DateOf is the day with a date.
func DateOf(year int, month time.Month, day int) Day {
	return Day(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / secondsPerDay)
}

const secondsPerDay = 24 * 60 * 60

// Date is the day's date.
func (d Day) Date() (year int, month time.Month, day int) {
	return time.Unix(int64(d)*secondsPerDay, 0).UTC().Date()
}

// String is the date as ISO 8601 writes it.
func (d Day) String() string { return time.Unix(int64(d)*secondsPerDay, 0).UTC().Format(time.DateOnly) }

// A Slot is a quarter of an hour, counted from the Unix epoch: the finest time that the
// roll-ups know. Every time zone of today is a whole number of them away from UTC, so
// hours and days of all zones are made of whole slots.
type Slot int32

// SlotLength is how long a Slot is.
const SlotLength = 15 * time.Minute

const secondsPerSlot = int64(SlotLength / time.Second)

// SlotOf is the slot in which a moment is.
func SlotOf(t time.Time) Slot {
	s := t.Unix()
	slot := s / secondsPerSlot
	if s%secondsPerSlot < 0 {
		slot--
	}
	return Slot(slot)
}

// Start is when the slot begins.
func (s Slot) Start() time.Time { return time.Unix(int64(s)*secondsPerSlot, 0).UTC() }

// A Range is the slots from From up to, and without, To.
type Range struct{ From, To Slot }

// Contains says whether a slot is in the range.
func (r Range) Contains(s Slot) bool { return r.From <= s && s < r.To }

// A Calendar says which moments are a day of a time zone. A day begins with the first
// slot that has its date or a later one: days follow one another without gaps and never
// overlap, also where clocks are set at midnight. One that a zone left out has no slots.
type Calendar struct{ zone *time.Location }

// NewCalendar returns the calendar of a time zone.
func NewCalendar(zone *time.Location) Calendar { return Calendar{zone} }

// Zone is the time zone.
func (c Calendar) Zone() *time.Location { return c.zone }

// dateOf is the date on which a slot begins.
func (c Calendar) dateOf(s Slot) Day { return DateOf(s.Start().In(c.zone).Date()) }

// DayOf is the day to which a slot belongs.
func (c Calendar) DayOf(s Slot) Day {
	d := c.dateOf(s)
	for c.First(d+1) <= s { // the clock was set back over midnight: the new day had begun
		d++
	}
	return d
}

// First is the first slot of a day.
func (c Calendar) First(d Day) Slot {
	const search = 2 * 24 * 4                                // no zone is further from UTC, or sets its clock by more
	utc := Slot(int64(d) * (secondsPerDay / secondsPerSlot)) // when the day begins there
	// The least slot with the date or a later one. Dates are in order, but where the clock
	// is set back over midnight: then the first of several moments is the one.
	from, to := utc-search, utc+search
	for from < to {
		middle := from + (to-from)/2
		if c.dateOf(middle) >= d {
			to = middle
		} else {
			from = middle + 1
		}
	}
	for back := from - 1; back >= from-4*3; back-- {
		if c.dateOf(back) >= d {
			from = back
		}
	}
	return from
}

// Slots are all slots of a day.
func (c Calendar) Slots(d Day) Range { return Range{c.First(d), c.First(d + 1)} }

// LoadZone finds a time zone by its name in the IANA database.
func LoadZone(name string) (*time.Location, error) {
	if name == "Local" || name == "" {
		return nil, fmt.Errorf("%q is no time zone: give one of the IANA database, such as UTC or Europe/Berlin", name)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%q is no time zone: give one of the IANA database, such as UTC or Europe/Berlin", name)
	}
	return zone, nil
}
