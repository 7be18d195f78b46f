package job

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

var errTime = errors.New("not an RFC 3339 time")

// ParseTime reads an RFC 3339 time with any offset. A space where the offset's
// sign should be is a "+" that was not escaped in a query or form; a lower-case
// t or z, and a space between date and time, are accepted as the RFC allows.
// The result is in UTC, cut to microseconds.
func ParseTime(s string) (time.Time, error) {
	const date = len("2006-01-02")
	if len(s) <= date {
		return time.Time{}, errTime
	}
	if s[date] == ' ' || s[date] == 't' {
		s = s[:date] + "T" + s[date+1:]
	}
	if i := strings.LastIndexByte(s, ' '); i > date {
		s = s[:i] + "+" + s[i+1:]
	}
	if strings.HasSuffix(s, "z") {
		s = s[:len(s)-1] + "Z"
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, errTime
	}
	return Instant(t), nil
}

// Instant is t as a Job holds it: in UTC, in whole microseconds, without a
// monotonic reading.
func Instant(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// parseSeconds reads a decimal number of seconds. The result is rounded to
// microseconds, and is out of every limit where a Duration can't hold it.
func parseSeconds(s string) (time.Duration, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, err
	}
	if math.IsNaN(f) {
		return 0, strconv.ErrSyntax
	}
	us := math.Round(f * 1e6)
	if limit := float64(math.MaxInt64 / int64(time.Microsecond)); us >= limit {
		return math.MaxInt64, nil
	} else if us <= -limit {
		return math.MinInt64, nil
	}
	return time.Duration(us) * time.Microsecond, nil
}
