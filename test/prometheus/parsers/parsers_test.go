// Package parsers reads our expositions with the parsers of Prometheus itself. Its module
// is one of its own, so that the product does not depend on Prometheus.
package parsers

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"ci-jobs-metrics/internal/exposition"
	"ci-jobs-metrics/internal/exposition/expositiontest"
	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/totals"
)

var formats = []exposition.Format{exposition.Text, exposition.OpenMetrics, exposition.OpenMetrics001, exposition.Protobuf}

// TestParse renders the jobs of the exposition's golden files.
func TestParse(t *testing.T) {
	paths, err := filepath.Glob("../../../internal/exposition/testdata/*.jobs")
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
	settings := totals.Settings{Bounds: expositiontest.Bounds}
	e := exposition.New(exposition.Options{Feed: expositiontest.Totals(expositiontest.Jobs(script), settings).Feed()})
	for _, format := range formats {
		values := parse(t, format, render(t, e, format, exposition.NewRegistry()), false).values
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
	f.Add(`\`, "dotnet build", "group/app", uint64(11))
	f.Fuzz(func(t *testing.T, a, b, c string, seed uint64) {
		check(t, expositiontest.Random(seed, a, b, c))
	})
}

// check compares all that Prometheus sees with the naive model: as in the classic
// formats, and of protobuf what is in no other. The operator asked for labels.
func check(t *testing.T, jobs []job.Job) {
	t.Helper()
	all := totals.New(totals.Settings{Bounds: expositiontest.Bounds, Labels: []string{"version"}})
	for i := range jobs {
		all.Apply(int64(i+1), time.UnixMilli(1e12+int64(i)), &jobs[i])
	}
	want := expositiontest.Expect(all.Snapshot())
	e := exposition.New(exposition.Options{Feed: all.Feed()})
	for _, format := range formats {
		body := render(t, e, format, nil)
		got := parse(t, format, body, false)
		diff(t, format, "values", present(want.Values), got.values)
		if format != exposition.Text {
			diff(t, format, "exemplars", asRead(format, present(want.Exemplars)), got.exemplars)
		}
		if format != exposition.Protobuf {
			continue
		}
		got = parse(t, format, body, true)
		diff(t, format, "native histograms", present(want.Native), got.native)
		diff(t, format, "exemplars of native histograms", exemplarsOf(want), got.nativeExemplars)
		created := present(want.Created)
		maps.DeleteFunc(got.created, func(k string, _ time.Time) bool { // parts of classic histograms
			_, whole := created[k]
			return !whole
		})
		diff(t, format, "created", created, got.created)
	}
}

// asRead is what Prometheus makes of exemplars: in OpenMetrics it leaves the escapes in
// their labels as they are.
func asRead(format exposition.Format, exemplars map[string]expositiontest.Exemplar) map[string]expositiontest.Exemplar {
	if format == exposition.Protobuf {
		return exemplars
	}
	escape := strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
	for k, x := range exemplars {
		x.Labels = []expositiontest.Label{{Name: x.Labels[0].Name, Value: escape.Replace(x.Labels[0].Value)}}
		exemplars[k] = x
	}
	return exemplars
}

func diff(t *testing.T, format exposition.Format, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s (-want +got):\n%s", format.ContentType(), what, diff)
	}
}

// present leaves labels without a value out of the keys, as key does.
func present[T any](values map[string]T) map[string]T {
	without := map[string]T{}
	for k, v := range values {
		without[strings.ReplaceAll(k, ` version=""`, "")] = v
	}
	return without
}

// exemplarsOf counts the exemplars of each histogram.
func exemplarsOf(want *expositiontest.Expected) map[string]int {
	counts := map[string]int{}
	for k := range present(want.Native) {
		counts[k] = 0
	}
	for k := range present(want.Exemplars) {
		name, rest, _ := strings.Cut(k, "_bucket le=")
		_, others, _ := strings.Cut(rest, " ")
		counts[name+" "+others]++
	}
	return counts
}

func render(t *testing.T, e *exposition.Exposition, format exposition.Format, self *exposition.Registry) []byte {
	t.Helper()
	var b bytes.Buffer
	var err error
	if self == nil {
		err = e.Render(t.Context(), &b, format, true, nil)
	} else {
		err = e.Render(t.Context(), &b, format, true, self)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A parsed document is what Prometheus would store, by expositiontest.Key.
type parsed struct {
	values          map[string]float64
	exemplars       map[string]expositiontest.Exemplar
	created         map[string]time.Time
	native          map[string]map[int]uint64 // as in expositiontest.Document
	nativeExemplars map[string]int
}

// parse reads a body as a scrape does, with the parser that Prometheus chooses for
// its content type. Where native histograms are wanted, the classic ones are kept beside
// them: without that, this version of the parser does not begin with the first exemplar
// of any but a family's first histogram.
func parse(t *testing.T, format exposition.Format, body []byte, native bool) *parsed {
	t.Helper()
	p, err := textparse.New(body, format.ContentType(), labels.NewSymbolTable(),
		textparse.ParserOptions{IgnoreNativeHistograms: !native, KeepClassicOnClassicAndNativeHistograms: native})
	if err != nil {
		t.Fatal(err)
	}
	got := &parsed{map[string]float64{}, map[string]expositiontest.Exemplar{}, map[string]time.Time{},
		map[string]map[int]uint64{}, map[string]int{}}
	for {
		entry, err := p.Next()
		switch {
		case errors.Is(err, io.EOF):
			return got
		case err != nil:
			t.Fatalf("%s: %v\nin\n%.4000s", format.ContentType(), err, body)
		case entry == textparse.EntrySeries:
			got.series(t, p)
		case entry == textparse.EntryHistogram:
			got.histogram(t, p)
		}
	}
}

func (d *parsed) series(t *testing.T, p textparse.Parser) {
	t.Helper()
	k := key(p)
	_, timestamp, value := p.Series()
	if _, again := d.values[k]; again || timestamp != nil {
		t.Errorf("%s: seen before: %t, has a time: %t", k, again, timestamp != nil)
	}
	d.values[k] = value
	d.noteCreated(k, p)
	var e exemplar.Exemplar
	if p.Exemplar(&e) {
		x := expositiontest.Exemplar{Value: e.Value, Time: float64(e.Ts) / 1e3}
		e.Labels.Range(func(l labels.Label) {
			x.Labels = append(x.Labels, expositiontest.Label{Name: l.Name, Value: l.Value})
		})
		d.exemplars[k] = x
	}
}

func (d *parsed) histogram(t *testing.T, p textparse.Parser) {
	t.Helper()
	k := key(p)
	_, _, h, _ := p.Histogram()
	if err := h.Validate(); err != nil {
		t.Errorf("%s: %v", k, err)
	}
	buckets := map[int]uint64{math.MinInt: h.ZeroCount}
	for i := h.PositiveBucketIterator(); i.Next(); {
		b := i.At()
		checkBounds(t, k, b)
		if b.Count > 0 {
			buckets[int(b.Index)] = b.Count
		}
	}
	d.native[k] = buckets
	d.noteCreated(k, p)
	d.nativeExemplars[k] = 0
	for e := (exemplar.Exemplar{}); p.Exemplar(&e); e = (exemplar.Exemplar{}) {
		d.nativeExemplars[k]++
	}
}

// checkBounds holds what Prometheus takes a bucket for against what the totals mean.
func checkBounds(t *testing.T, k string, b histogram.Bucket[uint64]) {
	t.Helper()
	if want := totals.ExponentialBound(int(b.Index)); math.Abs(b.Upper-want) > want*1e-12 || b.Lower >= b.Upper {
		t.Errorf("%s: bucket %d is (%v, %v], want an upper bound of %v", k, b.Index, b.Lower, b.Upper, want)
	}
}

// noteCreated notes when a series began. Prometheus knows milliseconds.
func (d *parsed) noteCreated(k string, p textparse.Parser) {
	if ms := p.StartTimestamp(); ms != 0 {
		d.created[k] = time.UnixMilli(ms).UTC()
	}
}

// key leaves labels without a value out, as a scrape does.
func key(p textparse.Parser) string {
	var series labels.Labels
	p.Labels(&series)
	var others []expositiontest.Label
	series.Range(func(l labels.Label) {
		if l.Name != model.MetricNameLabel && l.Value != "" {
			others = append(others, expositiontest.Label{Name: l.Name, Value: l.Value})
		}
	})
	return expositiontest.Key(series.Get(model.MetricNameLabel), others...)
}
