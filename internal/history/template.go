package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// A template is what jobs run.
type template struct {
	name     string
	stage    int           // in stages
	median   time.Duration // of a run that succeeds
	spread   float64       // standard deviation of the duration's logarithm
	timeout  time.Duration // no run takes longer
	releases []release     // the oldest first, which was there before the history
	major    int           // of all their versions
	next     string        // the version of a planted rollout
	share    float64       // of all jobs, about

	usual   behavior
	since   time.Duration // from when on it behaves as changed
	changed behavior
}

// at is how the template behaves at a moment.
func (t *template) at(moment time.Duration) *behavior {
	if moment >= t.since {
		return &t.changed
	}
	return &t.usual
}

func newTemplate(r *rand.Rand, rank int, span time.Duration) *template {
	k := kindOf(rank)
	t := &template{name: k.name, stage: slices.Index(stages, k.stage), median: k.median, since: never}
	if rank >= len(known) { // the same action is not as fast everywhere
		t.median = bounded(stretch(k.median, 0.5*r.NormFloat64()), 10*time.Second, 30*time.Minute)
	}
	t.spread = 0.25 + 0.2*r.Float64()
	t.timeout = timeoutFor(t.median)
	t.usual = ordinary(r, k.stage)
	t.release(r, span)
	return t
}

func bounded(d, least, most time.Duration) time.Duration { return max(least, min(d, most)) }

// A release is a version of a template.
type release struct {
	at      time.Duration
	version string
}

// maxLag is how long the last project takes to run a new version.
const maxLag = 5 * day

// release makes the template's releases: every few weeks, when all projects have the
// one before.
func (t *template) release(r *rand.Rand, span time.Duration) {
	t.major = 1 + r.IntN(4)
	minor, patch := r.IntN(12), r.IntN(5)
	t.releases = []release{{-never, semver(t.major, minor, patch)}}
	for at := stretch(12*day, r.NormFloat64()); at < span; at += max(stretch(20*day, 0.4*r.NormFloat64()), 2*maxLag) {
		if r.IntN(10) < 7 {
			minor, patch = minor+1, 0
		} else {
			patch++
		}
		t.releases = append(t.releases, release{at, semver(t.major, minor, patch)})
	}
}

func semver(major, minor, patch int) string { return fmt.Sprintf("%d.%d.%d", major, minor, patch) }
