// Package api serves the answers of package kpi over HTTP, below [Path]: as JSON, and
// tables and series as CSV. docs/api.md is for those who ask; openapi.json, which is served
// too, describes every parameter and answer.
//
// Every question goes the same way (question.go): its parameters are read and checked
// (parameters.go, period.go); its entity tag is made of what its answer depends on (tag.go),
// so that a client that has the answer already costs next to nothing; only then, and when it
// is its turn (turns.go), it is answered (answers.go) and encoded (encode.go, csv.go).
// Whatever can't be answered is a problem document that says what to ask instead
// (refusal.go). [New] has all routes.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/problems"
)

// Path is below which everything of this package is.
const Path = "/api/v1/"

// DefaultTimeout is how long a question may take. Those over 90 days of ten million jobs
// take a second at most.
const DefaultTimeout = 10 * time.Second

// Options say what is served. Ledger and Problems are needed.
type Options struct {
	Ledger *ledger.Ledger
	// Problems are what was wrong with reports lately, in any order. It is called from
	// several goroutines.
	Problems func(context.Context) ([]problems.Problem, error)
	Now      func() time.Time // default time.Now
	Timeout  time.Duration    // of a question, with the wait for its turn; 0: DefaultTimeout
	Logger   *slog.Logger     // default: none
	// Asked, if set, is told of every question that was to be computed, and how long it
	// took with the wait for its turn, also if nothing came of it.
	Asked func(question string, took time.Duration)
	Turns Turns // of questions, if others ask in them too; default: its own
}

func (o *Options) setDefaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Asked == nil {
		o.Asked = func(string, time.Duration) {}
	}
	if o.Turns == nil {
		o.Turns = NewTurns()
	}
}

type api struct {
	Options
	asker *kpi.Asker
}

// New returns the handler of everything below Path.
func New(o Options) http.Handler {
	o.setDefaults()
	a := &api{Options: o, asker: kpi.New(o.Ledger)}
	mux := http.NewServeMux()
	for i := range questions {
		mux.Handle(Path+questions[i].name, readOnly(a.handler(&questions[i])))
	}
	mux.HandleFunc(Path+description, readOnly(describe))
	mux.HandleFunc("/", nowhere)
	return mux
}

// questions are all that can be asked.
var questions = []question{
	{name: "overview", ask: (*api).overview, takes: period + filters + series},
	{name: "templates", ask: (*api).templates, takes: period + filters + table, columns: kpi.TemplateColumns, sort: "-jobs"},
	{name: "template", ask: (*api).template, takes: "name " + period + "project version status " + series},
	{name: "projects", ask: (*api).projects, takes: period + filters + table, columns: kpi.ProjectColumns, sort: "-jobs"},
	{name: "project", ask: (*api).project, takes: "name " + period + "template version status " + series},
	{name: "versions", ask: (*api).versions, takes: period + filters + table, columns: kpi.VersionColumns, sort: "-jobs"},
	{name: "failures", ask: (*api).failures, takes: period + filters + page, moving: true},
	{name: "findings", ask: (*api).findings, takes: period + "template project"},
	{name: "problems", ask: (*api).problems, takes: "template project " + table, columns: problemColumns, sort: "-last", moving: true},
}

// What several questions take.
const (
	period  = "last from to "
	filters = "template project version status "
	series  = "interval format"
	table   = "sort " + page
	page    = "limit offset format"
)

// Questions are the names of all questions: what stands behind Path, and what Asked is
// told.
func Questions() (names []string) {
	for i := range questions {
		names = append(names, questions[i].name)
	}
	return names
}
