package exposition

import "ci-jobs-metrics/internal/totals"

// A labelSets numbers the operator's labels as lines have them.
type labelSets struct {
	symbols          // ,version="1.2",stage="": as a line has them, which is also their order
	pairs   []string // by symbol: as protobuf has them
	names   []string // in the order in which they are shown
	shown   map[string]uint32
}

func newLabelSets(names []string) labelSets {
	return labelSets{symbols: newSymbols(), names: names, shown: map[string]uint32{}}
}

// number returns the number of what a totals' key has.
func (s *labelSets) number(labels string) uint32 {
	if len(s.names) == 0 {
		labels = ""
	}
	n, ok := s.shown[labels]
	if !ok {
		n = s.add(labels)
		s.shown[labels] = n
	}
	return n
}

func (s *labelSets) add(labels string) uint32 {
	values, err := totals.DecodeLabels(labels)
	if err != nil {
		values = nil // what can't be read is as if it had no value
	}
	var text, pairs []byte
	for _, name := range s.names {
		text = append(text, ',')
		text = append(text, name...)
		text = append(text, `="`...)
		text = append(text, escapeLabel.Replace(values[name])...)
		text = append(text, '"')
		pairs = appendPair(pairs, name, values[name])
	}
	n := s.symbols.number(string(text))
	if int(n) == len(s.pairs) {
		s.pairs = append(s.pairs, string(pairs))
	}
	return n
}
