package api

import (
	"maps"
	"net/http"
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
	defaultLimit = 100 // of JSON; CSV has all rows, up to maxRows
	maxRows      = 100_000
	maxOffset    = 1_000_000
)

// A request is what was asked, found to be in order.
type request struct {
	name  string // of the template or project
	query kpi.Query
	cut   kpi.Cut
	csv   bool
}

// A decoder reads the parameters of a request.
type decoder struct {
	request
	question *question
	values   url.Values
	accept   []string
	now      time.Time
	calendar rollup.Calendar
}

func (a *api) decode(r *http.Request, q *question) (request, error) {
	d := decoder{question: q, accept: r.Header.Values("Accept"), now: a.Now(), calendar: a.Ledger.Calendar()}
	var err error
	if d.values, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return request{}, bad("", "percent-encode what is neither a letter nor a digit, as curl -G --data-urlencode does",
			"the query can't be read: %s", job.Quote(err.Error()))
	}
	if err := d.read(); err != nil {
		return request{}, err
	}
	return d.request, nil
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
	for _, name := range slices.Sorted(maps.Keys(d.values)) {
		values := d.values[name]
		if !slices.Contains(d.question.parameters(), name) {
			return bad(job.Quote(name), "ask with some of "+strings.Join(d.question.parameters(), ", "),
				"/%s has no parameter %q", d.question.name, job.Quote(name))
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

func (d *decoder) takes(name string) bool { return slices.Contains(d.question.parameters(), name) }

func (d *decoder) readName() error {
	if !d.takes("name") {
		return nil
	}
	d.name = d.values.Get("name")
	switch n := utf8.RuneCountInString(d.name); {
	case n == 0:
		return bad("name", "say which "+d.question.name+": "+Path+d.question.name+"?name=NAME", "name is missing")
	case n > job.MaxText:
		return bad("name", "give the name as "+Path+d.question.name+"s has it", "name has %d characters, and no %s more than %d", n, d.question.name, job.MaxText)
	}
	return nil
}

func (d *decoder) readFilter() (err error) {
	f := &d.query.Filter
	if f.Templates, err = d.patterns("template"); err != nil {
		return err
	}
	if f.Projects, err = d.patterns("project"); err != nil {
		return err
	}
	if f.Versions, err = d.patterns("version"); err != nil {
		return err
	}
	for _, v := range d.values["status"] {
		status := job.Status(v)
		if !slices.Contains(job.Statuses, status) {
			return bad("status", "give one of "+words(job.Statuses), "status can't be %q", job.Quote(v))
		}
		f.Statuses = append(f.Statuses, status)
	}
	return nil
}

func (d *decoder) patterns(name string) (patterns []kpi.Pattern, err error) {
	for _, v := range d.values[name] {
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
	d.query.Interval = kpi.Interval(d.get("interval", string(kpi.Daily)))
	if i := d.query.Interval; i != kpi.Daily && i != kpi.Hourly {
		return bad("interval", "give one of day, hour", "interval can't be %q", job.Quote(string(i)))
	}
	if err := d.query.Check(); err != nil { // its period is checked by itself
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
		d.csv = true
	case !d.values.Has("format"):
		ranges := negotiate.Parse(d.accept)
		csv, csvNamed := negotiate.Quality(ranges, typeCSV)
		json, jsonNamed := negotiate.Quality(ranges, typeJSON)
		d.csv = csv > json || csv == json && csv > 0 && csvNamed && !jsonNamed
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
	if d.csv {
		rows = maxRows
	}
	if d.cut.Limit, err = d.whole("limit", 1, maxLimit, rows); err != nil {
		return err
	}
	d.cut.Offset, err = d.whole("offset", 0, maxOffset, 0)
	return err
}

func (d *decoder) readSort() error {
	if !d.takes("sort") {
		return nil
	}
	value := d.get("sort", d.question.sort)
	column, descending := strings.CutPrefix(value, "-")
	if !slices.Contains(d.question.columns, column) {
		return bad("sort", "give one of "+strings.Join(d.question.columns, ", ")+", with - before it for the highest first",
			"sort can't be %q", job.Quote(value))
	}
	d.cut.Sort, d.cut.Descending = column, descending
	return nil
}

// get is a parameter's value, or what is taken if it is left out.
func (d *decoder) get(name, otherwise string) string {
	if d.values.Has(name) {
		return d.values.Get(name)
	}
	return otherwise
}

func (d *decoder) whole(name string, least, most, otherwise int) (int, error) {
	if !d.values.Has(name) {
		return otherwise, nil
	}
	n, err := strconv.Atoi(d.values.Get(name))
	if err != nil || n < least || n > most {
		return 0, bad(name, "give a whole number from "+strconv.Itoa(least)+" to "+strconv.Itoa(most), "%s can't be %q", name, job.Quote(d.values.Get(name)))
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
