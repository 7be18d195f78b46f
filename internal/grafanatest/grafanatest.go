// Package grafanatest reads the dashboards that we ship as Grafana does, as far as their
// queries go: panels and variables, and what becomes of a query's variables before it is
// sent to Prometheus.
package grafanatest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A Dashboard is one file.
type Dashboard struct {
	UID         string
	Title       string
	Panels      []Panel // rows among them
	Templating  struct{ List []Variable }
	Annotations struct{ List []Annotation }
}

// A Panel shows the results of its targets.
type Panel struct {
	ID            int
	Type          string
	Title         string
	Interval      string
	MaxDataPoints float64
	Targets       []Target
	Panels        []Panel // of a row that is folded up
}

// A Target is a query of a panel.
type Target struct {
	RefID        string
	Expr         string
	Instant      bool
	Range        bool
	Exemplar     bool
	Format       string
	LegendFormat string
	Interval     string
}

// A Variable is chosen at the head of a dashboard.
type Variable struct {
	Name       string
	Type       string
	Multi      bool
	IncludeAll bool
	AllValue   string
	Query      any // a text, or an object with one
}

// An Annotation marks moments in panels.
type Annotation struct {
	Name   string
	Expr   string
	Enable bool
}

// Load reads all dashboards of a folder.
func Load(t testing.TB, folder string) []Dashboard {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no dashboards in %s: %v", folder, err)
	}
	var all []Dashboard
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var d Dashboard
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, d)
	}
	return all
}

// Every yields all panels but rows, those in folded rows too.
func (d Dashboard) Every(yield func(Panel) bool) {
	for _, p := range d.Panels {
		for _, inner := range p.Panels {
			if !yield(inner) {
				return
			}
		}
		if p.Type != "row" && !yield(p) {
			return
		}
	}
}

// Values are what variables are set to. None for a variable that has All is all of them.
type Values map[string][]string

// Interpolate writes values in place of variables, as Grafana's Prometheus data source
// does: period is that of the time picker, step of Grafana's $__interval.
func (d Dashboard) Interpolate(query string, values Values, period, step time.Duration) (string, error) {
	own := map[string]string{
		"__range":       strconv.FormatInt(int64(period.Seconds()), 10) + "s",
		"__range_s":     strconv.FormatInt(int64(period.Seconds()), 10),
		"__range_ms":    strconv.FormatInt(period.Milliseconds(), 10),
		"__interval":    duration(step),
		"__interval_ms": strconv.FormatInt(step.Milliseconds(), 10),
	}
	var err error
	written := reference.ReplaceAllStringFunc(query, func(ref string) string {
		name, format, _ := strings.Cut(strings.Trim(ref, "${}"), ":")
		if v, ok := own[name]; ok && format == "" {
			return v
		}
		for _, v := range d.Templating.List {
			if v.Name == name && (format == "" || format == "regex") {
				return v.interpolate(values[name], format)
			}
		}
		err = fmt.Errorf("%s is no variable of %s", ref, d.UID)
		return ref
	})
	return written, err
}

var reference = regexp.MustCompile(`\$\{[a-zA-Z_]\w*(:\w+)?\}|\$[a-zA-Z_]\w*`)

// duration is how Grafana writes an interval: in the largest unit that it is a whole number of.
func duration(d time.Duration) string {
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if d%unit.of == 0 {
			return strconv.FormatInt(int64(d/unit.of), 10) + unit.name
		}
	}
	return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
}

// interpolate writes the values of a variable. With the format regex they are a regular
// expression that matches any of them. Without a format that is what Prometheus reads so
// within quotes, if the variable can have several; else it is the value within quotes. All
// that does not hold for quotes themselves.
func (v Variable) interpolate(values []string, format string) string {
	multi := v.Multi || v.IncludeAll
	if len(values) == 0 && multi {
		return v.AllValue
	}
	escaped := make([]string, len(values))
	for i, value := range values {
		switch {
		case format == "regex":
			escaped[i] = anySpecial.ReplaceAllString(value, `\$0`)
		case multi:
			escaped[i] = special.ReplaceAllString(strings.ReplaceAll(value, `\`, `\\\\`), `\\$0`)
		default:
			escaped[i] = strings.NewReplacer(`\`, `\\`, `'`, `\\'`).Replace(value)
		}
	}
	if len(escaped) == 1 {
		return escaped[0]
	}
	return "(" + strings.Join(escaped, "|") + ")"
}

// These are the characters that Grafana writes a backslash before.
var (
	special    = regexp.MustCompile(`[$^*{}\[\]+?.()|]`)
	anySpecial = regexp.MustCompile(`[\\^$*+?.()|\[\]{}/]`)
)
