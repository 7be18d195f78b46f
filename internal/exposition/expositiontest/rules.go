package expositiontest

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// suffixes returns what the samples of a family of that type add to its name.
func (p *parser) suffixes(typ string) (suffixes []string, known bool) {
	of := map[string][]string{
		"counter":   {""},
		"gauge":     {""},
		"untyped":   {""},
		"summary":   {"", "_sum", "_count"},
		"histogram": {"_bucket", "_sum", "_count"},
	}
	if p.doc.OpenMetrics {
		of = map[string][]string{
			"counter":   {"_total", "_created"},
			"gauge":     {""},
			"unknown":   {""},
			"info":      {"_info"},
			"summary":   {"", "_sum", "_count", "_created"},
			"histogram": {"_bucket", "_sum", "_count", "_created"},
		}
	}
	suffixes, known = of[typ]
	return suffixes, known
}

// fits says whether a sample may stand in the block of the current family.
func (p *parser) fits(s *Sample) error {
	suffix, ok := strings.CutPrefix(s.Name, p.now.Name)
	allowed, _ := p.suffixes(p.now.Type)
	if !ok || !slices.Contains(allowed, suffix) {
		return fmt.Errorf("sample %s in the block of %s %s", s.Name, p.now.Type, p.now.Name)
	}
	labels := make([]string, len(s.Labels))
	for i, l := range s.Labels {
		labels[i] = l.Name
	}
	if got, want := slices.Contains(labels, "le"), suffix == "_bucket"; got != want {
		return fmt.Errorf("sample %s: has label le: %t", s.Name, got)
	}
	if le := s.Label("le"); p.doc.OpenMetrics && le != "" && le != "+Inf" && !strings.ContainsAny(le, ".e") {
		return fmt.Errorf("sample %s: le=%q is not written as a floating-point number", s.Name, le)
	}
	counts := p.now.Type == "counter" || p.now.Type == "histogram"
	if counts && (s.Value < 0 || math.IsNaN(s.Value)) {
		return fmt.Errorf("sample %s: %s is not a count", s.Name, s.Text)
	}
	return nil
}

// histograms checks each histogram of a family as a whole.
func (p *parser) histograms(f *Family) {
	for rest := f.Samples; len(rest) > 0; {
		labels := Key("", without(rest[0].Labels, "le")...)
		n := 1
		for n < len(rest) && Key("", without(rest[n].Labels, "le")...) == labels {
			n++
		}
		if err := checkHistogram(f.Name, rest[:n]); err != nil {
			p.complain("%s%s: %w", f.Name, labels, err)
		}
		rest = rest[n:]
	}
}

func without(labels []Label, name string) []Label {
	return slices.DeleteFunc(slices.Clone(labels), func(l Label) bool { return l.Name == name })
}

func checkHistogram(family string, samples []Sample) error {
	bound, upTo := math.Inf(-1), 0.0
	parts := map[string]float64{}
	for _, s := range samples {
		if s.Name != family+"_bucket" {
			parts[strings.TrimPrefix(s.Name, family)] = s.Value
			continue
		}
		le, err := parseBound(s.Label("le"))
		switch {
		case err != nil:
			return err
		case le <= bound:
			return fmt.Errorf("le=%q does not ascend", s.Label("le"))
		case s.Value < upTo:
			return fmt.Errorf("le=%q: %s is less than the bucket before", s.Label("le"), s.Text)
		case s.Exemplar != nil && (s.Exemplar.Value > le || s.Exemplar.Value < bound || s.Exemplar.Value == bound && bound != 0):
			return fmt.Errorf("le=%q: the exemplar %v is not in the bucket", s.Label("le"), s.Exemplar.Value)
		}
		bound, upTo = le, s.Value
	}
	count, hasCount := parts["_count"]
	_, hasSum := parts["_sum"]
	switch {
	case !math.IsInf(bound, 1):
		return fmt.Errorf("no bucket +Inf")
	case !hasCount || !hasSum:
		return fmt.Errorf("no sum or no count")
	case count != upTo:
		return fmt.Errorf("count is %v, bucket +Inf is %v", count, upTo)
	}
	return nil
}

// clashes looks for names that two families stand for, as the reference parser of
// OpenMetrics does: a family stands for its own name and those of its samples.
func (p *parser) clashes() {
	owner := map[string]string{}
	for _, f := range p.doc.Families {
		suffixes, _ := p.suffixes(f.Type)
		if !slices.Contains(suffixes, "") {
			suffixes = append(slices.Clone(suffixes), "")
		}
		for _, s := range suffixes {
			if other, taken := owner[f.Name+s]; taken {
				p.complain("%s and %s both stand for %s", other, f.Name, f.Name+s)
			}
			owner[f.Name+s] = f.Name
		}
	}
}
