package monitoring_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ci-jobs-metrics/test/internal/harness"
)

const grafanaDir = "../../deploy/grafana/"

// dashboards are the parts of the committed dashboards that these tests look at; deploy/grafana tests the
// rest beside their generator.
func dashboards(t *testing.T) map[string]map[string]any {
	t.Helper()
	files, err := filepath.Glob(grafanaDir + "dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	all := map[string]map[string]any{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d map[string]any
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = d
	}
	return all
}

// grafanaTypes is what the types of @grafana/schema leave open, and what makes JSON of them: an enum is
// written as its value. Data sources have left that package, so what a query of Prometheus has is
// told here, as its plugin reads it.
const grafanaTypes = `
import type { AnnotationQuery, Dashboard, DataQuery, DataTransformerConfig } from '@grafana/schema';

type Plain<T> = T extends string ? ` + "`${T}`" + `
	: T extends number | boolean | null | undefined ? T
	: T extends Array<infer U> ? Array<Plain<U>>
	: T extends object ? { [K in keyof T]: Plain<T[K]> }
	: T;

interface PrometheusQuery extends DataQuery {
	datasource: { type: 'prometheus'; uid: '${datasource}' };
	editorMode: 'code';
	expr: string;
	exemplar?: boolean;
	format?: 'time_series' | 'table' | 'heatmap';
	instant: boolean;
	interval?: string;
	legendFormat?: string;
	range: boolean;
}
interface PrometheusAnnotation extends AnnotationQuery<PrometheusQuery> {
	expr: string;
	step: string;
	tagKeys: string;
	textFormat: string;
	titleFormat: string;
	useValueForTime: boolean;
}
interface Document extends Omit<Dashboard, 'annotations'> {
	annotations: { list: PrometheusAnnotation[] };
}
`

// The dashboards have what Grafana's own types say of a dashboard, of each kind of panel and
// of its fields, and nothing that those don't know. How Grafana draws them is not tested.
func TestGrafanaSchema(t *testing.T) {
	t.Parallel()
	harness.NeedProgram(t, "npm")
	printed, err := exec.Command("../../scripts/grafana-schema").Output()
	if err != nil {
		harness.Missing(t, "@grafana/schema can't be fetched: "+err.Error())
	}
	modules := strings.TrimSpace(string(printed))
	program := grafanaProgram(t, modules)
	// What is wrong is found.
	wrongs := [][2]string{
		{`"editable": true`, `"editable": "yes"`},                          // of the dashboard
		{`"graphTooltip": 1`, `"graphTooltipp": 1`},                        // which it has not
		{`"colorMode": "value"`, `"colorMode": "values"`},                  // an enum
		{`"cellHeight": "sm"`, `"cellsHeight": "sm"`},                      // options of a table
		{`"barAlignment": -1`, `"barAlignment": "before"`},                 // fields of a chart
		{`"yHistogram": true`, `"histogram": true`},                        // options of a heat map
		{`"showUnfilled": false`, `"showUnfilled": 0`},                     // options of a bar gauge
		{`"exemplar": true`, `"exemplars": true`},                          // a query
		{`"useValueForTime": true`, `"useValueForTime": "on"`},             // an annotation
		{`"sort": 5`, `"sort": 55`},                                        // a variable
		{`"display": "Yesterday"`, `"title": "Yesterday"`},                 // the time picker
		{`"id": "organize"`, `"name": "organize"`},                         // a transformation
		{`"mode": "palette-classic-by-name"`, `"mode": "palette-by-name"`}, // colours
	}
	programs := map[string]string{"committed.ts": program}
	for i, wrong := range wrongs {
		broken := strings.ReplaceAll(program, wrong[0], wrong[1])
		if broken == program {
			t.Errorf("there is no %s", wrong[0])
		}
		programs[fmt.Sprintf("wrong%02d.ts", i)] = broken
	}
	problems := compile(t, modules, programs)
	if said := problems["committed.ts"]; len(said) > 0 {
		t.Errorf("%d problems, such as %.4000s", len(said), strings.Join(said, "\n"))
	}
	for i, wrong := range wrongs {
		if len(problems[fmt.Sprintf("wrong%02d.ts", i)]) == 0 {
			t.Errorf("%s passes", wrong[1])
		}
	}
}

// grafanaProgram has each dashboard, and each panel's options, fields and queries, as constants that have
// to be of their types.
func grafanaProgram(t *testing.T, modules string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(grafanaTypes)
	n := 0
	is := func(value any, kind string) {
		text, err := json.MarshalIndent(value, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		n++
		fmt.Fprintf(&b, "export const c%d = (%s) satisfies Plain<%s>;\n", n, text, kind)
	}
	imported := map[string]bool{}
	all := dashboards(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		is(all[name], "Document")
		for _, each := range all[name]["panels"].([]any) {
			p := each.(map[string]any)
			kind := p["type"].(string)
			if kind == "row" {
				continue
			}
			types := filepath.Join("raw/composable", kind, "panelcfg/x/types.gen")
			declared, err := os.ReadFile(filepath.Join(modules, "node_modules/@grafana/schema/dist/types", types+".d.ts"))
			if err != nil {
				t.Fatalf("Grafana has no panel %s: %v", kind, err)
			}
			if !imported[kind] {
				imported[kind] = true
				fmt.Fprintf(&b, "import type * as %s from '../node_modules/@grafana/schema/dist/types/%s';\n", kind, types)
			}
			is(p["options"], kind+".Options")
			custom := p["fieldConfig"].(map[string]any)["defaults"].(map[string]any)["custom"]
			if has := strings.Contains(string(declared), "interface FieldConfig "); has != (custom != nil) {
				t.Errorf("%s: %v: has Grafana fields of its own for it? %v", name, p["title"], has)
			} else if has {
				is(custom, kind+".FieldConfig")
			}
			for _, query := range p["targets"].([]any) {
				is(query, "PrometheusQuery")
			}
			for _, transformation := range orNone(p["transformations"]) {
				is(transformation, "DataTransformerConfig")
			}
		}
	}
	return b.String()
}

func orNone(list any) []any {
	all, _ := list.([]any)
	return all
}

var compilerSays = regexp.MustCompile(`(?m)^\S*?(\w+\.ts)\(\d+,\d+\): error .*`)

// compile is what the compiler says of programs, by their names.
func compile(t *testing.T, modules string, programs map[string]string) map[string][]string {
	t.Helper()
	dir, err := os.MkdirTemp(modules, "check") // there the packages are found
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	args := []string{filepath.Join(modules, "node_modules/typescript/bin/tsc"), "--noEmit", "--strict", "--skipLibCheck",
		"--module", "esnext", "--moduleResolution", "bundler", "--target", "es2022"}
	for name, text := range programs {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, file)
	}
	said, err := exec.Command("node", args...).CombinedOutput()
	problems := map[string][]string{}
	for _, m := range compilerSays.FindAllStringSubmatch(string(said), -1) {
		problems[m[1]] = append(problems[m[1]], m[0])
	}
	if err != nil && len(problems) == 0 {
		t.Fatalf("%v: %.2000s", err, said)
	}
	return problems
}

var grafanaVariable = regexp.MustCompile(`\$\{[^}]+\}`)

// Links lead to pages of the receiver that there are, whatever the names are, and for any period.
func TestGrafanaLinks(t *testing.T) {
	t.Parallel()
	receiver := harness.NewReceiver(t)
	receiver.Start(t)
	const hostile = `sh&p/w#b "n' \ 100%+é?*`
	recorded, err := http.PostForm(receiver.URL("/steps"), url.Values{"name": {hostile}, "project": {hostile}, "status": {"success"},
		"duration": {"60"}, "id": {"host/1/" + hostile}, "url": {"https://gitlab.example/jobs/1"}})
	if err != nil {
		t.Fatal(err)
	}
	recorded.Body.Close()
	zone := time.FixedZone("", 5*3600+45*60)
	hour := func(before time.Duration) string {
		return time.Now().Add(-before).In(zone).Format("2006-01-02T15:00:00Z07:00")
	}
	values := map[string]string{
		"${receiver}":                         receiver.URL(""),
		"${__from:date:YYYY-MM-DDTHH:00:00Z}": hour(30 * 24 * time.Hour), "${__to:date:YYYY-MM-DDTHH:00:00Z}": hour(0),
	}
	found := map[string]bool{}
	for name, d := range dashboards(t) {
		for _, link := range grafanaStrings(d, "url") {
			if !strings.HasPrefix(link, "${receiver}") {
				continue
			}
			address := grafanaVariable.ReplaceAllStringFunc(link, func(v string) string {
				if value, ok := values[v]; ok {
					return value
				}
				if !strings.HasSuffix(v, ":percentencode}") {
					t.Errorf("%s: %s in %s: what is it?", name, v, link)
				}
				return percentEncoded(hostile)
			})
			page, err := harness.Fetch(address)
			if err != nil {
				t.Errorf("%s: %s: %v", name, link, err)
			}
			path := strings.TrimPrefix(address, receiver.URL(""))
			path, _, _ = strings.Cut(path, "?")
			found[path] = true
			if path != "/" && !strings.Contains(page, "sh&amp;p/w#b") {
				t.Errorf("%s: %s is not about the name", name, link)
			}
		}
	}
	if len(found) != 3 {
		t.Errorf("followed %v", found)
	}
	checkExemplarLink(t, receiver, "host/1/"+hostile)
}

// grafanaStrings are those of a field, wherever it is.
func grafanaStrings(value any, field string) (all []string) {
	switch v := value.(type) {
	case []any:
		for _, e := range v {
			all = append(all, grafanaStrings(e, field)...)
		}
	case map[string]any:
		for k, e := range v {
			if s, ok := e.(string); ok && k == field {
				all = append(all, s)
			}
			all = append(all, grafanaStrings(e, field)...)
		}
	}
	return all
}

// percentEncoded is as Grafana's format percentencode.
func percentEncoded(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// checkExemplarLink follows the link of the provisioned data source to a job.
func checkExemplarLink(t *testing.T, receiver *harness.Receiver, id string) {
	t.Helper()
	var file struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Name, Type, Access, URL string
			JSONData                struct {
				HTTPMethod   string `yaml:"httpMethod"`
				TimeInterval string `yaml:"timeInterval"`
				Exemplars    []struct {
					Name, URL string
					Label     string `yaml:"urlDisplayLabel"`
				} `yaml:"exemplarTraceIdDestinations"`
			} `yaml:"jsonData"`
		}
	}
	readProvisioning(t, "datasources/prometheus.yaml", &file)
	if len(file.Datasources) != 1 || file.Datasources[0].Type != "prometheus" || len(file.Datasources[0].JSONData.Exemplars) != 1 {
		t.Fatalf("%+v", file)
	}
	link := file.Datasources[0].JSONData.Exemplars[0]
	// Grafana takes a single $ for the environment's.
	address := strings.ReplaceAll(link.URL, "$$", "$")
	if strings.Count(link.URL, "$") != 2 || link.Name != "id" {
		t.Errorf("the link is %+v", link)
	}
	address = strings.ReplaceAll(strings.ReplaceAll(address, "http://localhost:8080", receiver.URL("")), "${__value.raw:percentencode}", percentEncoded(id))
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if to := answer.Header.Get("Location"); to != "https://gitlab.example/jobs/1" {
		t.Errorf("%s leads to %d %q", address, answer.StatusCode, to)
	}

	var provider struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Folder, Type string
			AllowUIUpdates     bool `yaml:"allowUiUpdates"`
			Options            struct{ Path string }
		}
	}
	readProvisioning(t, "dashboards/ci-jobs-metrics.yaml", &provider)
	if len(provider.Providers) != 1 || provider.Providers[0].Type != "file" {
		t.Errorf("%+v", provider)
	}
}

func readProvisioning(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(grafanaDir + "provisioning/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := harness.StrictYAML(text).Decode(into); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}
