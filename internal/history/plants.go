package history

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// The kinds of stories.
const (
	Slower   = "slower"   // a template takes longer than it did
	Failing  = "failing"  // a template fails more often than it did
	Flaky    = "flaky"    // a template that fails succeeds when it is run again
	Costly   = "costly"   // a template's failed runs cost the most time
	Rollout  = "rollout"  // a template's new version spreads over the projects
	Outdated = "outdated" // a project that stays on the version before
	Fading   = "fading"   // a template that projects leave
	Stopped  = "stopped"  // a project that runs no jobs any more
)

// A Plant is a story in a history, for somebody to find.
type Plant struct {
	Kind     string
	Template string    // empty if it is about all of a project
	Project  string    // empty if it is about all projects
	Version  string    // of a rollout the new one, of what is outdated the old one
	Since    time.Time // may be before the history's begin
	Text     string    // the story in a sentence
}

// Plants lists the stories of a shape that is Planted. Which templates and projects
// they are about depends on the Seed; templates are among the ten most popular ones, and each has
// one story.
func (s Shape) Plants() []Plant {
	if !s.exists() {
		return nil
	}
	return newWorld(s).planted
}

// There are stories if so many can have one.
const (
	minTemplates = 10
	minProjects  = 20
)

// When stories begin, before the end.
const (
	trendAge   = 20 * day // slower, failing
	rolloutAge = 45 * day
	fadingAge  = 45 * day
	stoppedAge = 25 * day
)

// A leaver takes its share of all jobs with it, so that those of others don't grow.
type leaver struct {
	at    time.Duration
	share float64
}

// activity is what is still going on at a moment, of 1.
func (w *world) activity(moment time.Duration) float64 {
	still := 1.0
	for _, l := range w.leavers {
		if moment >= l.at {
			still -= l.share
		}
	}
	return still
}

func (w *world) plant(r *rand.Rand) {
	popular := w.templates[r.IntN(2)]
	costly := longest(w.templates[2:8])
	others := slices.DeleteFunc(slices.Clone(w.templates[:minTemplates]),
		func(t *template) bool { return t == popular || t == costly })
	r.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })

	w.slower(others[0])
	w.failing(others[1])
	w.flaky(others[2])
	w.costly(costly)
	w.stop(r)
	w.fade(r, others[3])
	w.rollOut(r, popular)
}

// longest is the template whose runs take the most time together.
func longest(templates []*template) *template {
	return slices.MaxFunc(templates, func(a, b *template) int {
		return cmp.Compare(a.share*float64(a.median), b.share*float64(b.median))
	})
}

// tell adds a story that began at a moment. Its text has verbs for whom it is about and
// for that day.
func (w *world) tell(p Plant, since time.Duration, text string) {
	p.Since = w.begin.Add(since)
	who := p.Template
	if who == "" || p.Kind == Outdated {
		who = p.Project
	}
	p.Text = fmt.Sprintf(text, who, p.Since.Format(time.DateOnly))
	w.planted = append(w.planted, p)
}

func (w *world) slower(t *template) {
	t.since, t.changed = w.span-trendAge, t.usual
	t.changed.pace *= 1.6
	w.tell(Plant{Kind: Slower, Template: t.name}, t.since, "%s takes 1.6 times as long since %s.")
}

// failing has few other ends than success and failure, so that 0.95 and 0.80 are the
// successes of all runs, and hardly more of those that succeed or fail.
func (w *world) failing(t *template) {
	t.usual.odds = odds{0.04, 0.004, 0.001, 0.002, 0.003}
	t.since, t.changed = w.span-trendAge, t.usual
	t.changed.odds[failedAt] = 0.18 // and retries
	w.tell(Plant{Kind: Failing, Template: t.name}, t.since, "%s succeeds in 80 %% instead of 95 %% of its runs since %s.")
}

func (w *world) flaky(t *template) {
	t.usual.odds[failedAt], t.usual.retried, t.usual.mended = 0.12, 1, 0.9
	w.tell(Plant{Kind: Flaky, Template: t.name}, 0,
		"%s fails in 12 %% of its runs, since %s at least, and nine of ten succeed when run again.")
}

func (w *world) costly(t *template) {
	t.usual.odds[failedAt], t.usual.failing = 0.18, 2
	w.tell(Plant{Kind: Costly, Template: t.name}, 0,
		"%s fails late and often, since %s at least: most of the time that failures cost is its.")
}

// stop ends two projects of good size.
func (w *world) stop(r *rand.Rand) {
	at := w.span - stoppedAge
	for _, i := range r.Perm(8)[:2] {
		p := w.projects[3+i]
		p.stops = at
		w.leavers = append(w.leavers, leaver{at, p.share})
		w.tell(Plant{Kind: Stopped, Project: p.path}, at, "%s runs no jobs since %s.")
	}
}

// fade lets the projects leave a template one by one, evenly by how much they use it,
// until a tenth of its use is left for the last week.
func (w *world) fade(r *rand.Rand, t *template) {
	uses := w.usesOf(t)
	r.Shuffle(len(uses), func(i, j int) { uses[i], uses[j] = uses[j], uses[i] })
	since := w.span - fadingAge
	stays, leaves := 0.0, 0.0
	for _, u := range uses {
		if stays+u.share <= 0.1*t.share {
			stays += u.share
			continue
		}
		leaves += u.share
		u.leaves = since + time.Duration(leaves/(0.9*t.share)*float64(fadingAge-7*day))
		w.leavers = append(w.leavers, leaver{u.leaves, u.share})
	}
	w.tell(Plant{Kind: Fading, Template: t.name}, since, "%s is left by one project after the other since %s.")
}

// rollOut spreads a new major version; 15 of 100 projects never take it.
func (w *world) rollOut(r *rand.Rand, t *template) {
	since := w.span - rolloutAge
	t.releases = slices.DeleteFunc(t.releases, func(l release) bool { return l.at > since-2*maxLag })
	t.next = semver(t.major+1, 0, 0)
	w.tell(Plant{Kind: Rollout, Template: t.name, Version: t.next}, since,
		"%s has a new version since %s, which most projects took.")

	uses := w.usesOf(t)
	r.Shuffle(len(uses), func(i, j int) { uses[i], uses[j] = uses[j], uses[i] })
	stay := len(uses) * 15 / 100
	for _, u := range uses[stay:] {
		u.adopts = since + adoption(r)
	}
	w.tellOutdated(uses[:stay], since)
}

// adoption is how long a project takes to adopt a rollout: logistic around 20 days,
// which is slow, fast, and slow again.
func adoption(r *rand.Rand) time.Duration {
	x := r.Float64()
	return bounded(20*day+time.Duration(math.Log(x/(1-x))*float64(4*day)), day, rolloutAge-3*day)
}

// tellOutdated names three of the projects that stay, the largest that still run.
func (w *world) tellOutdated(stay []*use, since time.Duration) {
	named := 0
	for _, p := range w.projects {
		for i := range p.uses {
			u := &p.uses[i]
			if named == 3 || p.stops != never || !slices.Contains(stay, u) {
				continue
			}
			named++
			old := Plant{Kind: Outdated, Template: u.template.name, Project: p.path, Version: u.version(w.span)}
			w.tell(old, since, "%s still runs "+old.Version+" of "+old.Template+", from before %s.")
		}
	}
}

// usesOf are a template's, in the largest project first.
func (w *world) usesOf(t *template) (uses []*use) {
	for _, p := range w.projects {
		for i := range p.uses {
			if p.uses[i].template == t {
				uses = append(uses, &p.uses[i])
			}
		}
	}
	return uses
}
