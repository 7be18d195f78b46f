package kpi_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/rollup"
)

func TestPeriods(t *testing.T) {
	w := &world{T: t, zone: load(t, "Europe/Berlin")}
	w.openWhole(rollup.Options{Zone: w.zone})
	defer w.Close(t.Context())
	at := func(year int, month time.Month, day, minute int) time.Time {
		return time.Date(year, month, day, 0, minute, 0, 0, w.zone)
	}
	for what, test := range map[string]struct {
		from, to time.Time
		hourly   bool
		wrong    string // part of the error; empty: none
	}{
		"a day":                            {from: at(2026, 3, 29, 0), to: at(2026, 3, 30, 0)},
		"a quarter of an hour":             {from: at(2026, 3, 29, 15), to: at(2026, 3, 29, 30)},
		"800 days":                         {from: at(2024, 1, 1, 0), to: at(2026, 3, 11, 0)},
		"800 days, one of 25 hours":        {from: at(2023, 8, 30, 0), to: at(2025, 11, 7, 0)},
		"801 days":                         {from: at(2024, 1, 1, 0), to: at(2026, 3, 12, 0), wrong: "longer than 800 days"},
		"31 days by the hour":              {from: at(2026, 1, 1, 0), to: at(2026, 2, 1, 0), hourly: true},
		"31 days, one of 25 hours":         {from: at(2026, 10, 1, 0), to: at(2026, 11, 1, 0), hourly: true},
		"32 days by the hour":              {from: at(2026, 1, 1, 0), to: at(2026, 2, 2, 0), hourly: true, wrong: "31 days at most"},
		"nothing":                          {from: at(2026, 1, 1, 0), to: at(2026, 1, 1, 0), wrong: "end after it begins"},
		"backwards":                        {from: at(2026, 1, 2, 0), to: at(2026, 1, 1, 0), wrong: "end after it begins"},
		"no time":                          {wrong: "end after it begins"},
		"an odd end":                       {from: at(2026, 1, 1, 0), to: at(2026, 1, 1, 20), wrong: "whole hour"},
		"a microsecond":                    {from: at(2026, 1, 1, 0).Add(time.Microsecond), to: at(2026, 1, 2, 0), wrong: "whole hour"},
		"before all":                       {from: at(1989, 1, 1, 0), to: at(1990, 1, 1, 0), wrong: "1990"},
		"after all":                        {from: at(2189, 12, 1, 0), to: at(2190, 2, 1, 0), wrong: "2190"},
		"the first of all, and before all": {from: at(1990, 1, 2, 0), to: at(1992, 1, 1, 0)},
	} {
		q := kpi.Query{Period: kpi.Period{From: test.from, To: test.to}}
		if test.hourly {
			q.Interval = kpi.Hourly
		}
		_, err := w.Overview(t.Context(), q)
		switch {
		case test.wrong == "" && err != nil:
			t.Errorf("%s: %v", what, err)
		case test.wrong != "" && (!errors.Is(err, kpi.ErrPeriod) || !strings.Contains(err.Error(), test.wrong)):
			t.Errorf("%s: %v, want that it is %s", what, err, test.wrong)
		}
	}
}

// Every question says what is wrong with it, and one that nobody waits for ends.
func TestQuestionsFail(t *testing.T) {
	w := &world{T: t, zone: time.UTC}
	w.clock.Store(time.Date(2026, 3, 29, 3, 0, 0, 0, time.UTC).UnixMicro())
	w.openWhole(rollup.Options{})
	defer w.Close(t.Context())
	for _, what := range questions {
		q := &question{what: what, of: "a"}
		if _, _, err := q.ask(t.Context(), w.Asker); !errors.Is(err, kpi.ErrPeriod) {
			t.Errorf("%s of no period: %v", what, err)
		}
		q.Period = kpi.Period{From: w.now().Add(-time.Hour), To: w.now()}
		if _, _, err := q.ask(over(t), w.Asker); err == nil {
			t.Errorf("%s was answered, though nobody waited", what)
		}
		q.Sort = "colour"
		_, _, err := q.ask(t.Context(), w.Asker)
		if sorts := columnsOf(what) != nil; sorts != errors.Is(err, kpi.ErrSort) {
			t.Errorf("%s by colour: %v", what, err)
		}
	}
}

func over(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
