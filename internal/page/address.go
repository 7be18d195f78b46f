package page

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/query"
)

// An address is that of a page: its path and the parameters that it understands.
type address struct {
	path   string
	values url.Values
}

// cutParameters say which part of a table is wanted.
var cutParameters = []string{"sort", "limit", "offset"}

// findPrefix marks the fields of forms, in which people write part of a name.
const findPrefix = "find."

// found are the parameters that can be found by part of a name.
var found = []string{"template", "project", "version"}

// readAddress refuses parameters that the page does not have: a page that ignored a filter would be
// wrong.
func readAddress(view *view, rawQuery string) (address, error) {
	values, err := query.ParseValues(rawQuery)
	a := address{view.path, values}
	if err != nil {
		return a, err
	}
	known := parametersOf(view)
	for name := range values {
		plain, isFound := strings.CutPrefix(name, findPrefix)
		if isFound && slices.Contains(found, plain) {
			name = plain
		}
		if !slices.Contains(known, name) {
			return a, query.BadParameter(job.Quote(name), "this page has no parameter "+strconv.Quote(job.Quote(name)), "use some of "+strings.Join(known, ", "))
		}
	}
	return a, nil
}

// parametersOf are those that a page understands.
func parametersOf(view *view) (names []string) {
	for i, part := range view.parts {
		for _, name := range query.Of(part.query).Parameters() {
			isCut := slices.Contains(cutParameters, name)
			switch {
			case name == "format":
			case isCut:
				names = append(names, part.prefix+name)
			case i == 0:
				names = append(names, name)
			}
		}
	}
	return append(names, extra[view.path]...)
}

// extra are parameters of pages that no query has.
var extra = map[string][]string{"/project": {unusedOffset}}

func takes(p part, name string) bool { return query.Of(p.query).Takes(name) }

// parameters are the parameters that the address gives to one of the page's queries.
func (a address) parameters(p part) url.Values {
	values := url.Values{}
	for _, name := range query.Of(p.query).Parameters() {
		from := name
		if slices.Contains(cutParameters, name) {
			from = p.prefix + name
		}
		if given, ok := a.values[from]; ok {
			values[name] = slices.Clone(given)
		}
	}
	return values
}

// canonical is the address that a form leads to: without fields that were left empty, and
// with patterns for parts of names.
func (a address) canonical() (to string, ok bool) {
	next := address{a.path, url.Values{}}
	changed := false
	for name, given := range a.values {
		for _, value := range given {
			plain, isFound := strings.CutPrefix(name, findPrefix)
			switch {
			case isFound:
				changed = true
				if value = strings.TrimSpace(value); value != "" {
					next.values.Add(plain, containing(value))
				}
			case value == "" && name != "version" && name != "name":
				changed = true
			default:
				next.values.Add(name, value)
			}
		}
	}
	return next.String(), !changed
}

// containing is the pattern of names with the text in them, unless it is a pattern already.
func containing(text string) string {
	if strings.ContainsAny(text, `*?\`) {
		return text
	}
	return "*" + text + "*"
}

func (a address) String() string {
	if query := a.values.Encode(); query != "" {
		return a.path + "?" + query
	}
	return a.path
}

// with is the address with a parameter set, or without it if that is empty.
func (a address) with(name, value string) address {
	next := a.clone()
	next.values.Del(name)
	if value != "" {
		next.values.Set(name, value)
	}
	return next
}

// without is the address without parameters.
func (a address) without(names ...string) address {
	next := a.clone()
	for _, name := range names {
		next.values.Del(name)
	}
	return next
}

// less is the address without one of the values of a parameter.
func (a address) less(name string, at int) address {
	next := a.clone()
	next.values[name] = slices.Delete(slices.Clone(next.values[name]), at, at+1)
	return next.fromStart()
}

// fromStart is the address with every table at its beginning.
func (a address) fromStart() address {
	next := a.clone()
	for name := range next.values {
		if name == "offset" || strings.HasSuffix(name, ".offset") {
			next.values.Del(name)
		}
	}
	return next
}

func (a address) clone() address {
	values := url.Values{}
	for name, given := range a.values {
		values[name] = slices.Clone(given)
	}
	return address{a.path, values}
}

// kept are the parameters that go along from one page to another.
var kept = []string{"last", "from", "to", "interval", "template", "project", "version", "status"}

// to is another page about the same jobs, as far as it understands that.
func (a address) to(path string) address {
	next := address{path, url.Values{}}
	at := slices.IndexFunc(views, func(v view) bool { return v.path == path })
	known := parametersOf(&views[at])
	for _, name := range kept {
		if given, ok := a.values[name]; ok && slices.Contains(known, name) {
			next.values[name] = slices.Clone(given)
		}
	}
	return next
}

// link is the address of the query's answer at the API.
func (a *asked) link() string { return query.Path + a.part.query + "?" + a.values.Encode() }

// csv is the same as CSV: all rows.
func (a *asked) csv() string {
	all := address{query.Path + a.part.query, a.values}
	return all.without("limit", "offset").with("format", "csv").String()
}

func whole(n int) string { return strconv.Itoa(n) }
