package api

import (
	"net/url"
	"slices"
	"time"

	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/rollup"
)

// A Request is what a question's parameters say, found to be in order.
type Request struct {
	Name  string // of the template or project that is asked about
	Query kpi.Query
	Cut   kpi.Cut
}

// Read reads the parameters of one of Questions, for those who show its answer in another
// form. Its error says what to ask instead.
func Read(values url.Values, name string, now time.Time, calendar rollup.Calendar) (Request, error) {
	at := slices.IndexFunc(questions, func(q question) bool { return q.name == name })
	d := decoder{question: &questions[at], values: values, now: now, calendar: calendar}
	err := d.read()
	return Request{d.name, d.query, d.cut}, err
}
