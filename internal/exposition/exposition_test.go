package exposition_test

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ci-jobs-metrics/internal/exposition"
	"ci-jobs-metrics/internal/exposition/expositiontest"
	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/totals"
)

var settings = totals.Settings{Bounds: expositiontest.Bounds}

// FuzzExposition renders any jobs in all formats: each passes the strict check
// and reads back as what a naive count of the jobs gives.
func FuzzExposition(f *testing.F) {
	f.Add("x", "dotnet build", "group/app", uint64(1), uint8(0))
	f.Add("größe", "___", `"\n\`, uint64(2), uint8(1))
	f.Add("ci_x", "U__ci__x", "x_duration", uint64(3), uint8(2))
	for seed := range uint64(100) { // many collisions
		f.Add("x", "x_duration", "y", seed, uint8(seed+100))
	}
	bounds := [][]float64{expositiontest.Bounds, {0.5, 1e6, 1e21}, {}}
	f.Fuzz(func(t *testing.T, a, b, c string, seed uint64, which uint8) {
		bounds := bounds[int(which)%len(bounds)]
		var labels []string
		if which >= 128 {
			labels = []string{"version", "stage"}
		}
		jobs := expositiontest.Random(seed, a, b, c)
		want := expositiontest.Model(jobs, bounds)
		all := totals.New(totals.Settings{Bounds: bounds, Labels: labels})
		applyAll(jobs, 1, all)
		expected := expositiontest.Expect(all.Snapshot())
		e := of(exposition.Both, all)
		for _, format := range formats {
			body := render(t, e, format)
			doc := parse(t, format, body)
			diffExpected(t, expected, format, doc)
			if labels == nil {
				diffValues(t, want, doc.Values())
			}
			if format == exposition.Text {
				diffValues(t, expected.Values, expfmtValues(t, body))
			}
		}
	})
}

var formats = []exposition.Format{exposition.Text, exposition.OpenMetrics, exposition.OpenMetrics001, exposition.Protobuf}

// applyAll applies jobs as rows from the given one on to some totals alike, some of
// them received at the same time.
func applyAll(jobs []job.Job, row int64, to ...*totals.Totals) {
	for i := range jobs {
		for _, all := range to {
			all.Apply(row+int64(i), time.Unix(1e9+(row+int64(i))/4, 123456000), &jobs[i])
		}
	}
}

// diffExpected compares all that a format shows.
func diffExpected(t testing.TB, want *expositiontest.Expected, format exposition.Format, doc *expositiontest.Document) {
	t.Helper()
	diffValues(t, want.Values, doc.Values())
	if format != exposition.Text {
		if diff := cmp.Diff(want.Exemplars, doc.Exemplars()); diff != "" {
			t.Errorf("exemplars (-want +got):\n%s", diff)
		}
	}
	if format == exposition.Protobuf {
		if diff := cmp.Diff(want.Created, doc.Created); diff != "" {
			t.Errorf("created (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want.Native, doc.Native); diff != "" {
			t.Errorf("native histograms (-want +got):\n%s", diff)
		}
	}
}

// of shows totals; nobody else may.
func of(view exposition.Families, all *totals.Totals) *exposition.Exposition {
	return exposition.New(exposition.Options{Families: view, Feed: all.Feed()})
}

func render(t testing.TB, e *exposition.Exposition, format exposition.Format) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := e.Render(t.Context(), &b, format, true, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFamilies(t *testing.T) {
	all := expositiontest.Totals(expositiontest.Jobs("1\tbuild\tapp\tsuccess\t1"), settings)
	for _, c := range []struct{ view, want string }{
		{"both", "ci_build_duration ci_build_total cijob_duration_seconds cijob_runs_total"},
		{"named", "ci_build_duration ci_build_total"},
		{"labelled", "cijob_duration_seconds cijob_runs_total"},
	} {
		var view exposition.Families
		if err := view.Set(c.view); err != nil {
			t.Fatal(err)
		}
		if got := names(parse(t, exposition.Text, render(t, of(view, all), exposition.Text))); got != c.want {
			t.Errorf("%s: got %s, want %s", c.view, got, c.want)
		}
	}
	var view exposition.Families
	if err := view.Set("all"); err == nil {
		t.Error("families all: no error")
	}
	if got := view.String(); got != "both" {
		t.Errorf("the zero value is %q, want both", got)
	}
}

// TestOrder brings the entries in many orders: the output is always the same.
func TestOrder(t *testing.T) {
	script := "1\tb c\tp\tfailed\t1\n2\tb-c\tp\tfailed\t70\n3\tb_c\tp\tsuccess\t700\n4\ta\tq\tunknown\t1\n5\té\tp\tskipped"
	snapshot := expositiontest.Totals(expositiontest.Jobs(script), settings).Snapshot()
	part := &totals.Checkpoint{Settings: settings, Runs: snapshot.Runs, Durations: snapshot.Durations}
	want := render(t, of(exposition.Both, loaded(part)), exposition.Text)
	for range snapshot.Runs {
		rotate(part.Runs)
		rotate(part.Durations)
		if diff := cmp.Diff(string(want), string(render(t, of(exposition.Both, loaded(part)), exposition.Text))); diff != "" {
			t.Fatalf("in another order (-want +got):\n%s", diff)
		}
	}
}

func loaded(part *totals.Checkpoint) *totals.Totals {
	all := totals.New(part.Settings)
	all.Load(part)
	return all
}

func rotate[T any](s []T) { copy(s, append(slices.Clone(s[1:]), s[0])) }

// TestSums shows sums for which a float64 has too few digits, or an exponent, and
// one that is at its limit before another is added.
func TestSums(t *testing.T) {
	for _, c := range []struct {
		microseconds int64
		want         string
	}{
		{0, "0"}, {1, "0.000001"}, {50, "0.00005"}, {1_000_000, "1"}, {1_500_000, "1.5"},
		{1_000_000_000_000_000, "1000000000"},
		{9_007_199_254_740_993, "9007199254.740993"},
		{math.MaxInt64, "9223372036854.775807"},
	} {
		d := totals.Duration{DurationKey: totals.DurationKey{Template: "a b", Status: job.Success},
			Created: time.Unix(1, 0), Count: 1, Sum: c.microseconds, Buckets: []uint64{1}}
		for _, format := range []exposition.Format{exposition.Text, exposition.OpenMetrics} {
			checkSum(t, format, c.want, d)
		}
		d2 := d
		d2.Template, d2.Sum = "a-b", math.MaxInt64-c.microseconds
		checkSum(t, exposition.Text, "9223372036854.775807", d, d2)
		d2.Sum = math.MaxInt64
		checkSum(t, exposition.Text, "9223372036854.775807", d, d2)
	}
}

func checkSum(t *testing.T, format exposition.Format, want string, durations ...totals.Duration) {
	t.Helper()
	all := loaded(&totals.Checkpoint{Durations: durations})
	body := render(t, of(exposition.Named, all), format)
	for _, s := range parse(t, format, body).Families[0].Samples {
		if s.Name == "ci_a_b_duration_sum" && s.Text != want {
			t.Errorf("sum is %s, want %s", s.Text, want)
		}
	}
}

// TestOpenMetricsTypes says which counters OpenMetrics can't declare as such.
func TestOpenMetricsTypes(t *testing.T) {
	for _, c := range []struct {
		why     string
		names   string // those with a * have a duration
		unknown string
	}{
		{"no clash without the histogram", "x x_duration", ""},
		{"a histogram has the family's name", "x* x_duration", "x_duration"},
		{"the chain", "x* x_duration x_duration_total x_duration_total_total",
			"x_duration x_duration_total x_duration_total_total"},
		{"the chain has a gap", "x* x_duration x_duration_total_total", "x_duration"},
		{"the family has the name of a counter's sample", "x x_total", "x_total"},
		{"or of a histogram's", "x* x_duration_bucket x_duration_sum x_duration_count x_duration_created x_duration_max",
			"x_duration_bucket x_duration_sum x_duration_count x_duration_created"},
		{"or of one that may be added", "x x_created", "x_created"},
		{"alone they are like others", "x_total y_created z_duration_bucket", ""},
		{"escaped names never clash", "é* é_duration é_total é_created é_duration_bucket", ""},
	} {
		var script strings.Builder
		for name := range strings.FieldsSeq(c.names) {
			plain, timed := strings.CutSuffix(name, "*")
			script.WriteString("1\t" + plain + "\tp\tsuccess\t" + strings.Repeat("1", btoi(timed)) + "\n")
		}
		doc := parse(t, exposition.OpenMetrics, renderJobs(t, exposition.OpenMetrics, script.String()))
		var unknown []string
		for _, f := range doc.Families {
			if f.Type == "unknown" {
				unknown = append(unknown, strings.TrimSuffix(strings.TrimPrefix(f.Name, "ci_"), "_total"))
			}
		}
		want := strings.Fields(c.unknown)
		slices.Sort(want)
		slices.Sort(unknown)
		if diff := cmp.Diff(want, unknown); len(want)+len(unknown) > 0 && diff != "" {
			t.Errorf("%s: unknown (-want +got):\n%s", c.why, diff)
		}
	}
}

func TestRenderErrors(t *testing.T) {
	var b bytes.Buffer
	e := of(exposition.Both, totals.New(settings))
	if err := e.Render(t.Context(), &b, exposition.Text, true, brokenGatherer{}); err == nil || b.Len() > 0 {
		t.Errorf("a broken gatherer: error %v and %d bytes, want an error and none", err, b.Len())
	}
	if err := e.Render(t.Context(), brokenWriter{}, exposition.OpenMetrics, false, nil); !errors.Is(err, errBroken) {
		t.Errorf("a broken writer: %v, want its error", err)
	}
}

var errBroken = errors.New("broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }
