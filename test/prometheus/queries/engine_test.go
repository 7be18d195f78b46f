package queries

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
)

// engine is Prometheus' own, with the limits that a server has by default.
func engine() *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		MaxSamples:           50_000_000,
		Timeout:              2 * time.Minute,
		LookbackDelta:        5 * time.Minute,
		EnableAtModifier:     true,
		EnableNegativeOffset: true,
		Parser:               parser.NewParser(parser.Options{}),
	})
}

// A prometheus answers queries about what it has seen of a recording.
type prometheus struct {
	*promql.Engine
	storage.Queryable
}

// since is a Prometheus that began to scrape then.
func (p prometheus) since(begin time.Time) prometheus {
	p.Queryable = young{p.Queryable, begin.UnixMilli()}
	return p
}

type young struct {
	storage.Queryable
	begin int64
}

func (y young) Querier(from, to int64) (storage.Querier, error) {
	q, err := y.Queryable.Querier(max(from, y.begin), max(to, y.begin))
	return youngQuerier{q, y.begin}, err
}

type youngQuerier struct {
	storage.Querier
	begin int64
}

func (y youngQuerier) Select(ctx context.Context, ordered bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	if hints != nil { // they say what is looked at
		if hints.End < y.begin {
			return storage.EmptySeriesSet()
		}
		later := *hints
		later.Start = max(hints.Start, y.begin)
		hints = &later
	}
	return y.Querier.Select(ctx, ordered, hints, matchers...)
}

// without is a Prometheus that has none of the metrics with these names.
func (p prometheus) without(names ...string) prometheus {
	p.Queryable = lacking{p.Queryable, names}
	return p
}

type lacking struct {
	storage.Queryable
	names []string
}

func (l lacking) Querier(from, to int64) (storage.Querier, error) {
	q, err := l.Queryable.Querier(from, to)
	return lackingQuerier{q, l.names}, err
}

type lackingQuerier struct {
	storage.Querier
	names []string
}

func (l lackingQuerier) Select(ctx context.Context, ordered bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	for _, m := range matchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual && slices.Contains(l.names, m.Value) {
			return storage.EmptySeriesSet()
		}
	}
	return l.Querier.Select(ctx, ordered, hints, matchers...)
}

// result is a query's values by labels, written as PromQL does.
type result map[string]float64

// instant asks for a moment. A warning or a note of the engine is a failure: somebody
// would see it in Grafana.
func (p prometheus) instant(t *testing.T, query string, at time.Time) result {
	t.Helper()
	q, err := p.NewInstantQuery(t.Context(), p, nil, query, at)
	if err != nil {
		t.Fatalf("%v in\n%s", err, query)
	}
	defer q.Close()
	answer := q.Exec(t.Context())
	p.check(t, query, answer)
	values := result{}
	vector, err := answer.Vector()
	if err != nil {
		t.Fatalf("%v in\n%s", err, query)
	}
	for _, s := range vector {
		if s.H != nil {
			t.Fatalf("a histogram is the result of\n%s", query)
		}
		values[s.Metric.String()] = s.F
	}
	return values
}

// over asks for a range, and returns the values of each step.
func (p prometheus) over(t *testing.T, query string, from, to time.Time, step time.Duration) map[time.Time]result {
	t.Helper()
	q, err := p.NewRangeQuery(t.Context(), p, nil, query, from, to, step)
	if err != nil {
		t.Fatalf("%v in\n%s", err, query)
	}
	defer q.Close()
	answer := q.Exec(t.Context())
	p.check(t, query, answer)
	values := map[time.Time]result{}
	for at := from; !at.After(to); at = at.Add(step) {
		values[at] = result{}
	}
	matrix, err := answer.Matrix()
	if err != nil {
		t.Fatalf("%v in\n%s", err, query)
	}
	for _, series := range matrix {
		if len(series.Histograms) > 0 {
			t.Fatalf("a histogram is the result of\n%s", query)
		}
		for _, s := range series.Floats {
			values[time.UnixMilli(s.T).UTC()][series.Metric.String()] = s.F
		}
	}
	return values
}

func (prometheus) check(t *testing.T, query string, answer *promql.Result) {
	t.Helper()
	if answer.Err != nil {
		t.Fatalf("%v in\n%s", answer.Err, query)
	}
	for _, warning := range answer.Warnings.AsErrors() {
		t.Errorf("%v in\n%s", warning, query)
	}
}
