package receiver_test

import (
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"ci-jobs-metrics/internal/totals"
)

// docs/metrics.md says of every metric what the program exposes: neither knows one more
// than the other, and types and labels agree.
func TestMetricsReference(t *testing.T) {
	o := options(t.TempDir()+"/ledger.db", "127.0.0.1:0")
	o.Totals.Labels = totals.LabelNames()
	o.Totals.MaxSets = 1
	r := start(t, o)
	for _, job := range []string{
		"name=dotnet_build&project=a&status=success&duration=1&version=1&stage=s&ref=r&runner=x&source=push&job=j",
		"name=dotnet_build&project=b&status=success&duration=1",
		"name=dotnet_build&project=CI_PROJECT_PATH&status=success",
	} {
		if response, err := r.client.Post(r.url+"/steps", "application/x-www-form-urlencoded", strings.NewReader(job)); err != nil {
			t.Fatal(err)
		} else if response.Body.Close(); response.StatusCode >= http.StatusInternalServerError {
			t.Fatal(response.Status)
		}
	}
	_, body := r.get(t, "/metrics")
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	documented := reference(t)
	for name, f := range families {
		if prefix, _, _ := strings.Cut(name, "_"); prefix == "go" || prefix == "process" {
			documented[prefix+"_…"].exposed++
			continue
		}
		want, ok := documented[strings.Replace(name, "dotnet_build", "<name>", 1)]
		if !ok {
			t.Errorf("%s is exposed, but not in the reference", name)
			continue
		}
		want.exposed++
		if got := strings.ToLower(f.GetType().String()); got != want.typ {
			t.Errorf("%s is a %s, documented as %q", name, got, want.typ)
		}
		if got := labelsOf(f); !slices.Equal(got, want.labels) {
			t.Errorf("%s has the labels %v, documented are %v", name, got, want.labels)
		}
	}
	for name, m := range documented {
		if m.exposed == 0 {
			t.Errorf("%s is in the reference, but not exposed", name)
		}
	}
}

// A metric is a row of the reference's tables.
type metric struct {
	typ     string
	labels  []string
	exposed int
}

var (
	metricRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (\\w*) ?\\| [^|]*\\| ([^|]*)\\| ")
	quoted    = regexp.MustCompile("`([^`]+)`")
)

func reference(t *testing.T) map[string]*metric {
	t.Helper()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	metrics := map[string]*metric{}
	for _, row := range metricRow.FindAllStringSubmatch(string(text), -1) {
		m := &metric{typ: row[2]}
		for _, label := range quoted.FindAllStringSubmatch(row[3], -1) {
			m.labels = append(m.labels, label[1])
		}
		if strings.Contains(row[3], "added labels") {
			m.labels = append(m.labels, totals.LabelNames()...)
		}
		slices.Sort(m.labels)
		metrics[row[1]] = m
	}
	if len(metrics) < 20 {
		t.Fatalf("only %d metrics were found in the reference", len(metrics))
	}
	return metrics
}

func labelsOf(f *dto.MetricFamily) []string {
	names := map[string]bool{}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			names[l.GetName()] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
