// Package page is what people look at: the answers of package kpi as pages, for those who
// neither run Grafana nor write PromQL.
//
// A request goes one way (visit.go): the parameters in its address are read as the API reads
// them, by package api, once for each question that the page asks (parts in [views]). When it
// is the page's turn, the questions are asked, and the page's build function (overview.go,
// template.go, project.go, lists.go) turns the answers into a [document]: tiles, charts and
// tables. One template lays out all documents (templates/). So every number on a page is one
// of an answer, and each table links to its answer as JSON and CSV.
//
// Pages work without JavaScript, except for charts, beside which there are tables. All state
// is in the address; the theme and whether to refresh are the browser's affair
// (static/app.js). Nothing is loaded from elsewhere, which a Content-Security-Policy makes
// sure of (send.go).
package page

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"ci-jobs-metrics/internal/api"
	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/problems"
)

// Options say what is shown. Ledger and Problems are needed.
type Options struct {
	Ledger *ledger.Ledger
	// Problems and Asked are those of api.Options; Turns are best shared with it.
	Problems func(context.Context) ([]problems.Problem, error)
	Asked    func(question string, took time.Duration)
	Turns    api.Turns
	// Findings, if set, are where it is worth to improve something, the costliest first.
	// They depend on nothing but the query and the ledger.
	Findings func(context.Context, kpi.Query) ([]Finding, error)
	Now      func() time.Time // default time.Now
	Timeout  time.Duration    // of a page, with the wait for its turn; 0: api.DefaultTimeout
	Logger   *slog.Logger     // default: none
}

// A Finding is something that it is worth to improve.
type Finding struct {
	Kind     string // in one word
	Title    string
	Text     string
	Cost     *float64 // CI hours in 30 days; nil: not known
	Link     string   // to a page that shows it; empty: there is none
	Evidence []Evidence
}

// Evidence is one number that a Finding is about, as people read it.
type Evidence struct{ Label, Before, After string }

func (o *Options) setDefaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Timeout == 0 {
		o.Timeout = api.DefaultTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Asked == nil {
		o.Asked = func(string, time.Duration) {}
	}
}

type pages struct {
	Options
	asker *kpi.Asker
}

// New returns the handler of all that is behind Patterns.
func New(o Options) http.Handler {
	o.setDefaults()
	p := &pages{Options: o, asker: kpi.New(o.Ledger)}
	mux := http.NewServeMux()
	for i := range views {
		mux.HandleFunc("GET "+views[i].pattern(), p.handler(&views[i]))
	}
	mux.HandleFunc("GET "+staticPath, serveStatic)
	return mux
}

// Patterns are what of a ServeMux's leads to a handler of New, without the method.
func Patterns() (patterns []string) {
	for i := range views {
		patterns = append(patterns, views[i].pattern())
	}
	return append(patterns, staticPath)
}

// A view is a page.
type view struct {
	path, name string
	// parts are the questions it asks. The first one's parameters are the page's.
	parts []part
	build func(*visit, context.Context) error
	// moving says that it can change without a new job: only its bytes tell.
	moving bool
	hidden bool // not in the navigation
}

// pattern is the path, and nothing below it.
func (v *view) pattern() string {
	if v.path == "/" {
		return "/{$}"
	}
	return v.path
}

// A part is a question that a page asks. A page with several tables has the parameters of
// each under its prefix: projects.sort is the sort of its question.
type part struct {
	question, prefix string
	rows             int // of a table, unless asked otherwise
}

var views []view

func init() { // build functions link to views
	views = []view{
		{path: "/", name: "Overview", build: (*visit).overview, parts: []part{{"overview", "", 0}, {"templates", "", 25}}},
		{path: "/templates", name: "Templates", build: (*visit).templates, parts: []part{{"templates", "", 100}}},
		{path: "/projects", name: "Projects", build: (*visit).projects, parts: []part{{"projects", "", 100}}},
		{path: improvePath, name: "Improve", build: (*visit).improve, parts: []part{{"overview", "", 0}}},
		{path: problemsPath, name: "Problems", build: (*visit).problems, parts: []part{{"problems", "", 50}}, moving: true},
		{path: "/template", name: "Template", build: (*visit).template, hidden: true, moving: true, parts: []part{
			{"template", "", 0}, {"projects", "projects.", 15}, {"versions", "versions.", 15}, {"failures", "failures.", 15},
		}},
		{path: "/project", name: "Project", build: (*visit).project, hidden: true, moving: true, parts: []part{
			{"project", "", 0}, {"templates", "templates.", 15}, {"failures", "failures.", 15},
		}},
	}
}
