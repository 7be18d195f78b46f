package main

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"ci-jobs-metrics/internal/exposition"
)

func TestDefaults(t *testing.T) {
	o, _, err := parse(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if a := *o.Web.WebListenAddresses; !slices.Equal(a, []string{":80"}) {
		t.Errorf("listens on %v", a)
	}
	if o.Ledger != "sqlite:ci-jobs-metrics.db" || o.Retention != 90*24*time.Hour || o.Families != exposition.Both ||
		!slices.Equal(o.Totals.Bounds, []float64{60, 120, 300, 600, 900, 1200}) || *o.Web.WebConfigFile != "" ||
		o.Zone != time.UTC || o.KPIRetention != 800*24*time.Hour {
		t.Errorf("%+v", o)
	}
}

// Every flag can be given in the environment, and the command line wins.
func TestEnvironment(t *testing.T) {
	t.Setenv("RECEIVER_PORT", "tcp://10.0.0.1:80") // what Kubernetes sets beside a Service of that name
	t.Setenv("CI_METRICS_RECEIVER_WEB_LISTEN_ADDRESS", "127.0.0.1:1\n127.0.0.1:2")
	t.Setenv("CI_METRICS_RECEIVER_WEB_CONFIG_FILE", "web.yml")
	t.Setenv("CI_METRICS_RECEIVER_LEDGER", "sqlite:elsewhere.db")
	t.Setenv("CI_METRICS_RECEIVER_LEDGER_RETENTION", "2w")
	t.Setenv("CI_METRICS_RECEIVER_METRICS_BUCKETS", "1 2.5")
	t.Setenv("CI_METRICS_RECEIVER_METRICS_FAMILIES", "named")
	t.Setenv("CI_METRICS_RECEIVER_LOG_LEVEL", "error")
	t.Setenv("CI_METRICS_RECEIVER_KPI_TIME_ZONE", "Europe/Berlin")
	t.Setenv("CI_METRICS_RECEIVER_KPI_RETENTION", "2w")
	o, _, err := parse([]string{"--metrics.families=labelled"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if a := *o.Web.WebListenAddresses; !slices.Equal(a, []string{"127.0.0.1:1", "127.0.0.1:2"}) {
		t.Errorf("listens on %v", a)
	}
	if o.Ledger != "sqlite:elsewhere.db" || o.Retention != 14*24*time.Hour || o.Families != exposition.Labelled ||
		!slices.Equal(o.Totals.Bounds, []float64{1, 2.5}) || *o.Web.WebConfigFile != "web.yml" ||
		o.Zone.String() != "Europe/Berlin" || o.KPIRetention != 14*24*time.Hour {
		t.Errorf("%+v", o)
	}
	if o.Logger.Enabled(t.Context(), 4) {
		t.Error("warnings are logged at level error")
	}
}

// A mistake is told with the flag, or the variable, that has it.
func TestMistakes(t *testing.T) {
	for _, test := range []struct{ arg, want string }{
		{"--metrics.buckets=60,30", "30 must be above 60"},
		{"--metrics.buckets=60,60", "60 must be above 60"},
		{"--metrics.buckets=0", "not a positive number"},
		{"--metrics.buckets=60,+Inf", "+Inf is always there"},
		{"--metrics.buckets=NaN", "not a positive number"},
		{"--metrics.buckets=,", "at least one"},
		{"--ledger.retention=59m", "for an hour at least"},
		{"--ledger.retention=soon", `"soon"`},
		{"--kpi.retention=89d", "--kpi.retention=89d is shorter than --ledger.retention=90d"},
		{"--kpi.retention=soon", "--kpi.retention=soon"},
		{"--kpi.time-zone=Berlin", `--kpi.time-zone: "Berlin" is no time zone: give one of the IANA database`},
		{"--kpi.time-zone=", "--kpi.time-zone"},
		{"--kpi.time-zone=Local", "no time zone"},
		{"--kpi.time-zone=../../etc/passwd", "no time zone"},
		{"--metrics.families=all", "not one of both, named, labelled"},
		{"--nonsense", "unknown long flag '--nonsense'"},
		{"argument", "unexpected argument"},
	} {
		if _, _, err := parse([]string{test.arg}, io.Discard); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v\nwant something with: %s", test.arg, err, test.want)
		}
	}
	t.Setenv("CI_METRICS_RECEIVER_LEDGER_RETENTION", "soon")
	if _, _, err := parse(nil, io.Discard); err == nil || !strings.Contains(err.Error(), "CI_METRICS_RECEIVER_LEDGER_RETENTION") {
		t.Errorf("from the environment: %v", err)
	}
}
