package rollup

import (
	"strings"
	"sync"
)

// symbols number the texts of projects and versions, so that a cell in memory is a few
// numbers and two of them are compared at once. Its methods may be called from several
// goroutines.
type symbols struct {
	mu      sync.RWMutex
	numbers map[string]uint32
	texts   []string // grows only: a copy of the slice stays right
	size    int      // bytes of texts, with what a map adds
}

// symbolCost is what a symbol takes beside its text, in bytes.
const symbolCost = 64

func newSymbols() *symbols { return &symbols{numbers: map[string]uint32{}} }

// number returns the number of a text, a new one if it has none. It keeps a copy: the
// text may be part of a request that is long over.
func (s *symbols) number(text string) uint32 {
	s.mu.RLock()
	n, ok := s.numbers[text]
	s.mu.RUnlock()
	if ok {
		return n
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, ok = s.numbers[text]; ok {
		return n
	}
	text = strings.Clone(text)
	n = uint32(len(s.texts)) //nolint:gosec // memory ends before
	s.numbers[text] = n
	s.texts = append(s.texts, text)
	s.size += len(text) + symbolCost
	return n
}

// numbersOf returns the numbers of many texts, in one go where all are known.
func (s *symbols) numbersOf(texts [][]byte) []uint32 {
	numbers := make([]uint32, len(texts))
	missing := false
	s.mu.RLock()
	for i, text := range texts {
		n, ok := s.numbers[string(text)]
		numbers[i] = n
		missing = missing || !ok
	}
	s.mu.RUnlock()
	if missing {
		for i, text := range texts {
			numbers[i] = s.number(string(text))
		}
	}
	return numbers
}

// all are the texts by their numbers, as far as there are by now.
func (s *symbols) all() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.texts
}

func (s *symbols) bytes() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.size
}

// limitSymbols begins them anew when they take as much memory as the views may: versions
// can be as many as jobs.
func (r *Rollups) limitSymbols() {
	if r.symbols.bytes() < r.cache.limit/2 {
		return
	}
	old := r.symbols.all()
	r.symbols = newSymbols()
	r.cache.clear()
	r.active = r.renumber(r.active, old)
	for _, list := range [...]*[]map[Key]cells{&r.before, &r.frozen} {
		renumbered := make([]map[Key]cells, len(*list)) // the old ones are being read
		for i, m := range *list {
			renumbered[i] = r.renumber(m, old)
		}
		*list = renumbered
	}
}

func (r *Rollups) renumber(gathered map[Key]cells, texts []string) map[Key]cells {
	if gathered == nil {
		return nil
	}
	anew := make(map[Key]cells, len(gathered))
	for k, cs := range gathered {
		anew[k] = make(cells, len(cs))
		for ck, c := range cs {
			ck.project, ck.version = r.symbols.number(texts[ck.project]), r.symbols.number(texts[ck.version])
			anew[k][ck] = c
		}
	}
	return anew
}
