package kpi_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"ci-jobs-metrics/internal/kpi"
)

// A pattern matches what the regular expression does that says the same.
func FuzzPattern(f *testing.F) {
	for _, p := range globs {
		for _, text := range append(templates, versions...) {
			f.Add(string(p), text)
		}
	}
	f.Add("*ab*ab", "aabab")
	f.Add("*\\", "\\")
	f.Add("?*?", "ü")
	f.Add("*??bc", "€bc") // which has three bytes
	f.Add("a\nb", "a\nb")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if !utf8.ValidString(pattern) || len(pattern) > 1000 { // no expression is that
			return
		}
		if got, want := kpi.Pattern(pattern).Match(text), compile(kpi.Pattern(pattern)).MatchString(text); got != want {
			t.Errorf("%q matches %q: %v", pattern, text, got)
		}
		if exactly := kpi.Exactly(pattern); exactly.Match(text) != (pattern == text) || !exactly.Match(pattern) {
			t.Errorf("%q is to match %q only", exactly, pattern)
		}
	})
}

// However many * there are, a pattern takes no longer than its length times the text's.
func TestPatternTakesNoTime(t *testing.T) {
	start := time.Now()
	if kpi.Pattern(strings.Repeat("*a", 1000) + "b").Match(strings.Repeat("a", 10_000)) {
		t.Error("it matches")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}
