package query

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/negotiate"
	"ci-jobs-metrics/internal/rollup"
)

// Limits of parameters.
const (
	maxValues    = 20              // of a filter
	maxPattern   = 2 * job.MaxText // characters: each of a text may have a \ before it
	maxLimit     = 1000
	defaultLimit = 100 // of JSON; CSV has all rows, up to MaxRows
	maxOffset    = 1_000_000
)

// MaxRows is the most rows of a CSV.
const MaxRows = 100_000

// A Request is a query whose parameters were read and found correct.
type Request struct {
	Name  string // of the template or project; empty if the query has no such parameter
	Query kpi.Query
	Cut   kpi.Cut
	CSV   bool // the answer is wanted as CSV
}

// An Input is what a query is read from.
type Input struct {
	Values   url.Values // the parameters
	Accept   []string   // the Accept headers, which choose the format where no parameter does
	Now      time.Time
	Calendar rollup.Calendar // of the reporting time zone
}

// Read reads and checks the parameters of a query, named as in [Names]. Its error is a *Refusal.
// Parameters that the query does not have are refused: an answer that ignored a filter would be
// wrong.
func Read(name string, in Input) (Request, error) {
	d := decoder{definition: Of(name), Input: in}
	err := d.read()
	return d.request, err
}

// ParseValues parses the query of an address. Its error is a *Refusal.
func ParseValues(rawQuery string) (url.Values, error) {
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, bad("", "percent-encode every character that is neither a letter nor a digit, as curl -G --data-urlencode does",
			"the query can't be read: %s", job.Quote(err.Error()))
	}
	return values, nil
}

// A decoder reads the parameters of one query.
type decoder struct {
	Input
	request    Request
	definition *Definition
}

func (d *decoder) read() error {
	for _, step := range []func() error{d.known, d.readName, d.readPeriod, d.readFilter, d.readInterval, d.readFormat, d.readCut, d.readSort} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// many are the parameters that may be repeated.
var many = []string{"template", "project", "version", "status"}

// known refuses what is not understood: an answer that ignores a filter would be a wrong one.
func (d *decoder) known() error {
	for _, name := range slices.Sorted(maps.Keys(d.Values)) {
		values := d.Values[name]
		if !slices.Contains(d.definition.parameters, name) {
			return bad(job.Quote(name), "ask with some of "+strings.Join(d.definition.parameters, ", "),
				"/%s has no parameter %q", d.definition.Name, job.Quote(name))
		}
		if len(values) > 1 && !slices.Contains(many, name) {
			return bad(name, "give it once", "%s is given %d times", name, len(values))
		}
		if len(values) > maxValues {
			return bad(name, "give at most "+strconv.Itoa(maxValues)+": a pattern, such as group/*, stands for many",
				"%s is given %d times", name, len(values))
		}
		for _, v := range values {
			if !utf8.ValidString(v) {
				return bad(name, "send UTF-8, percent-encoded", "%s is not UTF-8", name)
			}
		}
	}
	return nil
}

func (d *decoder) takes(name string) bool { return d.definition.Takes(name) }

func (d *decoder) readName() error {
	if !d.takes("name") {
		return nil
	}
	d.request.Name = d.Values.Get("name")
	switch n := utf8.RuneCountInString(d.request.Name); {
	case n == 0:
		return bad("name", "say which "+d.definition.Name+": "+Path+d.definition.Name+"?name=NAME", "name is missing")
	case n > job.MaxText:
		return bad("name", "give the name as "+Path+d.definition.Name+"s has it", "name has %d characters, and no %s more than %d", n, d.definition.Name, job.MaxText)
	}
	return nil
}

func (d *decoder) readFilter() (err error) {
	f := &d.request.Query.Filter
	if f.Templates, err = d.patterns("template"); err != nil {
		return err
	}
	if f.Projects, err = d.patterns("project"); err != nil {
		return err
	}
	if f.Versions, err = d.patterns("version"); err != nil {
		return err
	}
	for _, v := range d.Values["status"] {
		status := job.Status(v)
		if !slices.Contains(job.Statuses, status) {
			return bad("status", "give one of "+words(job.Statuses), "status can't be %q", job.Quote(v))
		}
		f.Statuses = append(f.Statuses, status)
	}
	return nil
}

func (d *decoder) patterns(name string) (patterns []kpi.Pattern, err error) {
	for _, v := range d.Values[name] {
		n := utf8.RuneCountInString(v)
		switch {
		case v == "" && name != "version": // jobs may have none
			return nil, bad(name, "leave it out to have all", "%s is empty", name)
		case n > maxPattern:
			return nil, bad(name, "shorten it: * stands for any text", "%s has %d characters, more than %d", name, n, maxPattern)
		}
		patterns = append(patterns, kpi.Pattern(v))
	}
	return patterns, nil
}

func (d *decoder) readInterval() error {
	if !d.takes("interval") {
		return nil
	}
	d.request.Query.Interval = kpi.Interval(d.get("interval", string(kpi.Daily)))
	if i := d.request.Query.Interval; i != kpi.Daily && i != kpi.Hourly {
		return bad("interval", "give one of day, hour", "interval can't be %q", job.Quote(string(i)))
	}
	if err := d.request.Query.Check(); err != nil { // its period is checked by itself
		return bad("interval", "give a shorter period, or interval=day", "%s", err.Error())
	}
	return nil
}

func (d *decoder) readFormat() error {
	if !d.takes("format") {
		return nil
	}
	switch format := d.get("format", ""); {
	case format == "csv":
		d.request.CSV = true
	case !d.Values.Has("format"):
		ranges := negotiate.Parse(d.Accept)
		csv, csvNamed := negotiate.Quality(ranges, "text/csv")
		json, jsonNamed := negotiate.Quality(ranges, "application/json")
		d.request.CSV = csv > json || csv == json && csv > 0 && csvNamed && !jsonNamed
	case format != "json":
		return bad("format", "give one of json, csv", "format can't be %q", job.Quote(format))
	}
	return nil
}

func (d *decoder) readCut() (err error) {
	if !d.takes("limit") {
		return nil
	}
	rows := defaultLimit
	if d.request.CSV {
		rows = MaxRows
	}
	if d.request.Cut.Limit, err = d.whole("limit", 1, maxLimit, rows); err != nil {
		return err
	}
	d.request.Cut.Offset, err = d.whole("offset", 0, maxOffset, 0)
	return err
}

func (d *decoder) readSort() error {
	if !d.takes("sort") {
		return nil
	}
	value := d.get("sort", d.definition.sort)
	column, descending := strings.CutPrefix(value, "-")
	if !slices.Contains(d.definition.columns, column) {
		return bad("sort", "give one of "+strings.Join(d.definition.columns, ", ")+", with - before it for the highest first",
			"sort can't be %q", job.Quote(value))
	}
	d.request.Cut.Sort, d.request.Cut.Descending = column, descending
	return nil
}

// get is a parameter's value, or what is taken if it is left out.
func (d *decoder) get(name, otherwise string) string {
	if d.Values.Has(name) {
		return d.Values.Get(name)
	}
	return otherwise
}

func (d *decoder) whole(name string, least, most, otherwise int) (int, error) {
	if !d.Values.Has(name) {
		return otherwise, nil
	}
	n, err := strconv.Atoi(d.Values.Get(name))
	if err != nil || n < least || n > most {
		return 0, bad(name, "give a whole number from "+strconv.Itoa(least)+" to "+strconv.Itoa(most), "%s can't be %q", name, job.Quote(d.Values.Get(name)))
	}
	return n, nil
}

func words(statuses []job.Status) string {
	var list []string
	for _, s := range statuses {
		list = append(list, string(s))
	}
	return strings.Join(list, ", ")
}
