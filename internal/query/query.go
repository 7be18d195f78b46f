// Package query is one query to the KPI over HTTP, before and around its answer: which queries
// there are, their parameters and limits, the entity tag of an answer, the semaphore that bounds
// how many are computed at a time, and the refusal of a query that can't be answered. Packages api
// and page are two forms of the same answers; both read their requests with this package, so that
// an address means the same in both.
//
// A request goes this way:
//
//	q, err := query.Read("overview", query.Input{Values: r.URL.Query(), Now: now, Calendar: calendar})
//	tag := query.NewTag(version, since, q)     // 304 if the client has it
//	release, err := slots.Acquire(ctx)         // at most as many at a time as there are slots
//	defer release()
//	answer, err := asker.Overview(ctx, q.Query) // package kpi
//
// An error of any step becomes a [Refusal], which names what to ask instead: [RefusalOf] has the
// one table of errors and statuses.
package query

import (
	"slices"
	"strings"
	"time"

	"ci-jobs-metrics/internal/kpi"
)

// Path is the path below which package api serves the answers, by the names of the queries.
const Path = "/api/v1/"

// DefaultTimeout is the longest time that a query may take, the wait for a slot included. A query
// over 90 days of ten million jobs takes at most a second.
const DefaultTimeout = 10 * time.Second

// A Definition is one of the queries that there are.
type Definition struct {
	Name string
	// Moving is set if the answer can change without a new job. The entity tag is then made of
	// the answer's bytes.
	Moving bool

	parameters []string
	columns    []string // by which its table can be sorted
	sort       string   // the default order of its table
}

// Parameters returns the names of the query's parameters.
func (d *Definition) Parameters() []string { return d.parameters }

// Takes reports whether the query has a parameter.
func (d *Definition) Takes(parameter string) bool { return slices.Contains(d.parameters, parameter) }

// Groups of parameters that several queries have.
const (
	period  = "last from to "
	filters = "template project version status "
	series  = "interval format"
	table   = "sort " + page
	page    = "limit offset format"
)

var definitions = []*Definition{
	define("overview", period+filters+series),
	define("templates", period+filters+table).sortedBy("-jobs", kpi.TemplateColumns),
	define("template", "name "+period+"project version status "+series),
	define("projects", period+filters+table).sortedBy("-jobs", kpi.ProjectColumns),
	define("project", "name "+period+"template version status "+series),
	define("versions", period+filters+table).sortedBy("-jobs", kpi.VersionColumns),
	define("failures", period+filters+page).moving(),
	define("findings", period+"template project"),
	define("problems", "template project "+table).sortedBy("-last", problemColumns).moving(),
}

func define(name, parameters string) *Definition {
	return &Definition{Name: name, parameters: strings.Fields(parameters)}
}

func (d *Definition) sortedBy(order string, columns []string) *Definition {
	d.sort, d.columns = order, columns
	return d
}

func (d *Definition) moving() *Definition {
	d.Moving = true
	return d
}

// All returns the definitions of all queries.
func All() []*Definition { return definitions }

// Names returns the names of all queries.
func Names() (names []string) {
	for _, d := range definitions {
		names = append(names, d.Name)
	}
	return names
}

// Of returns the definition of a query. It panics if there is no query of that name.
func Of(name string) *Definition {
	return definitions[slices.IndexFunc(definitions, func(d *Definition) bool { return d.Name == name })]
}
