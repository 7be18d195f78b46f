package api_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ci-jobs-metrics/internal/api"
)

// A period is what its words mean in the reporting time zone.
func TestPeriods(t *testing.T) {
	for _, test := range []struct{ zone, now, query, from, to string }{
		{"UTC", "2026-03-31T09:41:17Z", "", "2026-03-01T10:00:00Z", "2026-03-31T10:00:00Z"},
		{"UTC", "2026-03-31T10:00:00Z", "last=1h", "2026-03-31T10:00:00Z", "2026-03-31T11:00:00Z"},
		{"UTC", "2026-03-31T10:59:59.999999Z", "last=24h", "2026-03-30T11:00:00Z", "2026-03-31T11:00:00Z"},
		{"UTC", "2026-03-31T09:41:17Z", "last=2w", "2026-03-17T10:00:00Z", "2026-03-31T10:00:00Z"},
		{"UTC", "2026-03-31T09:41:17Z", "from=2026-03-30", "2026-03-30T00:00:00Z", "2026-03-31T10:00:00Z"},
		{"UTC", "2026-03-31T09:41:17Z", "from=2026-02-01&to=2026-03-01", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"},
		{"UTC", "2026-03-31T09:41:17Z", "from=2026-04-01&to=2026-05-01", "2026-04-01T00:00:00Z", "2026-05-01T00:00:00Z"}, // to come

		// A day of last has 24 hours, also where the calendar's has 23 or 25.
		{"Europe/Berlin", "2026-03-29T12:10:00Z", "last=1d", "2026-03-28T14:00:00+01:00", "2026-03-29T15:00:00+02:00"},
		{"Europe/Berlin", "2026-03-31T12:10:00Z", "from=2026-03-29&to=2026-03-30", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"},
		{"Europe/Berlin", "2026-03-31T12:10:00Z", "from=2026-03-28T00:00:00-05:00&to=2026-03-29T03:00", "2026-03-28T06:00:00+01:00", "2026-03-29T03:00:00+02:00"},
		// What clocks show twice is the first of them.
		{"Europe/Berlin", "2025-11-01T12:00:00Z", "from=2025-10-26T02:30&to=2025-10-26T03:00", "2025-10-26T02:30:00+02:00", "2025-10-26T03:00:00+01:00"},
		{"Europe/Berlin", "2025-11-01T12:00:00Z", "from=2025-10-26T01:45&to=2025-10-26T02:00", "2025-10-26T01:45:00+02:00", "2025-10-26T02:00:00+02:00"},
		{"America/New_York", "2025-11-05T12:00:00Z", "from=2025-11-02T01:00&to=2025-11-02T02:00", "2025-11-02T01:00:00-04:00", "2025-11-02T02:00:00-05:00"},
		// In the hour that comes again, the current one ends before or after it does.
		{"Europe/Berlin", "2025-10-26T00:30:00Z", "last=1h", "2025-10-26T02:00:00+02:00", "2025-10-26T02:00:00+01:00"},
		{"Europe/Berlin", "2025-10-26T01:30:00Z", "last=1h", "2025-10-26T02:00:00+01:00", "2025-10-26T03:00:00+01:00"},

		// Zones that are not whole hours away, or set their clocks by half of one.
		{"Asia/Kolkata", "2026-03-31T09:41:17Z", "last=1h", "2026-03-31T15:00:00+05:30", "2026-03-31T16:00:00+05:30"},
		{"Asia/Kathmandu", "2026-03-31T09:41:17Z", "last=1d", "2026-03-30T16:00:00+05:45", "2026-03-31T16:00:00+05:45"},
		{"America/St_Johns", "2026-03-31T02:31:00Z", "last=1h", "2026-03-31T00:00:00-02:30", "2026-03-31T01:00:00-02:30"},
		{"Australia/Lord_Howe", "2026-04-10T00:00:00Z", "from=2026-04-05T01:30&to=2026-04-05T02:00", "2026-04-05T01:30:00+11:00", "2026-04-05T02:00:00+10:30"},

		// A day begins with its first moment, which is not midnight where clocks are set then.
		{"Africa/Cairo", "2025-05-01T00:00:00Z", "from=2025-04-25&to=2025-04-26", "2025-04-25T01:00:00+03:00", "2025-04-26T00:00:00+03:00"},
		{"America/Havana", "2025-11-10T00:00:00Z", "from=2025-11-02&to=2025-11-03", "2025-11-02T00:00:00-04:00", "2025-11-03T00:00:00-05:00"},
		{"Pacific/Apia", "2012-01-10T00:00:00Z", "from=2011-12-29&to=2011-12-31", "2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00"},
	} {
		s := serveAt(t, test.zone, test.now)
		p := at(t, s.get(t, "/api/v1/overview?"+test.query), "period")
		if got, want := fmt.Sprint(p), fmt.Sprintf("map[from:%s to:%s]", test.from, test.to); got != want {
			t.Errorf("%s, %s, %s:\n%s\n%s", test.zone, test.now, test.query, got, want)
		}
		s.stop()
	}
}

// A time that was left out is refused with the next one that there was.
func TestLeftOut(t *testing.T) {
	for _, test := range []struct{ zone, from, next string }{
		{"Europe/Berlin", "2026-03-29T02:00", "2026-03-29T03:00"},
		{"Europe/Berlin", "2026-03-29T02:45", "2026-03-29T03:00"},
		{"America/New_York", "2026-03-08T02:30", "2026-03-08T03:00"},
		{"Australia/Lord_Howe", "2025-10-05T02:15", "2025-10-05T02:30"},
		{"Africa/Cairo", "2025-04-25T00:00", "2025-04-25T01:00"},
		{"Pacific/Apia", "2011-12-30T12:00", "2011-12-31T00:00"},
		{"Pacific/Apia", "2011-12-30", "2011-12-31"},
	} {
		s := serveAt(t, test.zone, "2026-03-31T09:41:17Z")
		response, body := s.ask(t, "GET", "/api/v1/overview?from="+test.from+"&to=2026-03-31")
		remedy, _ := parse(t, body)["remedy"].(string)
		if response.StatusCode != 400 || !strings.HasSuffix(remedy, " is "+test.next) {
			t.Errorf("%s, %s: %s: %s, want %s", test.zone, test.from, response.Status, remedy, test.next)
		}
		s.stop()
	}
}

func serveAt(t *testing.T, zone, now string) *service {
	t.Helper()
	moment, err := time.Parse(time.RFC3339, now)
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, zone, func(o *api.Options) { o.Now = func() time.Time { return moment } })
}
