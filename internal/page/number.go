package page

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// A number is one of an answer's, as it is shown.
type number struct {
	Text  string
	Unit  string
	Value string // as JSON has it; empty: null
	Of    string // where in the answer it is: names, divided by dots
}

// none is shown where there is no number.
const none = "–"

const (
	thin    = "\u202f" // a narrow space that does not break, between thousands and before units
	minus   = "\u2212"
	percent = "%"
)

func raw(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// count is a whole number with its thousands apart, as 60 000.
func count(v float64) string {
	digits := strconv.FormatFloat(math.Abs(math.Round(v)), 'f', 0, 64)
	var b strings.Builder
	if v <= -0.5 {
		b.WriteString(minus)
	}
	for i, d := range digits {
		if left := len(digits) - i; i > 0 && left%3 == 0 {
			b.WriteString(thin)
		}
		b.WriteRune(d)
	}
	return b.String()
}

// whole64 is a number of jobs in an answer.
func whole64(n int64, of string) number {
	return number{Text: count(float64(n)), Value: strconv.FormatInt(n, 10), Of: of}
}

// decimals is a number with so many digits behind the point.
func decimals(v float64, digits int) string {
	if digits == 0 {
		return count(v)
	}
	text := strconv.FormatFloat(math.Abs(v), 'f', digits, 64)
	whole, rest, _ := strings.Cut(text, ".")
	n, _ := strconv.ParseFloat(whole, 64)
	sign := ""
	if v < 0 && strings.Trim(text, "0.") != "" {
		sign = minus
	}
	return sign + count(n) + "." + rest
}

// significant is how many digits behind the point are worth to be shown of v, where three
// in all are enough.
func significant(v float64) int {
	switch v = math.Abs(v); {
	case v >= 99.95:
		return 0
	case v >= 9.995:
		return 1
	}
	return 2
}

// hours are some, however few.
func hours(v float64) string {
	if v == 0 {
		return "0"
	}
	return decimals(max(v, 0.01), significant(v))
}

// share is a part of 1 in percent. Less than all is never shown as all, nor some as none.
func share(v float64) string {
	p := v * 100
	switch {
	case v < 1 && p > 99.9:
		return "99.9"
	case v > 0 && p < 0.1:
		return "0.1"
	case v == 0 || v == 1:
		return count(p)
	}
	return decimals(p, 1)
}

// seconds is how long something takes, in at most two units.
func seconds(v float64) string {
	switch {
	case v <= 0:
		return "0" + thin + "s"
	case v < 0.9995:
		return count(max(1, v*1000)) + thin + "ms"
	case v < 9.95:
		return decimals(v, 1) + thin + "s"
	case v < 59.5:
		return count(v) + thin + "s"
	}
	return longer(time.Duration(math.Round(v)) * time.Second)
}

func longer(d time.Duration) string {
	hours, minutes, rest := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60
	switch {
	case hours >= 100:
		return count(float64(hours)) + thin + "h"
	case hours > 0:
		return two(hours, "h", minutes, "min")
	}
	return two(minutes, "min", rest, "s")
}

func two(a int, unit string, b int, small string) string {
	text := whole(a) + thin + unit
	if b > 0 {
		text += " " + whole(b) + thin + small
	}
	return text
}
