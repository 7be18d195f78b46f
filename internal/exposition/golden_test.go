package exposition_test

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"ci-jobs-metrics/internal/exposition"
	"ci-jobs-metrics/internal/exposition/expositiontest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden renders the jobs of each testdata/*.jobs in both formats, and holds
// the result against the golden file, the strict check and the naive model.
func TestGolden(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.jobs")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no testdata/*.jobs: %v", err)
	}
	for _, path := range scripts {
		script, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		jobs := expositiontest.Jobs(string(script))
		want := expositiontest.Model(jobs, expositiontest.Bounds)
		base := strings.TrimSuffix(path, ".jobs")
		t.Run(filepath.Base(base), func(t *testing.T) {
			text := renderJobs(t, exposition.Text, string(script))
			golden(t, base+".txt", text)
			diffValues(t, want, parse(t, exposition.Text, text).Values())
			diffValues(t, want, expfmtValues(t, text))

			om := renderJobs(t, exposition.OpenMetrics, string(script))
			golden(t, base+".om", om)
			diffValues(t, want, parse(t, exposition.OpenMetrics, om).Values())
		})
	}
}

func renderJobs(t testing.TB, format exposition.Format, script string) []byte {
	t.Helper()
	return render(t, of(exposition.Both, expositiontest.Totals(expositiontest.Jobs(script), settings)), format)
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; write it anew with -update):\n%s", path, diff)
	}
}

func parse(t testing.TB, format exposition.Format, body []byte) *expositiontest.Document {
	t.Helper()
	doc, err := expositiontest.Parse(format.ContentType(), body)
	if err != nil {
		t.Fatalf("%v\nin\n%.4000s", err, body)
	}
	return doc
}

func diffValues(t testing.TB, want, got map[string]float64) {
	t.Helper()
	if maps.Equal(want, got) {
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
}

// expfmtValues reads text 0.0.4 with the parser of the Prometheus project that
// Pushgateway and others use.
func expfmtValues(t testing.TB, body []byte) map[string]float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		t.Fatalf("expfmt: %v\nin\n%.4000s", err, body)
	}
	values := map[string]float64{}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			metricValues(values, name, m)
		}
	}
	return values
}

func metricValues(values map[string]float64, name string, m *dto.Metric) {
	var labels []expositiontest.Label
	for _, l := range m.GetLabel() {
		labels = append(labels, expositiontest.Label{Name: l.GetName(), Value: l.GetValue()})
	}
	h := m.GetHistogram()
	if h == nil {
		values[expositiontest.Key(name, labels...)] = m.GetCounter().GetValue()
		return
	}
	for _, b := range h.GetBucket() {
		le := expositiontest.Label{Name: "le", Value: model.SampleValue(b.GetUpperBound()).String()}
		values[expositiontest.Key(name+"_bucket", append(labels[:len(labels):len(labels)], le)...)] = float64(b.GetCumulativeCount())
	}
	values[expositiontest.Key(name+"_sum", labels...)] = h.GetSampleSum()
	values[expositiontest.Key(name+"_count", labels...)] = float64(h.GetSampleCount())
}
