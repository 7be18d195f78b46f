package grafanatest_test

import (
	"testing"
	"time"

	"ci-jobs-metrics/internal/grafanatest"
)

// What is written here was looked up in Grafana's own code and documentation.
func TestInterpolate(t *testing.T) {
	var d grafanatest.Dashboard
	d.Templating.List = []grafanatest.Variable{
		{Name: "one"},
		{Name: "many", Multi: true, IncludeAll: true, AllValue: ".*"},
	}
	for _, c := range []struct {
		query  string
		values grafanatest.Values
		want   string
	}{
		{`x[$__range] offset ${__range_s}`, nil, `x[604800s] offset 604800`},
		{`$__interval $__interval_ms`, nil, `12h 43200000`},
		{`{a=~"$many"}`, nil, `{a=~".*"}`},
		{"{a=~`${many:regex}`}", nil, "{a=~`.*`}"},
		{`{a=~"$many"}`, grafanatest.Values{"many": {"a.b"}}, `{a=~"a\\.b"}`},
		{`{a=~"$many"}`, grafanatest.Values{"many": {`a\b`, "c+"}}, `{a=~"(a\\\\b|c\\+)"}`},
		{"{a=~`${many:regex}`}", grafanatest.Values{"many": {`g/a"b'\`, "c+"}}, "{a=~`(g\\/a\"b'\\\\|c\\+)`}"},
		{"{a=~`${one:regex}`}", grafanatest.Values{"one": {"a.b"}}, "{a=~`a\\.b`}"},
		{`{a="$one"}`, grafanatest.Values{"one": {`a.b\`}}, `{a="a.b\\"}`},
	} {
		got, err := d.Interpolate(c.query, c.values, 7*24*time.Hour, 12*time.Hour)
		if err != nil || got != c.want {
			t.Errorf("%s became %s, want %s; %v", c.query, got, c.want, err)
		}
	}
	if got, err := d.Interpolate("$other", nil, time.Hour, time.Minute); err == nil {
		t.Errorf("$other became %q", got)
	}
}
