package job

import (
	"regexp"
	"strings"
	"sync"
)

// tail is what GitLab adds to the name of a parallel or matrix job, up to three
// times: " 1/5", ": [linux, arm64]". It is GitLab's own expression (the one by
// which its pipeline page groups jobs) in Go's syntax.
//
// It is compiled when it is first needed: the exporter, which links this package,
// seldom meets such a name and is to cost nothing while it waits.
var tail = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`([\s:]+((\[.*\])|(\d+[\s:/\\]+\d+))){1,3}\s*\z`)
})

// FoldName removes the tail that GitLab adds to the names of parallel and
// matrix jobs, so that "test 1/5" and "test 2/5" are both "test". A name of
// which nothing would be left stays as it is. Surrounding space goes always.
func FoldName(name string) string {
	name = strings.TrimSpace(name)
	if !mayHaveTail(name) {
		return name
	}
	at := tail().FindStringIndex(name)
	if at == nil {
		return name
	}
	if folded := strings.TrimSpace(name[:at[0]]); folded != "" {
		return folded
	}
	return name
}

// mayHaveTail spares most names the regular expression: a tail ends in a bracket,
// or in digits behind a space, a colon or a slash.
func mayHaveTail(name string) bool {
	if strings.HasSuffix(name, "]") {
		return true
	}
	front := strings.TrimRight(name, "0123456789")
	return len(front) < len(name) && strings.ContainsAny(name[max(len(front)-1, 0):len(front)], " \t\n\f\r:/\\")
}

// unexpanded is a CI variable's name where its value was meant: people forget
// the $ in their after_script, or the quotes keep the shell from expanding it.
var unexpanded = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^\$?\{?CI_[A-Z0-9_]+\}?$`)
})

// Unexpanded reports whether s is the name of a CI variable rather than its
// value: CI_JOB_STATUS, $CI_JOB_STATUS, ${CI_JOB_STATUS}.
func Unexpanded(s string) bool {
	return strings.Contains(s, "CI_") && unexpanded().MatchString(s)
}
