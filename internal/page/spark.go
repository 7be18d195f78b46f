package page

import (
	"math"
	"strconv"
	"strings"
	"time"

	"ci-jobs-metrics/internal/kpi"
)

// A spark is a small line without axes: the paths of an SVG.
type spark struct {
	Line, Area string
}

// Size of the drawing, in its own units, and how much of its height stays free.
const (
	sparkWidth, sparkHeight = 100, 24
	sparkMargin             = 2
)

// leastSpark is of how many points on a line says something.
const leastSpark = 3

// spark draws the measure over a series.
func (m *measure) spark(series []kpi.Point) *spark {
	var values []float64
	for i := range series {
		if !m.level && inPart(series, i) { // it would seem to fall
			continue
		}
		v := m.of(&series[i].Stats)
		if v == nil {
			v = new(math.NaN())
		}
		values = append(values, *v)
	}
	return sparkOf(averages(values, length(kpi.Period{From: series[0].From, To: series[len(series)-1].To})), m.span)
}

// averages are those of a week up to each day, for what is longer than two: so weekends do
// not hide where it goes.
func averages(values []float64, long time.Duration) []float64 {
	const week = 7
	if long < 2*week*24*time.Hour || len(values) < 2*week || len(values) > int(long.Hours()/24)+1 {
		return values // of hours neither
	}
	var smooth []float64
	for i := week; i <= len(values); i++ {
		sum, n := 0.0, 0.0
		for _, v := range values[i-week : i] {
			if !math.IsNaN(v) {
				sum, n = sum+v, n+1
			}
		}
		smooth = append(smooth, sum/n) // NaN where there is none
	}
	return smooth
}

// inPart says whether a point is shorter than the others: the first or last one, cut by the
// period.
func inPart(series []kpi.Point, i int) bool {
	length := series[i].To.Sub(series[i].From)
	return len(series) > leastSpark && (i == 0 || i == len(series)-1) && length < longest(series)-time.Hour/2
}

// longest is how long points are. A day without a change of clocks is long enough.
func longest(series []kpi.Point) time.Duration {
	length := series[1].To.Sub(series[1].From)
	return min(length, 23*time.Hour)
}

// trend is the spark of a row's jobs by day. The first and the last day may be cut, as in
// inPart.
func trend(days []int64, cutFirst, cutLast bool) *spark {
	if len(days) > leastSpark {
		if cutFirst {
			days = days[1:]
		}
		if cutLast {
			days = days[:len(days)-1]
		}
	}
	values := make([]float64, len(days))
	for i, n := range days {
		values[i] = float64(n)
	}
	return sparkOf(averages(values, time.Duration(len(days))*24*time.Hour), 0)
}

// sparkOf draws values, of which NaN is none. Its axis begins at zero, or, if there is a span,
// where it has that at least: small changes must not look like large ones.
func sparkOf(values []float64, span float64) *spark {
	low, high, n := math.Inf(1), math.Inf(-1), 0
	for _, v := range values {
		if !math.IsNaN(v) {
			low, high, n = min(low, v), max(high, v), n+1
		}
	}
	if n < leastSpark || low == 0 && high == 0 {
		return nil
	}
	if span == 0 {
		span = high
	}
	low = min(low, high-span)
	return draw(values, func(v float64) float64 {
		return sparkHeight - sparkMargin - (v-low)/(high-low)*(sparkHeight-2*sparkMargin)
	})
}

func draw(values []float64, y func(float64) float64) *spark {
	var line, area strings.Builder
	x := func(i int) float64 { return float64(i) / float64(len(values)-1) * sparkWidth }
	begun := -1
	end := func() {
		if begun >= 0 {
			area.WriteString("V" + whole(sparkHeight) + "H" + coordinate(x(begun)) + "Z") // down, and back to where it began
		}
		begun = -1
	}
	for i, v := range values {
		if math.IsNaN(v) {
			end()
			continue
		}
		at := coordinate(x(i)) + " " + coordinate(y(v))
		if begun < 0 {
			line.WriteString("M" + at)
			area.WriteString("M" + at)
			begun = i
			continue
		}
		line.WriteString("L" + at)
		area.WriteString("L" + at)
	}
	end()
	return &spark{line.String(), area.String()}
}

func coordinate(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }
