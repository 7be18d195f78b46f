package expositiontest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

var (
	metricName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	labelName  = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
)

// Key puts a sample's name and labels into one text.
func Key(name string, labels ...Label) string {
	sorted := slices.SortedFunc(slices.Values(labels), func(a, b Label) int { return strings.Compare(a.Name, b.Name) })
	var b strings.Builder
	b.WriteString(name)
	for _, l := range sorted {
		if l.Name == "le" || l.Name == "quantile" {
			if v, err := strconv.ParseFloat(l.Value, 64); err == nil {
				l.Value = strconv.FormatFloat(v, 'g', -1, 64)
			}
		}
		fmt.Fprintf(&b, " %s=%q", l.Name, l.Value)
	}
	return b.String()
}

// parseSample reads name{label="value",...} value, and in OpenMetrics what may
// follow: an exemplar. Time stamps are complained about: nothing here has any.
func parseSample(line string, openMetrics bool) (Sample, error) {
	at := strings.IndexAny(line, "{ ")
	if at < 0 {
		return Sample{}, errors.New("no value")
	}
	s := Sample{Name: line[:at]}
	rest := line[at:]
	if !metricName.MatchString(s.Name) {
		return s, fmt.Errorf("%q is no metric name", s.Name)
	}
	if rest[0] == '{' {
		var err error
		if s.Labels, rest, err = parseLabels(rest); err != nil {
			return s, err
		}
	}
	value, ok := strings.CutPrefix(rest, " ")
	if !ok {
		return s, errors.New("no space before the value")
	}
	s.Text = value
	if text, exemplar, there := strings.Cut(value, " # "); there && openMetrics {
		s.Text = text
		var err error
		if s.Exemplar, err = parseExemplar(exemplar); err != nil {
			return s, fmt.Errorf("exemplar: %w", err)
		}
	}
	var err error
	s.Value, err = strconv.ParseFloat(s.Text, 64)
	return s, err
}

// parseLabels reads {name="value",...} and returns what follows.
func parseLabels(text string) (labels []Label, rest string, err error) {
	rest = text[1:]
	for !strings.HasPrefix(rest, "}") || len(labels) > 0 {
		name, after, ok := strings.Cut(rest, `="`)
		if !ok || !labelName.MatchString(name) {
			return nil, "", fmt.Errorf("no label at %q", rest)
		}
		end := closingQuote(after)
		if end < 0 {
			return nil, "", fmt.Errorf("label %s does not end", name)
		}
		value, err := unescape(after[:end], `\n"`)
		if err != nil {
			return nil, "", fmt.Errorf("label %s: %w", name, err)
		}
		if slices.ContainsFunc(labels, func(l Label) bool { return l.Name == name }) {
			return nil, "", fmt.Errorf("label %s comes twice", name)
		}
		labels = append(labels, Label{name, value})
		rest = after[end+1:]
		if strings.HasPrefix(rest, "}") {
			break
		}
		if rest, ok = strings.CutPrefix(rest, ","); !ok {
			return nil, "", fmt.Errorf("neither , nor } at %q", rest)
		}
	}
	return labels, rest[1:], nil
}

func closingQuote(text string) int {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// unescape reads text in which the given characters, "n" standing for a line
// feed, and no others must be escaped.
func unescape(text, escapes string) (string, error) {
	if !utf8.ValidString(text) {
		return "", errors.New("not UTF-8")
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '"' && strings.Contains(escapes, `"`) {
			return "", errors.New("a quote is not escaped")
		}
		if c != '\\' {
			b.WriteByte(c)
			continue
		}
		if i++; i == len(text) || !strings.Contains(escapes, text[i:i+1]) {
			return "", fmt.Errorf("no such escape: %q", text[i-1:min(i+1, len(text))])
		}
		if c = text[i]; c == 'n' {
			c = '\n'
		}
		b.WriteByte(c)
	}
	return b.String(), nil
}

// parseExemplar reads {labels} value [timestamp].
func parseExemplar(text string) (*Exemplar, error) {
	if !strings.HasPrefix(text, "{") {
		return nil, errors.New("no labels")
	}
	labels, rest, err := parseLabels(text)
	if err != nil {
		return nil, err
	}
	if err := checkExemplarLabels(labels); err != nil {
		return nil, err
	}
	numbers := strings.Split(strings.TrimPrefix(rest, " "), " ")
	if len(numbers) > 2 {
		return nil, fmt.Errorf("more than a value and a time: %q", rest)
	}
	e := &Exemplar{Labels: labels}
	if e.Value, err = strconv.ParseFloat(numbers[0], 64); err == nil && len(numbers) == 2 {
		e.Time, err = strconv.ParseFloat(numbers[1], 64)
	}
	return e, err
}

func checkExemplarLabels(labels []Label) error {
	length := 0
	for _, l := range labels {
		length += utf8.RuneCountInString(l.Name) + utf8.RuneCountInString(l.Value)
	}
	if length > 128 {
		return fmt.Errorf("labels of %d characters", length)
	}
	return nil
}

func parseBound(le string) (float64, error) {
	v, err := strconv.ParseFloat(le, 64)
	if err != nil {
		return 0, fmt.Errorf("le=%q: %w", le, err)
	}
	return v, nil
}
