package exposition

import (
	"cmp"
	"slices"
	"strings"

	"ci-jobs-metrics/internal/job"
)

// Symbols numbers the values of labels, so that a key is four numbers: nothing for
// the garbage collector to follow in a million series.
type symbols struct {
	numbers map[string]uint32
	list    []symbol
	ranked  int // symbols below have an order
}

type symbol struct {
	text    string
	escaped string // as lines have it; the same string if nothing has to be escaped
	order   uint32
}

func newSymbols() symbols { return symbols{numbers: map[string]uint32{}} }

// number returns a text's number, a new one if it has none.
func (s *symbols) number(text string) uint32 {
	n, ok := s.numbers[text]
	if !ok {
		text = strings.Clone(text) // the totals' own may go earlier
		n = uint32(len(s.list))
		s.numbers[text] = n
		s.list = append(s.list, symbol{text: text, escaped: escapeLabel.Replace(text)})
	}
	return n
}

// rank gives each symbol its place among all, after which they compare as numbers.
// Those that come later compare as texts until the next time.
func (s *symbols) rank() {
	byText := make([]uint32, len(s.list))
	for i := range byText {
		byText[i] = uint32(i)
	}
	slices.SortFunc(byText, func(a, b uint32) int { return strings.Compare(s.list[a].text, s.list[b].text) })
	for order, n := range byText {
		s.list[n].order = uint32(order)
	}
	s.ranked = len(s.list)
}

func (s *symbols) compare(a, b uint32) int {
	if a == b {
		return 0
	}
	x, y := &s.list[a], &s.list[b]
	if int(max(a, b)) < s.ranked {
		return cmp.Compare(x.order, y.order)
	}
	return strings.Compare(x.text, y.text)
}

// A status is a job.Status as a number: its rank, and behind it the number of its
// symbol, for statuses of a later version have one rank.
type status uint32

const maxStatuses = 1 << 24

func (s *symbols) status(of job.Status) status {
	return status(of.Rank()*maxStatuses) | status(s.number(string(of)))
}

func (s *symbols) compareStatus(a, b status) int {
	if c := cmp.Compare(a/maxStatuses, b/maxStatuses); c != 0 {
		return c
	}
	return s.compare(a.symbol(), b.symbol())
}

func (s status) symbol() uint32 { return uint32(s % maxStatuses) }
