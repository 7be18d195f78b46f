// Package api serves the answers of package kpi over HTTP, below [query.Path]: as JSON, and tables
// and series as CSV. docs/api.md is written for its users. openapi.json, which is served too,
// describes every parameter and answer.
//
// Every query goes the same way (serve.go). Package query reads its parameters, makes its entity
// tag and bounds how many are computed at a time. Packages kpi and kpi/findings answer it
// (answers.go), and this package encodes the answer (encode.go, csv.go). A client that has the
// answer already gets 304 before anything is computed. A query that can't be answered is refused
// with problem details that name what to ask instead (refusal.go). [New] has all routes.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/problems"
	"ci-jobs-metrics/internal/query"
)

// Options configure the handler. Ledger and Problems are required.
type Options struct {
	Ledger *ledger.Ledger
	// Problems returns the input problems of recent reports, in any order. It is called from
	// several goroutines.
	Problems func(context.Context) ([]problems.Problem, error)
	Now      func() time.Time // default time.Now
	Timeout  time.Duration    // of a query, the wait for a slot included; 0: query.DefaultTimeout
	Logger   *slog.Logger     // default: none
	// Answered, if set, is called after every query that was computed, or that waited in vain for
	// a slot, with its name and how long that took.
	Answered func(name string, took time.Duration)
	Slots    *query.Slots // default: its own; package page shares them
}

func (o *Options) setDefaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Timeout == 0 {
		o.Timeout = query.DefaultTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Answered == nil {
		o.Answered = func(string, time.Duration) {}
	}
	if o.Slots == nil {
		o.Slots = query.NewSlots()
	}
}

type api struct {
	Options
	asker *kpi.Asker
}

// New returns the handler of everything below query.Path.
func New(o Options) http.Handler {
	o.setDefaults()
	a := &api{Options: o, asker: kpi.New(o.Ledger)}
	mux := http.NewServeMux()
	for _, definition := range query.All() {
		mux.Handle(query.Path+definition.Name, readOnly(a.handler(definition)))
	}
	mux.HandleFunc(query.Path+description, readOnly(describe))
	mux.HandleFunc("/", notFound)
	return mux
}
