package totals

import "ci-jobs-metrics/internal/job"

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
// the budget; those with Other in the tenth of the budget behind it (at least 600),
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

// room says up to how many label sets there may be for a target to begin.
func (s *Settings) room(target, targets int) int {
	if s.MaxSets <= 0 {
		return maxRuns
	}
	behind := max(s.MaxSets/10, 600)
	switch target {
	case 0:
		return min(s.MaxSets, maxRuns)
	case targets - 1:
		return maxRuns
	case targets - 2:
		return min(s.MaxSets+behind, maxRuns)
	default:
		return min(s.MaxSets+behind/2, maxRuns)
	}
}

// maxRuns is how many counters can be numbered.
const maxRuns = 1 << 31

// place finds the counter that a job belongs to, a new one if need be.
func (t *Totals) place(j *job.Job, received, seq int64) uint32 {
	own := RunKey{Template: j.Name, Project: j.Project, Status: j.Status, Labels: t.labelsOf(j)}
	if number, ok := t.lookUp(own); ok {
		return number
	}
	if t.runs.len < t.settings.room(0, 3) { // the rule, and no list to be made
		return t.begin(own, received, seq)
	}
	targets := Targets(own, t.settings.Labels)
	for i, target := range targets[1:] {
		number, ok := t.lookUp(target)
		if !ok && t.runs.len < t.settings.room(i+1, len(targets)) {
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
	return t.runs.add(run{runKey: t.symbolize(k), created: received, since: seq})
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
