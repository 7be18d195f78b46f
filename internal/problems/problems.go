// Package problems keeps in mind what was wrong with reports of jobs lately: what was
// rejected, warned about or refused, from whom, and what to send instead. Nobody reads
// a sidecar's log; this is what a page shows to whoever can mend the sender.
//
// A [Problem] stands for all that are alike, by project and reason. Problems go into a
// [Book], which is bounded whatever senders do, and from there every few seconds into
// the ledger's store, which adds up what several books bring. Package ledger does both.
//
// It is a record of the last problems, not a count of all: those not seen for longest
// make room for new ones. The counters of rejections and warnings have every one.
package problems

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"ci-jobs-metrics/internal/job"
)

// MaxKept is how many different problems are kept, in a book and in a store.
const MaxKept = 1000

// Limits of texts, in characters. Project and Template have that of a job's, Value that of
// [job.Quote].
const (
	maxRemedy = 500
	maxSender = 100
)

// A Kind says what became of what had a problem.
type Kind string

// The kinds of problems.
const (
	Rejected Kind = "rejected" // an item that does not count
	Warned   Kind = "warned"   // an item that counts all the same
	Refused  Kind = "refused"  // a request of which nothing was looked at
)

// A Key is what problems have in common that are counted together.
type Key struct {
	Kind Kind `json:"kind"`
	// Project is as it was sent, shortened to what a project may have: it may be the name
	// of a variable, empty if it is missing, could not be read, or a request was refused, and
	// __other__ stands for those of a request that had too many.
	Project string     `json:"project"`
	Field   string     `json:"field"`  // as in job.Problem
	Reason  job.Reason `json:"reason"` // or why a request was refused, in the words of the metrics
}

// A Problem is what was wrong, and how often. All but Count and First is of the last time.
//
// Its texts are valid UTF-8 without control characters, and bounded; they may be
// anything else: a page has to escape them.
type Problem struct {
	Key
	Template string `json:"template"` // of the item, folded; empty if it had none
	Remedy   string `json:"remedy"`   // what to send instead, for people; never empty
	Value    string `json:"value"`    // what was sent; empty if that was nothing, or a whole request
	Sender   string `json:"sender"`   // the host that the request came from: a proxy's, behind one

	Count int64     `json:"count"` // at least 1; since First
	First time.Time `json:"first"` // in whole microseconds, UTC, by the receiver's clock, as is Last
	Last  time.Time `json:"last"`
}

// bound cuts the texts to their limits. They are copies then, for they may be parts of a
// large request, which would stay in memory with them.
func (p *Problem) bound() {
	p.Project = text(p.Project, job.MaxText)
	p.Template = strings.Clone(job.FoldName(text(p.Template, job.MaxText)))
	p.Remedy = text(p.Remedy, maxRemedy)
	p.Value = strings.Clone(job.Quote(p.Value))
	p.Sender = text(p.Sender, maxSender)
}

func text(s string, limit int) string { return strings.Clone(strings.TrimSpace(job.Clip(s, limit))) }

// Add counts q, which has the same key, together with p.
func (p *Problem) Add(q *Problem) {
	count, first := p.Count+q.Count, p.First
	if q.First.Before(first) {
		first = q.First
	}
	if !q.Last.Before(p.Last) {
		*p = *q
	}
	p.Count, p.First = count, first
}

// Compare orders problems as they are shown: those last seen first, and those last seen
// at the same moment by their keys.
func (p *Problem) Compare(q *Problem) int {
	return cmp.Or(
		q.Last.Compare(p.Last),
		cmp.Compare(p.Kind, q.Kind),
		cmp.Compare(p.Project, q.Project),
		cmp.Compare(p.Field, q.Field),
		cmp.Compare(p.Reason, q.Reason),
	)
}

// Merge adds up two lists, of which each has a key once, to the MaxKept problems that were
// last seen, in their order.
func Merge(a, b []Problem) []Problem {
	all := make(map[Key]Problem, len(a)+len(b))
	for _, p := range slices.Concat(a, b) {
		if known, ok := all[p.Key]; ok {
			known.Add(&p)
			p = known
		}
		all[p.Key] = p
	}
	merged := slices.SortedFunc(maps.Values(all), func(p, q Problem) int { return p.Compare(&q) })
	return merged[:min(len(merged), MaxKept)]
}
