// Package page shows the answers of package kpi as HTML pages, for people without Grafana or PromQL.
//
// Every request goes the same way (request.go). Package query reads the parameters of the address,
// once for each query of the page (parts in [views]), so that an address means the same as at the
// API. A page that the client has already is answered with 304 before anything is read. Then the
// page waits for a slot, and its build function (overview.go, template.go, project.go, lists.go)
// turns the answers into a [document]: tiles, charts and tables. One template lays out all documents
// (templates/). So every number on a page is a number of an answer, and each table links to its
// answer as JSON and CSV.
//
// Pages work without JavaScript, except for charts; the same numbers are in tables. All state is in
// the address; the browser keeps only the theme and whether to refresh (static/page.js). Pages load
// nothing from other hosts, and a Content-Security-Policy enforces this (send.go).
package page

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/kpi/findings"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/problems"
	"ci-jobs-metrics/internal/query"
)

// Options configure the pages. Ledger, Problems and ProblemsRevision are required.
type Options struct {
	Ledger *ledger.Ledger
	// Problems, Answered and Slots are those of api.Options.
	Problems func(context.Context) ([]problems.Problem, error)
	Answered func(name string, took time.Duration)
	Slots    *query.Slots
	// ProblemsRevision returns a number that changes with the result of Problems. It costs nothing.
	ProblemsRevision func() uint64

	// Findings returns what to improve; default: findings.Find.
	Findings func(context.Context, kpi.Query) (*findings.Answer, error)
	Now      func() time.Time // default time.Now
	Timeout  time.Duration    // of a page, the wait for a slot included; 0: query.DefaultTimeout
	Logger   *slog.Logger     // default: none
}

// A finding is a finding of package findings in the words of the page.
type finding struct {
	Kind     string // in one word
	Title    string
	Text     string
	Cost     *float64 // CI hours in 30 days; nil: not known
	Link     string   // to a page that shows it; empty: there is none
	Evidence []evidence
}

// evidence is one number that a finding is about, as people read it.
type evidence struct{ Label, Before, After string }

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

type pages struct {
	Options
	asker *kpi.Asker
}

// New returns the handler of all Patterns.
func New(o Options) http.Handler {
	o.setDefaults()
	p := &pages{Options: o, asker: kpi.New(o.Ledger)}
	if p.Findings == nil {
		p.Findings = func(ctx context.Context, q kpi.Query) (*findings.Answer, error) {
			return findings.Find(ctx, p.asker, q)
		}
	}
	mux := http.NewServeMux()
	for i := range views {
		mux.HandleFunc("GET "+views[i].pattern(), p.handler(&views[i]))
	}
	mux.HandleFunc("GET "+staticPath, serveStatic)
	return mux
}

// Patterns returns the patterns of a ServeMux for the handler of New, without a method.
func Patterns() (patterns []string) {
	for i := range views {
		patterns = append(patterns, views[i].pattern())
	}
	return append(patterns, staticPath)
}

// A view is a page.
type view struct {
	path, name string
	// parts are its queries. The parameters of the first one are the page's.
	parts []part
	build func(*request, context.Context) error
	// moving is set if the page can change without a new job. Its entity tag is made of its bytes.
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

// A part is a query of a page. A page with several tables has the parameters of each under a prefix:
// projects.sort is the parameter sort of the query projects.
type part struct {
	query, prefix string
	rows          int // of a table, unless the address has a limit
}

var views []view

func init() { // build functions link to views
	views = []view{
		{path: "/", name: "Overview", build: (*request).overview, parts: []part{{"overview", "", 0}, {"templates", "", 25}}},
		{path: "/templates", name: "Templates", build: (*request).templates, parts: []part{{"templates", "", 100}}},
		{path: "/projects", name: "Projects", build: (*request).projects, parts: []part{{"projects", "", 100}}},
		{path: improvePath, name: "Improve", build: (*request).improve, parts: []part{{"overview", "", 0}}},
		{path: problemsPath, name: "Problems", build: (*request).problemTable, parts: []part{{"problems", "", 50}}, moving: true},
		{path: "/template", name: "Template", build: (*request).template, hidden: true, moving: true, parts: []part{
			{"template", "", 0}, {"projects", "projects.", 15}, {"versions", "versions.", 15}, {"failures", "failures.", 15},
		}},
		{path: "/project", name: "Project", build: (*request).project, hidden: true, moving: true, parts: []part{
			{"project", "", 0}, {"templates", "templates.", 15}, {"failures", "failures.", 15},
		}},
	}
}
