package exposition_test

import (
	"testing"

	"ci-jobs-metrics/internal/exposition"
)

func TestNegotiate(t *testing.T) {
	const (
		text  = exposition.Text
		om    = exposition.OpenMetrics
		om001 = exposition.OpenMetrics001
		pb    = exposition.Protobuf
	)
	for _, c := range []struct {
		client string
		accept []string
		want   exposition.Format
	}{
		{"nobody", nil, text},
		{"empty", []string{""}, text},
		{"curl", []string{"*/*"}, text},
		{"a browser", []string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, text},
		{"Prometheus 3", []string{"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"}, om},
		{"Prometheus 3 with native histograms", []string{"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.4,*/*;q=0.2"}, pb},
		{"Prometheus 2", []string{"application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"}, om001},
		{"Prometheus 3, told to use text", []string{"text/plain;version=0.0.4;q=0.6,*/*;q=0.2"}, text},
		{"an old Prometheus", []string{"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"}, pb},
		{"vmagent", []string{"text/plain;version=0.0.4;q=1,*/*;q=0.1"}, text},
		{"Datadog", []string{"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1"}, om},
		{"no version", []string{"application/openmetrics-text"}, om},
		{"a later version", []string{"application/openmetrics-text;version=2.0.0, */*;q=0.1"}, text},
		{"protobuf only", []string{"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"}, pb},
		{"protobuf as text", []string{"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text, */*;q=0.1"}, text},
		{"protobuf of something else", []string{"application/vnd.google.protobuf;proto=io.prometheus.write.v2.Request;encoding=delimited"}, text},
		{"any protobuf", []string{"application/vnd.google.protobuf"}, text},
		{"no protobuf", []string{"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0, text/plain;q=0.1"}, text},
		{"all alike", []string{"text/plain, application/openmetrics-text, application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"}, pb},
		{"protobuf less", []string{"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.1, text/plain;q=0.2"}, text},
		{"text 1.0.0 only", []string{"text/plain;version=1.0.0;escaping=allow-utf-8"}, text},
		{"any application", []string{"application/*"}, om},
		{"any text, and OpenMetrics rather not", []string{"text/*, application/openmetrics-text;q=0.1"}, text},
		{"both alike", []string{"text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0"}, om},
		{"both alike, and anything", []string{"*/*, application/openmetrics-text"}, om},
		{"all but text", []string{"*/*, text/plain;q=0"}, om},
		{"no OpenMetrics", []string{"application/openmetrics-text;q=0, */*;q=0.1"}, text},
		{"nothing at all", []string{"*/*;q=0"}, text},
		{"several lines", []string{"text/plain;q=0.1", "application/openmetrics-text;version=1.0.0;q=0.2"}, om},
		{"capitals, quotes", []string{`Application/OpenMetrics-Text;Version="1.0.0"`}, om},
		{"the charset too", []string{"application/openmetrics-text; version=1.0.0; charset=utf-8"}, om},
		{"nonsense", []string{";;;,, q=1 ,text, /, openmetrics"}, text},
		{"a nonsensical element", []string{"text/plain;q=high, application/openmetrics-text;q=0.1"}, om},
		{"q beyond its range", []string{"application/openmetrics-text;q=2, text/plain;q=NaN"}, text},
	} {
		if got := exposition.Negotiate(c.accept); got != c.want {
			t.Errorf("%s: got %s, want %s", c.client, got.ContentType(), c.want.ContentType())
		}
	}
}
