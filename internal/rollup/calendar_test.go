package rollup_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"ci-jobs-metrics/internal/rollup"
)

// zones set their clocks at all times of the day, by an hour, a half or a whole day, or
// never did.
var zones = []string{
	"UTC", "Europe/Berlin", "Europe/London", "America/New_York", "America/St_Johns", "America/Sao_Paulo",
	"America/Havana", "America/Asuncion", "America/Caracas", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Beirut", "Asia/Gaza",
	"Asia/Pyongyang", "Africa/Cairo", "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Chatham", "Pacific/Kiritimati", "Pacific/Kwajalein",
}

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := rollup.LoadZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// From 1990 to 2040 every slot is of the day on which the clock says it begins, or of the
// latest one that it had said before, near each change of a clock and now and then between.
func TestCalendar(t *testing.T) {
	for _, name := range zones {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := calendarOf{t, zone(t, name), rollup.NewCalendar(zone(t, name))}
			r := rand.New(rand.NewPCG(1, 0))
			at, end := time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
			for ; at.Before(end); at = at.Add(24 * time.Hour) {
				switch {
				case c.offset(at) != c.offset(at.Add(24*time.Hour)):
					c.check(at, at.Add(30*time.Hour))
				case r.IntN(500) == 0:
					c.check(at, at.Add(25*time.Hour))
				}
			}
		})
	}
}

type calendarOf struct {
	*testing.T
	zone *time.Location
	rollup.Calendar
}

func (c *calendarOf) offset(at time.Time) int {
	_, seconds := at.In(c.zone).Zone()
	return seconds
}

// check looks at every slot of a time. The first hours only say which dates there were.
func (c *calendarOf) check(from, to time.Time) {
	var latest, before rollup.Day
	for at := from.Add(-4 * time.Hour); at.Before(to); at = at.Add(15 * time.Minute) {
		latest = max(latest, rollup.DateOf(at.In(c.zone).Date()))
		if at.Before(from) {
			continue
		}
		slot := rollup.SlotOf(at)
		day := c.DayOf(slot)
		if day != latest {
			c.Fatalf("%v is on %v, not on %v", at.In(c.zone), latest, day)
		}
		if slots := c.Slots(day); !slots.Contains(slot) || slots.From != c.First(day) || slots.To != c.First(day+1) {
			c.Fatalf("%v, slot %d, is none of %v, which are of its day", at.In(c.zone), slot, slots)
		}
		if day == before {
			continue
		}
		before = day
		for d := day - 1; d <= day+1; d++ { // neighbours too: a zone may have left one out
			slots := c.Slots(d)
			if slots.From < slots.To && (c.DayOf(slots.From) != d || c.DayOf(slots.To-1) != d) || slots.From > slots.To {
				c.Fatalf("%v has slots %v, which are of %v to %v", d, slots, c.DayOf(slots.From), c.DayOf(slots.To-1))
			}
		}
	}
}

// A date is the same in all forms.
func TestDays(t *testing.T) {
	for at := time.Date(1969, 12, 1, 0, 0, 0, 0, time.UTC); at.Year() < 2101; at = at.AddDate(0, 0, 1) {
		d := rollup.DateOf(at.Date())
		if d.String() != at.Format(time.DateOnly) || int64(d)*86400 != at.Unix() || rollup.DateOf(d.Date()) != d {
			t.Fatalf("%v is %v", at, d)
		}
	}
}

// A slot begins on a quarter of an hour, also before 1970, and ends with its last
// microsecond.
func TestSlots(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	for range 10_000 {
		at := time.UnixMicro(r.Int64N(1<<53) - 1<<51)
		start := rollup.SlotOf(at).Start()
		if start.After(at) || !start.Add(rollup.SlotLength).After(at) || start.UnixMicro()%900_000_000 != 0 {
			t.Fatalf("the slot of %v begins at %v", at, start)
		}
	}
}

func TestNoZone(t *testing.T) {
	for _, name := range []string{"", "Local", "Europe/Atlantis", "../etc/passwd"} {
		if _, err := rollup.LoadZone(name); err == nil {
			t.Errorf("%q is a zone", name)
		}
	}
}
