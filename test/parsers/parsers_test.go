// Package parsers reads our expositions with the parsers of Prometheus itself. It
// is a module of its own, so that the product does not depend on Prometheus.
package parsers

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"ci-jobs-metrics/internal/exposition"
	"ci-jobs-metrics/internal/exposition/expositiontest"
	"ci-jobs-metrics/internal/job"
)

var formats = []exposition.Format{exposition.Text, exposition.OpenMetrics, exposition.OpenMetrics001, exposition.Protobuf}

// TestParse renders the jobs of the exposition's golden files.
func TestParse(t *testing.T) {
	paths, err := filepath.Glob("../../internal/exposition/testdata/*.jobs")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no *.jobs: %v", err)
	}
	for _, path := range paths {
		script, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(path), func(t *testing.T) { check(t, expositiontest.Jobs(string(script))) })
	}
}

// TestParseSelf reads the jobs with the receiver's own metrics behind them: the
// document as a whole must be one that Prometheus takes.
func TestParseSelf(t *testing.T) {
	const script = "1\tbuild\tgroup/app\tsuccess\t1"
	snapshot := expositiontest.Snapshot(expositiontest.Jobs(script), expositiontest.Bounds)
	for _, format := range formats {
		var b bytes.Buffer
		if err := exposition.New(exposition.Options{}).Render(&b, format, snapshot, exposition.NewRegistry()); err != nil {
			t.Fatal(err)
		}
		values := parse(t, format, b.Bytes())
		for _, key := range []string{"go_goroutines", expositiontest.Key("cijob_runs_total",
			expositiontest.Label{Name: "template", Value: "build"},
			expositiontest.Label{Name: "project", Value: "group/app"},
			expositiontest.Label{Name: "status", Value: "success"})} {
			if _, ok := values[key]; !ok {
				t.Errorf("%s: no %s", format.ContentType(), key)
			}
		}
	}
}

// FuzzParse renders random jobs with any words in their names and projects.
func FuzzParse(f *testing.F) {
	f.Add("x", "dotnet build", "group/app", uint64(1))
	f.Add("größe", "___", `"\n\`, uint64(2))
	f.Add("ci_x", "U__ci__x", "x_duration", uint64(3))
	f.Fuzz(func(t *testing.T, a, b, c string, seed uint64) {
		check(t, expositiontest.Random(seed, a, b, c))
	})
}

// check compares every sample that Prometheus sees with the naive model.
func check(t *testing.T, jobs []job.Job) {
	t.Helper()
	want := expositiontest.Model(jobs, expositiontest.Bounds)
	for _, format := range formats {
		var b bytes.Buffer
		e := exposition.New(exposition.Options{})
		if err := e.Render(&b, format, expositiontest.Snapshot(jobs, expositiontest.Bounds), nil); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, parse(t, format, b.Bytes())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", format.ContentType(), diff)
		}
	}
}

// parse reads a body as a scrape does, with the parser that Prometheus chooses for
// its content type, and returns the samples by expositiontest.Key.
func parse(t *testing.T, format exposition.Format, body []byte) map[string]float64 {
	t.Helper()
	p, err := textparse.New(body, format.ContentType(), labels.NewSymbolTable(), textparse.ParserOptions{})
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for {
		switch entry, err := p.Next(); {
		case errors.Is(err, io.EOF):
			return values
		case err != nil:
			t.Fatalf("%s: %v\nin\n%.4000s", format.ContentType(), err, body)
		case entry != textparse.EntrySeries:
			continue
		}
		var series labels.Labels
		p.Labels(&series)
		_, timestamp, value := p.Series()
		k := key(series)
		if _, again := values[k]; again || timestamp != nil {
			t.Errorf("%s: seen before: %t, has a time: %t", k, again, timestamp != nil)
		}
		values[k] = value
	}
}

func key(series labels.Labels) string {
	var others []expositiontest.Label
	series.Range(func(l labels.Label) {
		if l.Name != model.MetricNameLabel {
			others = append(others, expositiontest.Label{Name: l.Name, Value: l.Value})
		}
	})
	return expositiontest.Key(series.Get(model.MetricNameLabel), others...)
}
