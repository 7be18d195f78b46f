package exposition

import (
	"strings"
	"unicode"

	"github.com/prometheus/common/model"
)

// A naming says under which metrics a template is shown in the named view.
//
// No two namings have a metric in common unless they are equal:
//   - Metrics of counters end in _total, those of histograms in _duration and,
//     as samples, _bucket, _sum or _count; so one kind never meets the other.
//   - A plain name gives ci_<base>, where the base consists of [A-Za-z0-9_] and
//     has at least one letter or digit. Different bases give different metrics.
//   - Any other name is escaped as a whole metric name. What has to be escaped
//     then begins with U__, which no plain one does, and can be read back: "__"
//     is an underscore, "_" and hexadecimal digits and "_" a character. What is
//     valid as it is (a name of underscores and colons) keeps its ci_, and has
//     no letter or digit where a plain one has some.
//
// The U__ has to come from the whole metric name. If the template's name alone
// were escaped, a template that is really called U___e9_ would meet one called é.
type naming struct {
	counter   string // ci_<base>_total
	histogram string // ci_<base>_duration
	words     string // the name as the help texts say it
}

// name finds the naming of a template.
//
// Runs of characters outside [A-Za-z0-9_] become one underscore, so templates
// that differ only there have the same naming: "dotnet build", "dotnet-build".
func name(template string) naming {
	if !plain(template) {
		return naming{
			counter:   escape("ci_" + template + "_total"),
			histogram: escape("ci_" + template + "_duration"),
			words:     template,
		}
	}
	base := fold(template)
	return naming{
		counter:   "ci_" + base + "_total",
		histogram: "ci_" + base + "_duration",
		words:     strings.ReplaceAll(base, "_", " "),
	}
}

func escape(metric string) string {
	return model.EscapeName(metric, model.ValueEncodingEscaping)
}

// plain reports whether folding leaves of a name what tells it from others: it
// has an ASCII letter or digit, and nothing beyond ASCII that spells a word.
func plain(template string) bool {
	something := false
	for _, r := range template {
		switch {
		case isAlphanumeric(r):
			something = true
		case r > unicode.MaxASCII && spells(r):
			return false
		}
	}
	return something
}

// spells reports whether a character beyond ASCII says something in a word. By
// letters alone, "pre" with an accent typed as a mark of its own would be folded
// where the one-character é is not, and "stage ٣" would meet "stage ٤". Symbols
// such as emoji decorate, and fold like punctuation; so do the variation
// selectors that come with them, though Unicode counts those among the marks,
// and the frames around keycap digits (enclosing marks).
func spells(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsNumber(r) ||
		unicode.In(r, unicode.Mn, unicode.Mc) && !unicode.Is(unicode.Variation_Selector, r)
}

// fold replaces runs of characters outside [A-Za-z0-9_] with one underscore.
// An underscore that was there stays beside it.
func fold(template string) string {
	var b strings.Builder
	b.Grow(len(template))
	inRun := false
	for _, r := range template {
		valid := isAlphanumeric(r) || r == '_'
		switch {
		case valid:
			b.WriteByte(byte(r))
		case !inRun:
			b.WriteByte('_')
		}
		inRun = !valid
	}
	return b.String()
}

func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}
