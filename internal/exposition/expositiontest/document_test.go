package expositiontest_test

import (
	"strings"
	"testing"

	"ci-jobs-metrics/internal/exposition/expositiontest"
)

const (
	text = "text/plain; version=0.0.4; charset=utf-8"
	om   = "application/openmetrics-text; version=1.0.0; charset=utf-8"
)

// TestParseComplains breaks a rule at a time.
func TestParseComplains(t *testing.T) {
	const (
		a    = "# HELP a_total A.\n# TYPE a_total counter\n"
		b    = "# HELP b_total B.\n# TYPE b_total counter\n"
		h    = "# HELP h H.\n# TYPE h histogram\n"
		good = h + `h_bucket{le="1"} 1` + "\n" + `h_bucket{le="+Inf"} 2` + "\nh_sum 3\nh_count 2\n"
		omA  = "# HELP a A.\n# TYPE a counter\n"
		omG  = "# HELP g G.\n# TYPE g gauge\n"
	)
	for _, c := range []struct{ contentType, body, complaint string }{
		{text, "", ""},
		{text, good + a + "a_total{x=\"\\\\ \\\" \\n\",y=\"\"} 1e3\n", ""},
		{om, "# EOF\n", ""},
		{om, omA + "a_total 1 # {id=\"1\"} 0.5 1.5\na_created 1\n# EOF\n", ""},
		{om, "# HELP x_seconds \\\"\n# TYPE x_seconds gauge\n# UNIT x_seconds seconds\nx_seconds 1.0\n# EOF\n", ""},
		{"text/html", "", "no text exposition"},

		{text, a + "a_total 1", "does not end"},
		{text, a + "a_total 1\n# EOF\n", "# EOF in text"},
		{om, omA + "a_total 1\n", "no # EOF"},
		{om, "# EOF\n# EOF\n", "after # EOF"},
		{om, "# EOF\n" + omA + "a_total 1\n", "after # EOF"},

		{text, a + "a_total 1\n" + b + "b_total 1\n" + a + "a_total{x=\"1\"} 1\n", "declared again"},
		{text, a + b + "b_total 1\n", "family a_total has no samples"},
		{text, a + "a_total 1\n# TYPE a_total counter\n", "does not follow its HELP"},
		{text, "a_total 1\n" + a + "a_total{x=\"\"} 1\n", "before any TYPE"},
		{text, "# HELP a_total A.\na_total 1\n", "before any TYPE"},
		{text, "# HELP a_total A.\n# TYPE a_total number\na_total 1\n", "unknown type"},
		{text, a + "\na_total 1\n", "neither a sample nor"},
		{om, omG + "g 1\n# UNIT g seconds\n# EOF\n", "UNIT g does not follow"},
		{om, omG + "# UNIT g seconds\ng 1\n# EOF\n", "no suffix"},

		{text, a + "a_total 1\n" + b + "b_total 1\na_total{x=\"1\"} 1\n", "sample a_total in the block of counter b_total"},
		{text, a + "a 1\n", "sample a in the block"},
		{om, omA + "a 1\n# EOF\n", "sample a in the block"},
		{text, h + "h 1\n", "sample h in the block"},
		{text, a + "a_total{le=\"1\"} 1\n", "has label le: true"},
		{text, h + "h_bucket 1\n", "has label le: false"},
		{text, a + "a_total{x=\"1\",y=\"2\"} 1\na_total{y=\"2\",x=\"1\"} 1\n", "comes again"},
		{text, a + "a_total -1\n", "not a count"},
		{text, a + "a_total NaN\n", "not a count"},
		{text, a + "a_total one\n", "invalid syntax"},
		{text, a + "a_total 1 1700000000\n", "invalid syntax"},
		{text, a + "a_total\n", "no value"},
		{text, a + "a_total{x=\"1\"}1\n", "no space"},
		{text, a + "a_total{x=\"\"\"} 1\n", "neither , nor }"},
		{text, a + "a_total{x=\"\\t\"} 1\n", "no such escape"},
		{text, a + "a_total{x=\"1} 1\n", "does not end"},
		{text, a + "a_total{x=\"\xff\"} 1\n", "not UTF-8"},
		{text, a + "a_total{x=\"1\",x=\"2\"} 1\n", "comes twice"},
		{text, a + "a_total{x-y=\"1\"} 1\n", "no label"},
		{text, "# HELP a-b A.\n# TYPE a-b gauge\na-b 1\n", "no metric name"},
		{text, "# HELP a \\\"\n# TYPE a gauge\na 1\n", "no such escape"},
		{om, "# HELP g \"\n# TYPE g gauge\ng 1\n# EOF\n", "not escaped"},
		{om, omA + "a_total 1 # {id=\"" + strings.Repeat("x", 127) + "\"} 0.5\n# EOF\n", "129 characters"},

		{text, strings.Replace(good, "h_count 2", "h_count 3", 1), "bucket +Inf is 2"},
		{text, strings.Replace(good, `le="1"} 1`, `le="1"} 3`, 1), "less than the bucket before"},
		{text, strings.Replace(good, `le="+Inf"`, `le="2"`, 1), "no bucket +Inf"},
		{text, strings.Replace(good, `le="1"`, `le="one"`, 1), "invalid syntax"},
		{text, strings.Replace(good, `{le="1"} 1`, `{le="+Inf"} 1`, 1), "comes again"},
		{text, strings.Replace(good, "h_sum 3\n", "", 1), "no sum"},
		{om, good + "# EOF\n", "floating-point"},

		{om, omA + "a_total 1\n" + strings.ReplaceAll(omG, "g", "a_total") + "a_total{x=\"1\"} 1\n# EOF\n", "both stand for a_total"},
		{om, omA + "a_total 1\n" + strings.ReplaceAll(omG, "g ", "a_created ") + "a_created 1\n# EOF\n", "both stand for a_created"},
	} {
		_, err := expositiontest.Parse(c.contentType, []byte(c.body))
		switch {
		case c.complaint == "" && err != nil:
			t.Errorf("%q: %v", c.body, err)
		case c.complaint != "" && (err == nil || !strings.Contains(err.Error(), c.complaint)):
			t.Errorf("%q: complaint is %v, want %q", c.body, err, c.complaint)
		}
	}
}
