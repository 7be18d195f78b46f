package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A document is the JSON of a dashboard, as a Grafana that imports it sees it.
type document struct {
	ID     any `json:"id"`
	UID    string
	Title  string
	Panels []panel
	Links  []link

	Templating  struct{ List []variable }
	Annotations struct{ List []annotation }

	whole any
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               datasource
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []target
	Transformations          []struct {
		ID      string
		Options map[string]any
	}
	FieldConfig struct {
		Defaults struct {
			Unit, NoValue string
			Links         []link
		}
		Overrides []struct {
			Matcher    struct{ Options any }
			Properties []struct {
				ID    string
				Value any
			}
		}
	}
}

type target struct {
	RefID, Expr, Format, LegendFormat, Interval string
	Instant, Range                              bool
	Datasource                                  datasource
}

type variable struct {
	Name, Type, Label, AllValue string
	IncludeAll, Multi           bool
	Refresh                     int
	Query                       any
	Datasource                  datasource
}

type annotation struct {
	Name, Expr string
	Target     target
	Datasource datasource
}

type datasource struct{ Type, UID string }

type link struct {
	Title, URL  string
	TargetBlank bool
}

func documents(t *testing.T) map[string]document {
	t.Helper()
	all := map[string]document{}
	files, err := filepath.Glob("dashboards/*.json")
	if err != nil || len(files) != len(Dashboards()) {
		t.Fatalf("%d files, of %d dashboards; %v", len(files), len(Dashboards()), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d document
		for _, into := range []any{&d, &d.whole} {
			if err := json.Unmarshal(text, into); err != nil {
				t.Fatal(err)
			}
		}
		all[filepath.Base(file)] = d
	}
	return all
}

// What is committed is what the generator writes, each time.
func TestGenerated(t *testing.T) {
	for range 3 {
		for name, d := range Dashboards() {
			want, err := Render(d)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join("dashboards", name)); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s is not what is generated: make dashboards. %v", name, err)
			}
		}
	}
}

func TestPanels(t *testing.T) {
	uids, titles := map[string]bool{}, map[string]bool{}
	for name, d := range documents(t) {
		if d.ID != nil || d.UID == "" || uids[d.UID] || titles[d.Title] {
			t.Errorf("%s: id %v, uid %q and title %q: none, and one of its own each", name, d.ID, d.UID, d.Title)
		}
		uids[d.UID], titles[d.Title] = true, true
		ids, panelTitles := map[int]bool{}, map[string]bool{}
		grid := map[[2]int]string{}
		for _, p := range d.Panels {
			where := name + ": " + p.Title
			if p.ID == 0 || ids[p.ID] || p.Title == "" || (p.Type != "row" && panelTitles[p.Title]) {
				t.Errorf("%s: id %d: an id and a title of its own are needed", where, p.ID)
			}
			ids[p.ID], panelTitles[p.Title] = true, true
			if g := p.GridPos; g.X < 0 || g.W < 1 || g.H < 1 || g.X+g.W > 24 {
				t.Errorf("%s does not fit into 24 columns: %+v", where, g)
			}
			for x := range p.GridPos.W {
				for y := range p.GridPos.H {
					at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
					if grid[at] != "" {
						t.Fatalf("%s lies on %s at %v", where, grid[at], at)
					}
					grid[at] = p.Title
				}
			}
			if p.Type == "row" {
				continue
			}
			if len(p.Description) < 30 || p.FieldConfig.Defaults.Unit == "" || p.FieldConfig.Defaults.NoValue == "" || len(p.Targets) == 0 {
				t.Errorf("%s lacks a description, unit, text for no value, or query", where)
			}
			checkSource(t, where, p.Datasource)
			checkTargets(t, where, p)
			if p.Type == "table" {
				checkColumns(t, where, p)
			}
			if strings.Contains(allOf(p), seconds) && !strings.Contains(p.Description, "have no project") {
				t.Errorf("%s has durations, and does not say that the project does not apply", where)
			}
		}
	}
}

func allOf(p panel) (all string) {
	for _, target := range p.Targets {
		all += target.Expr
	}
	return all
}

func checkTargets(t *testing.T, where string, p panel) {
	t.Helper()
	refs := map[string]bool{}
	for _, target := range p.Targets {
		checkSource(t, where, target.Datasource)
		if target.RefID == "" || refs[target.RefID] || target.Instant == target.Range {
			t.Errorf("%s, %s: needs a letter of its own, and is either instant or of a range", where, target.RefID)
		}
		refs[target.RefID] = true
		// $__range is the time picker's, for which only its end may be asked; a bar is $__interval long.
		bars := strings.Contains(target.Expr, "$__interval")
		if target.Instant && bars || target.Range && strings.Contains(strings.ReplaceAll(target.Expr, "@ end() offset $__range", ""), "$__range") {
			t.Errorf("%s, %s: instant %v, with the variables of the other kind", where, target.RefID, target.Instant)
		}
		if target.Range && target.Interval == "" {
			t.Errorf("%s, %s: no least bar", where, target.RefID)
		}
		if p.Type == "table" && target.Format != "table" || target.Format == "heatmap" && target.LegendFormat != "{{le}}" {
			t.Errorf("%s, %s: format %s, legend %s", where, target.RefID, target.Format, target.LegendFormat)
		}
	}
}

func checkSource(t *testing.T, where string, d datasource) {
	t.Helper()
	if d.UID != "${datasource}" || d.Type != "prometheus" {
		t.Errorf("%s: the data source is %+v, not the variable", where, d)
	}
}

// checkColumns is for tables: each query is a column with a name, and each column has a unit.
func checkColumns(t *testing.T, where string, p panel) {
	t.Helper()
	units := map[string]any{}
	for _, o := range p.FieldConfig.Overrides {
		for _, property := range o.Properties {
			if property.ID == "unit" {
				units[o.Matcher.Options.(string)] = property.Value
			}
		}
	}
	names := map[string]any{}
	for _, transformation := range p.Transformations {
		if transformation.ID == "organize" {
			names = transformation.Options["renameByName"].(map[string]any)
		}
	}
	for _, target := range p.Targets {
		if column := names["Value #"+target.RefID]; column == nil || units[column.(string)] == nil || units[column.(string)] == text {
			t.Errorf("%s: the column %v of query %s has no name or unit", where, column, target.RefID)
		}
	}
	if len(units) != len(names) {
		t.Errorf("%s: columns %v, units %v", where, names, units)
	}
}

var (
	usedVariable = regexp.MustCompile(`\$\{?([A-Za-z_]\w*)`)
	ofGrafana    = []string{"__range", "__range_s", "__interval", "__interval_ms", "__from", "__to", "__url_time_range", "__data", "__field", "__all"}
)

// strings of a value of JSON, wherever they are.
func texts(value any) (all []string) {
	switch v := value.(type) {
	case string:
		return []string{v}
	case []any:
		for _, e := range v {
			all = append(all, texts(e)...)
		}
	case map[string]any:
		for _, e := range v {
			all = append(all, texts(e)...)
		}
	}
	return all
}

func TestVariables(t *testing.T) {
	for name, d := range documents(t) {
		declared, used := map[string]bool{}, map[string]bool{}
		for _, v := range d.Templating.List {
			if v.Type == "query" {
				checkSource(t, name+": variable "+v.Name, v.Datasource)
				if v.Refresh != 2 || v.Multi != v.IncludeAll || v.IncludeAll && v.AllValue != ".*" {
					t.Errorf("%s: variable %s: %+v", name, v.Name, v)
				}
			}
			// Variables are filled in order: one may use those before it only.
			for _, s := range texts(v.Query) {
				for _, m := range usedVariable.FindAllStringSubmatch(s, -1) {
					if !declared[m[1]] {
						t.Errorf("%s: variable %s uses %s, which is not before it", name, v.Name, m[1])
					}
				}
			}
			if declared[v.Name] || v.Label == "" {
				t.Errorf("%s: variable %s is there twice, or has no label", name, v.Name)
			}
			declared[v.Name] = true
		}
		for _, s := range texts(d.whole) {
			for _, m := range usedVariable.FindAllStringSubmatch(s, -1) {
				used[m[1]] = true
				if !declared[m[1]] && !slices.Contains(ofGrafana, m[1]) && !isNumber(m[1]) {
					t.Errorf("%s: there is no variable %s: %.200s", name, m[1], s)
				}
			}
			if strings.Contains(s, "[[") {
				t.Errorf("%s: the old form of a variable: %.200s", name, s)
			}
		}
		for v := range declared {
			if !used[v] {
				t.Errorf("%s: the variable %s has no use", name, v)
			}
		}
		for _, a := range d.Annotations.List {
			checkSource(t, name+": "+a.Name, a.Datasource)
			checkSource(t, name+": "+a.Name, a.Target.Datasource)
			if a.Expr == "" || a.Expr != a.Target.Expr {
				t.Errorf("%s: %s asks differently of older and newer Grafana", name, a.Name)
			}
		}
	}
}

func isNumber(s string) bool { return strings.Trim(s, "0123456789") == "" }

var (
	dashboardLink = regexp.MustCompile(`/d/([^?]+)\?(.*)`)
	parameter     = regexp.MustCompile(`^(?:var-(\w+)=\$\{[\w.]+:percentencode\}|\$\{(\w+):queryparam\}|\$\{(__url_time_range)\})$`)
)

// links are all in a dashboard.
func links(d document) (all []link, cells int) {
	all = slices.Clone(d.Links)
	for _, p := range d.Panels {
		inPanel := slices.Clone(p.FieldConfig.Defaults.Links)
		for _, o := range p.FieldConfig.Overrides {
			for _, property := range o.Properties {
				if property.ID != "links" {
					continue
				}
				for _, l := range property.Value.([]any) {
					fields := l.(map[string]any)
					inPanel = append(inPanel, link{fields["title"].(string), fields["url"].(string), fields["targetBlank"].(bool)})
				}
			}
		}
		all, cells = append(all, inPanel...), cells+len(inPanel)
	}
	return all, cells
}

// Links lead to dashboards that there are, with variables that those have, and keep the time.
func TestLinks(t *testing.T) {
	all := documents(t)
	variables := map[string][]string{} // by uid
	for _, d := range all {
		for _, v := range d.Templating.List {
			variables[d.UID] = append(variables[d.UID], v.Name)
		}
	}
	for name, d := range all {
		found, cells := links(d)
		if cells < 2 {
			t.Errorf("%s has %d links in panels", name, cells)
		}
		for _, l := range found {
			if strings.HasPrefix(l.URL, "${receiver}/") {
				if !l.TargetBlank {
					t.Errorf("%s: %s leaves Grafana", name, l.URL)
				}
				continue // test/monitoring/grafana_test.go follows them
			}
			m := dashboardLink.FindStringSubmatch(l.URL)
			if m == nil || variables[m[1]] == nil {
				t.Fatalf("%s: no dashboard is at %s", name, l.URL)
			}
			var keeps []string
			for _, p := range strings.Split(m[2], "&") {
				is := parameter.FindStringSubmatch(p)
				if is == nil {
					t.Fatalf("%s: %s has %s", name, l.URL, p)
				}
				v := is[1] + is[2]
				if v != "" && !slices.Contains(variables[m[1]], v) {
					t.Errorf("%s: %s has no variable %s", name, m[1], v)
				}
				keeps = append(keeps, v+is[3])
			}
			inMenu := slices.Contains(d.Links, l)
			for _, kept := range []string{"datasource", "job", "receiver", "__url_time_range"} {
				if !slices.Contains(keeps, kept) && (kept != "__url_time_range" || !inMenu) {
					t.Errorf("%s: %s does not keep %s", name, l.URL, kept)
				}
			}
			if len(slices.Compact(slices.Sorted(slices.Values(keeps)))) != len(keeps) {
				t.Errorf("%s: %s has something twice", name, l.URL)
			}
		}
	}
}

// expressions are all queries in a dashboard, by where they are.
func expressions(d document) map[string]string {
	all := map[string]string{}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all[p.Title+", "+target.RefID] = target.Expr
		}
	}
	for _, v := range d.Templating.List {
		for i, s := range texts(v.Query) {
			all[fmt.Sprintf("variable %s, %d", v.Name, i)] = s
		}
	}
	for _, a := range d.Annotations.List {
		all[a.Name] = a.Expr
	}
	return all
}

var (
	selector     = regexp.MustCompile(`([A-Za-z_:][\w:]*)\s*[{\[]`)
	ownMetric    = regexp.MustCompile(`\bcijob_\w+`)
	bareSelector = regexp.MustCompile(`(^|[^\w:])\{|__name__`)
	boundMatcher = regexp.MustCompile(`\ble\s*[=!]`)
	outside      = regexp.MustCompile("`[^`]*`|\"[^\"]*\"|#[^\n]*")
	tableRow     = regexp.MustCompile("(?m)^\\| `(cijob_\\w+)` \\| (\\w+) \\|")
)

// Only metrics that docs/metrics.md lists, by name, and no bound of a bucket, which Prometheus 3 writes
// otherwise than the receiver.
func TestMetrics(t *testing.T) {
	reference, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, m := range tableRow.FindAllStringSubmatch(string(reference), -1) {
		known[m[1]] = true
		if m[2] == "histogram" {
			for _, part := range []string{"_bucket", "_count", "_sum"} {
				known[m[1]+part] = true
			}
		}
	}
	if len(known) < 15 {
		t.Fatalf("docs/metrics.md lists %v", slices.Sorted(maps.Keys(known)))
	}
	for name, d := range documents(t) {
		for where, expr := range expressions(d) {
			bare := outside.ReplaceAllString(expr, "``")
			for _, m := range selector.FindAllStringSubmatch(bare, -1) {
				if !strings.HasPrefix(m[1], "cijob_") {
					t.Errorf("%s: %s: the metric %s", name, where, m[1])
				}
			}
			for _, metric := range ownMetric.FindAllString(bare, -1) {
				if !known[metric] {
					t.Errorf("%s: %s: docs/metrics.md does not list %s", name, where, metric)
				}
			}
			if strings.Contains(bare, "ci_") || bareSelector.MatchString(bare) || boundMatcher.MatchString(bare) {
				t.Errorf("%s: %s: a named family, a selector without a name, or a bucket by its bound", name, where)
			}
		}
	}
}

// A variable's value is put between backticks as a regular expression and nowhere else: only there names
// with quotes are what they are.
func TestNamesAreSafe(t *testing.T) {
	own := regexp.MustCompile(`\$\{?(job|template|project|status)\b`)
	safe := regexp.MustCompile("\\b(job|template|project|status)=~`\\$\\{(job|template|project|status):regex\\}`")
	for name, d := range documents(t) {
		for where, expr := range expressions(d) {
			for _, m := range safe.FindAllStringSubmatch(expr, -1) {
				if m[1] != m[2] {
					t.Errorf("%s: %s: %s", name, where, m[0])
				}
			}
			if rest := safe.ReplaceAllString(expr, ""); own.MatchString(rest) {
				t.Errorf("%s: %s: a variable stands elsewhere: %s", name, where, own.FindString(rest))
			}
		}
	}
}

// Long queries are laid out: no line that nobody can read, brackets that match, and no tab.
func TestLayout(t *testing.T) {
	for name, d := range documents(t) {
		for where, expr := range expressions(d) {
			bare := outside.ReplaceAllString(expr, "``")
			if strings.Count(bare, "(") != strings.Count(bare, ")") || strings.Contains(expr, "\t") {
				t.Errorf("%s: %s: brackets, or a tab", name, where)
			}
			for line := range strings.Lines(expr) {
				if content := strings.TrimSpace(line); len(content) > 170 || content == "" {
					t.Errorf("%s: %s: %d characters: %q", name, where, len(content), content)
				}
			}
		}
	}
}
