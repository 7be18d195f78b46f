package kpi

import "strings"

// A Pattern is what a text has to be: * stands for any characters, ? for one, and \ takes
// its meaning from the character behind it. Upper and lower case differ.
type Pattern string

// Match says whether a text is what the pattern says.
func (p Pattern) Match(text string) bool {
	pattern := string(p)
	var star, resume = -1, 0 // behind the last *, and where it was tried up to
	at := 0
	for i := 0; i < len(text); {
		switch literal, size, kind := next(pattern, at); {
		case kind == anyText:
			at += size
			star, resume = at, i
			continue
		case kind == anyOne:
			at += size
			i += runeLength(text[i:])
			continue
		case kind == literally && strings.HasPrefix(text[i:], literal):
			at += size
			i += len(literal)
			continue
		}
		if star < 0 {
			return false
		}
		resume += runeLength(text[resume:])
		at, i = star, resume
	}
	for at < len(pattern) && pattern[at] == '*' {
		at++
	}
	return at == len(pattern)
}

type kind int

const (
	end kind = iota
	literally
	anyOne
	anyText
)

// next is what a pattern has at a place: one byte to be matched, or what stands for others.
func next(pattern string, at int) (literal string, size int, k kind) {
	switch {
	case at == len(pattern):
		return "", 0, end
	case pattern[at] == '*':
		return "", 1, anyText
	case pattern[at] == '?':
		return "", 1, anyOne
	case pattern[at] == '\\' && at+1 < len(pattern):
		return pattern[at+1 : at+2], 2, literally
	}
	return pattern[at : at+1], 1, literally
}

// runeLength is how many bytes the first character has.
func runeLength(text string) int {
	for i := range text {
		if i > 0 {
			return i
		}
	}
	return len(text)
}

// Exactly is the pattern of one text.
func Exactly(text string) Pattern {
	return Pattern(strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`).Replace(text))
}

// exact is the only text that matches, if there is only one.
func (p Pattern) exact() (text string, ok bool) {
	var b strings.Builder
	for at := 0; at < len(p); {
		literal, size, k := next(string(p), at)
		if k != literally {
			return "", false
		}
		b.WriteString(literal)
		at += size
	}
	return b.String(), true
}

// MatchesAny says whether a text is what one of some patterns says, or there is none.
func MatchesAny(patterns []Pattern, text string) bool {
	if len(patterns) == 0 {
		return true
	}
	for _, p := range patterns {
		if p.Match(text) {
			return true
		}
	}
	return false
}
