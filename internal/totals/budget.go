package totals

import (
	"strings"

	"ci-jobs-metrics/internal/job"
)

// Other is the value of a label whose own value found no room in the budget.
const Other = "__other__"

// DefaultMaxSets is how many label sets there are by default.
const DefaultMaxSets = 200_000

// A Folded counts the jobs that count under Other, by the widest label that they
// lost, since the program started.
type Folded struct {
	Labels    uint64 // the operator's labels only
	Projects  uint64 // the project too
	Templates uint64 // and the template
}

// Targets are the label sets that a job may count in, in the order in which they are
// tried: its own; with Other for the operator's labels, if there are any; for the
// project too; for the template too.
//
// A job counts in the first that is there already, or that has room: its own within
// the budget; those with Other, which are counted apart, in a tenth of it (at least 600),
// of which the first kind takes half at most; the last always, for there is one per
// status. So a label set, once there, has every job that belongs to it from then on.
func Targets(own RunKey, labels []string) []RunKey {
	targets := make([]RunKey, 1, 4)
	targets[0] = own
	if own.Labels = otherLabels(labels); own.Labels != "" {
		targets = append(targets, own)
	}
	own.Project = Other
	targets = append(targets, own)
	own.Template = Other
	return append(targets, own)
}

// OwnKey is the label set of a job, were there no budget.
func OwnKey(j *job.Job, labels []string) RunKey {
	k := RunKey{Template: j.Name, Project: j.Project, Status: j.Status}
	if len(labels) > 0 {
		k.Labels = EncodeLabels(labelValues(j, labels))
	}
	return k
}

// hasRoom says whether a target may begin.
func (t *Totals) hasRoom(target, targets int) bool {
	budget := t.settings.MaxSets
	if budget <= 0 {
		return t.runs.len < maxRuns
	}
	behind := max(budget/10, 600)
	switch target {
	case 0:
		return t.runs.len-t.others < min(budget, maxRuns)
	case targets - 1:
		return true
	case targets - 2:
		return t.others < behind
	default:
		return t.others < behind/2
	}
}

// maxRuns is how many counters can be numbered, and some more.
const maxRuns = 1 << 31

// isOther says whether something of a label set did not find room.
func (k *RunKey) isOther() bool {
	return k.Project == Other || k.Template == Other || strings.Contains(k.Labels, `"`+Other+`"`)
}

// place finds the counter that a job belongs to, a new one if need be.
func (t *Totals) place(j *job.Job, received, seq int64) uint32 {
	own := RunKey{Template: j.Name, Project: j.Project, Status: j.Status, Labels: t.labelsOf(j)}
	if number, ok := t.lookUp(own); ok {
		return number
	}
	if t.hasRoom(0, 3) { // the rule, and no list to be made
		return t.begin(own, received, seq)
	}
	targets := Targets(own, t.settings.Labels)
	for i, target := range targets[1:] {
		number, ok := t.lookUp(target)
		if !ok && t.hasRoom(i+1, len(targets)) {
			number, ok = t.begin(target, received, seq), true
		}
		if ok {
			t.count(target)
			return number
		}
	}
	panic("totals: more label sets than can be numbered")
}

func (t *Totals) begin(k RunKey, received, seq int64) uint32 {
	return t.addRun(&k, run{created: received, since: seq})
}

func (t *Totals) addRun(k *RunKey, r run) uint32 {
	if k.isOther() {
		t.others++
	}
	r.runKey = t.symbolize(*k)
	return t.runs.add(r)
}

func (t *Totals) count(folded RunKey) {
	switch {
	case folded.Template == Other:
		t.folded.Templates++
	case folded.Project == Other:
		t.folded.Projects++
	default:
		t.folded.Labels++
	}
}
