package exposition_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"ci-jobs-metrics/internal/exposition"
	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/totals"
)

// TestExemplars says how jobs stand behind buckets in OpenMetrics, and that text 0.0.4
// has none.
func TestExemplars(t *testing.T) {
	fits, long := strings.Repeat("é", 126), strings.Repeat("é", 127)
	for _, c := range []struct {
		id   string
		took time.Duration
		want string
	}{
		{"42", 59500 * time.Millisecond, `le="60.0"} 1 # {id="42"} 59.5 1000000000.123456`},
		{"42", time.Minute, `le="60.0"} 1 # {id="42"} 60 1000000000.123456`},
		{"42", time.Minute + time.Microsecond, `le="+Inf"} 1 # {id="42"} 60.000001 1000000000.123456`},
		{"a\"\\\n", 0, `le="60.0"} 1 # {id="a\"\\\n"} 0 1000000000.123456`},
		{fits, 0, `le="60.0"} 1 # {id="` + fits + `"} 0 1000000000.123456`},
		{long, 0, `le="60.0"} 1`},
		{"", 0, `le="60.0"} 1`},
	} {
		all := totals.New(totals.Settings{Bounds: []float64{60}})
		j := job.Job{Name: "x", Project: "p", Status: job.Success, Timed: true, Duration: c.took, ID: c.id}
		all.Apply(1, time.Unix(1e9, 123456000), &j)
		e := of(exposition.Named, all)
		om := render(t, e, exposition.OpenMetrics)
		if want := `ci_x_duration_bucket{status="success",` + c.want + "\n"; !bytes.Contains(om, []byte(want)) {
			t.Errorf("%.5q after %v:\n%s\nwant\n%s", c.id, c.took, om, want)
		}
		if text := render(t, e, exposition.Text); bytes.Contains(text, []byte(" # {")) {
			t.Errorf("text 0.0.4:\n%s", text)
		}
	}
}

// TestLatestExemplar sets exemplars of two templates that share a metric.
func TestLatestExemplar(t *testing.T) {
	all := totals.New(totals.Settings{Bounds: []float64{60}})
	for i, name := range []string{"a b", "a-b", "a b"} {
		j := job.Job{Name: name, Project: "p", Status: job.Success, Timed: true, ID: string(rune('1' + i))}
		all.Apply(int64(i), time.Unix(int64(100-i%2), 0), &j)
	}
	om := render(t, of(exposition.Named, all), exposition.OpenMetrics)
	if want := `le="60.0"} 3 # {id="3"} 0 100` + "\n"; !bytes.Contains(om, []byte(want)) {
		t.Errorf("got\n%s\nwant %s", om, want)
	}
}

// TestExemplarsOfOneTime has many templates share a metric, each with an exemplar of the
// same time: it is the first one's, in whichever order they are sorted.
func TestExemplarsOfOneTime(t *testing.T) {
	all := totals.New(totals.Settings{})
	for i := range 600 {
		j := job.Job{Name: "a" + strings.Repeat(" ", 1+i*7%100) + "b", Project: "p", Status: job.Statuses[i%6], Timed: true, ID: strconv.Itoa(i)}
		all.Apply(1, time.Unix(1e9, 0), &j)
	}
	om := string(render(t, of(exposition.Named, all), exposition.OpenMetrics))
	for i, status := range job.Statuses {
		if want := fmt.Sprintf(`{status="%s",le="+Inf"} 100 # {id="%d"} 0 1000000000`, status, first(i)); !strings.Contains(om, want) {
			t.Errorf("no %s in\n%s", want, om)
		}
	}
}

// first is the last job of the histogram that began first with the i-th status.
func first(i int) int {
	for last := 599; ; last-- {
		if last%6 == i && last*7%100 == i*7%100 {
			return last
		}
	}
}

// TestOperatorLabels says where the operator's labels are shown, and where not.
func TestOperatorLabels(t *testing.T) {
	all := totals.New(totals.Settings{Labels: []string{"version", "stage"}, MaxSets: 3})
	for _, v := range []string{"1.0", `"2"`, "", "over the budget"} {
		j := job.Job{Name: "x", Project: "p", Status: job.Success, Version: v, Stage: "test", Timed: true}
		all.Apply(1, time.Unix(1e9, 0), &j)
	}
	got := string(render(t, of(exposition.Both, all), exposition.Text))
	for _, want := range []string{
		`ci_x_total{project="p",status="success"} 4`,
		`ci_x_duration_count{status="success"} 4`,
		`cijob_runs_total{template="x",project="p",status="success",version="",stage="test"} 1`,
		`cijob_runs_total{template="x",project="p",status="success",version="\"2\"",stage="test"} 1`,
		`cijob_runs_total{template="x",project="p",status="success",version="1.0",stage="test"} 1`,
		`cijob_runs_total{template="x",project="p",status="success",version="__other__",stage="__other__"} 1`,
		`cijob_duration_seconds_bucket{template="x",status="success",version="1.0",stage="test",le="+Inf"} 1`,
	} {
		if !strings.Contains(got, "\n"+want+"\n") {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

// TestAllocations bounds what a scrape takes from the allocator, once its buffers are
// there.
func TestAllocations(t *testing.T) {
	jobs := manyJobs(50_000)
	all := totals.New(settings)
	applyAll(jobs, 1, all)
	h := of(exposition.Both, all).Handler(true, nil)
	w := &sink{header: http.Header{}}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	for range 3 {
		w.body.Reset()
		h.ServeHTTP(w, r)
	}
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			apply(all, jobs, 100)
			w.body.Reset()
			h.ServeHTTP(w, r)
		}
	})
	if result.AllocedBytesPerOp() > 1<<20 {
		t.Errorf("%d bytes for each scrape, want at most 1 MB", result.AllocedBytesPerOp())
	}
}
