package exporter

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"ci-jobs-metrics/internal/job"
)

// An Environ looks up an environment variable, as os.LookupEnv does. GitLab gives
// a service container about sixty variables of its job; a container that the
// operator adds to the pod has only those that the operator hands over.
type Environ func(name string) (value string, ok bool)

// value returns the first of the variables that says something: an empty one, or
// one that itself holds the name of a variable, does not.
func (e Environ) value(names ...string) string {
	for _, name := range names {
		if v, _ := e(name); strings.TrimSpace(v) != "" && !job.Unexpanded(strings.TrimSpace(v)) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// raw is a variable as it is, for a log.
func (e Environ) raw(name string) string {
	v, _ := e(name)
	return v
}

// serverHost is the GitLab that runs the job, without a port.
func (e Environ) serverHost() string {
	if host := e.value("CI_SERVER_HOST"); host != "" {
		return strings.ToLower(host)
	}
	return hostOf(e.value("CI_SERVER_URL"))
}

// optedIn reports whether the job's template opted in to be counted.
func (e Environ) optedIn() bool { return e.value("CI_METRICS_NAME") != "" }

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

// A fallback says which variables stand in for a field.
type fallback struct {
	field     string
	variables []string
}

// tooLong says that a value would cost more than its field: the receiver rejects
// an item with a text above its limit.
func (d *fallback) tooLong(value string) bool {
	limit := job.MaxText
	if d.field == "url" {
		limit = job.MaxURL
	}
	return utf8.RuneCountInString(value) > limit
}

// defaults are the variables that stand in for a field of the file, the best
// first. The status has none: CI_JOB_STATUS is "running" for as long as the
// exporter's container lives.
var defaults = []fallback{
	{"name", []string{"CI_METRICS_NAME", "CI_JOB_NAME"}},
	{"project", []string{"CI_PROJECT_PATH"}},
	{"started", []string{"CI_JOB_STARTED_AT"}},
	{"url", []string{"CI_JOB_URL"}},
	{"job", []string{"CI_JOB_NAME"}},
	{"version", []string{"CI_METRICS_VERSION"}},
	{"stage", []string{"CI_JOB_STAGE"}},
	{"ref", []string{"CI_COMMIT_REF_NAME"}},
	{"sha", []string{"CI_COMMIT_SHA"}},
	{"pipeline", []string{"CI_PIPELINE_ID"}},
	{"runner", []string{"CI_RUNNER_DESCRIPTION"}},
	{"source", []string{"CI_PIPELINE_SOURCE"}},
}
