package steps

import (
	"net/url"
	"strings"

	"ci-jobs-metrics/internal/job"
)

// plainQuery reads a job from a query as senders nearly always write it: known
// fields in lower case, values escaped where they must be. It does what decode does
// by way of url.ParseQuery, without a map and its lists. ok is false for every query
// in which something is unusual, an error among others: that is decode's to tell.
func plainQuery(query string) (r job.Report, ok bool) {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		key, value, _ := strings.Cut(pair, "=")
		if !isPlainKey(key) || strings.Contains(value, ";") {
			return job.Report{}, false
		}
		field := field(&r, key)
		if field == nil || *field != "" { // the first value counts
			if strings.Contains(value, "%") { // which may be wrong
				return job.Report{}, false
			}
			continue
		}
		if strings.ContainsAny(value, "%+") {
			var err error
			if value, err = url.QueryUnescape(value); err != nil {
				return job.Report{}, false
			}
		}
		if value == "" { // a later one does not count either
			return job.Report{}, false
		}
		*field = value
	}
	return r, true
}

// isPlainKey reports whether nothing in the key of a parameter is escaped or in upper
// case.
func isPlainKey(key string) bool {
	for i := range len(key) {
		if c := key[i]; (c < 'a' || c > 'z') && c != '_' {
			return false
		}
	}
	return true
}

// field is the report's field of the given name on the wire; nil if there is none.
func field(r *job.Report, name string) *string {
	switch name {
	case "name":
		return &r.Name
	case "project":
		return &r.Project
	case "status":
		return &r.Status
	case "started":
		return &r.Started
	case "finished":
		return &r.Finished
	case "duration":
		return &r.Duration
	case "id":
		return &r.ID
	case "version":
		return &r.Version
	case "job":
		return &r.Job
	case "url":
		return &r.URL
	case "stage":
		return &r.Stage
	case "ref":
		return &r.Ref
	case "sha":
		return &r.SHA
	case "pipeline":
		return &r.Pipeline
	case "runner":
		return &r.Runner
	case "source":
		return &r.Source
	}
	return nil
}
