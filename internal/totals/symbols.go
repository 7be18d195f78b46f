package totals

import "strings"

// Symbols numbers texts, so that a label set is four numbers: a million of them
// share a few thousand templates and projects, and the garbage collector has nothing
// to follow in them.
type symbols struct {
	numbers map[string]uint32
	texts   []string
}

func newSymbols() symbols { return symbols{numbers: map[string]uint32{}} }

// find returns a text's number, if it has one.
func (s *symbols) find(text string) (uint32, bool) {
	n, ok := s.numbers[text]
	return n, ok
}

// number returns a text's number, a new one if it has none. It keeps a copy: the
// text may be part of a request that is long over.
func (s *symbols) number(text string) uint32 {
	n, ok := s.numbers[text]
	if !ok {
		text = strings.Clone(text)
		n = uint32(len(s.texts))
		s.numbers[text] = n
		s.texts = append(s.texts, text)
	}
	return n
}
