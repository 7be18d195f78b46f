package client_test

import (
	"strings"
	"testing"

	"ci-jobs-metrics/internal/steps/client"
)

func TestParseTarget(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"receiver":                           "http://receiver/steps",
		"receiver:8080":                      "http://receiver:8080/steps",
		"10.0.0.1":                           "http://10.0.0.1/steps",
		"10.0.0.1:81":                        "http://10.0.0.1:81/steps",
		"::1":                                "http://[::1]/steps",
		"[::1]":                              "http://[::1]/steps",
		"[2001:db8::1]:8080":                 "http://[2001:db8::1]:8080/steps",
		"fe80::1%eth0":                       "http://[fe80::1%25eth0]/steps",
		"http://receiver":                    "http://receiver/steps",
		"https://receiver/":                  "https://receiver/steps",
		"https://ci.example/metrics":         "https://ci.example/metrics/steps",
		"https://ci.example/metrics//":       "https://ci.example/metrics/steps",
		"https://ci.example/metrics/steps":   "https://ci.example/metrics/steps",
		"http://receiver/steps/":             "http://receiver/steps",
		"ci.example/metrics":                 "http://ci.example/metrics/steps",
		"receiver.ns.svc.cluster.local:8080": "http://receiver.ns.svc.cluster.local:8080/steps",
		"http://user:secret@receiver":        "http://user:secret@receiver/steps",
	} {
		u, err := client.ParseTarget(" " + target + "\n")
		if err != nil {
			t.Errorf("%q: %v", target, err)
		} else if u.String() != want {
			t.Errorf("%q became %s, want %s", target, u, want)
		}
	}
}

func TestParseTargetRefuses(t *testing.T) {
	t.Parallel()
	for target, why := range map[string]string{
		"":                         "empty",
		"  ":                       "empty",
		"ftp://receiver":           "use http://",
		"http://":                  "no host name",
		"http://:80":               "no host name",
		"$RECEIVER":                "variable",
		"${CI_RECEIVER}:80":        "no host name or URL",
		"receiver:http":            "no host name or URL",
		"receiver:70000":           "between 1 and 65535",
		"receiver:0":               "between 1 and 65535",
		"re ceiver":                "no host name or URL",
		"http://receiver/?a=b":     "query",
		"http://u:secret@h/?a=b":   "query",
		"http://[::1":              "no host name or URL",
		"receiver\x00":             "no host name or URL",
		"http://receiver:80:80/ab": "no host name or URL",
	} {
		_, err := client.ParseTarget(target)
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: error %v, want one about %q", target, err, why)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error shows the password: %v", target, err)
		}
	}
}

func TestParseProxy(t *testing.T) {
	t.Parallel()
	for proxy, want := range map[string]string{
		"proxy:3128":           "http://proxy:3128",
		"https://proxy":        "https://proxy",
		"socks5://proxy:1080":  "socks5://proxy:1080",
		"http://u:pw@proxy:80": "http://u:pw@proxy:80",
	} {
		if u, err := client.ParseProxy(proxy); err != nil || u.String() != want {
			t.Errorf("%q became %v, %v, want %s", proxy, u, err, want)
		}
	}
	for _, proxy := range []string{"ftp://proxy", "http://", "http://u:secret@[::1"} {
		if _, err := client.ParseProxy(proxy); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: error %v", proxy, err)
		}
	}
}
