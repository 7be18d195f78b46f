package history

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"time"
)

// Powers of the rank by which sizes fall.
const (
	projectPower = 0.8 // jobs of a project
	choicePower  = 0.8 // readiness of a project to use a template
	chancePower  = 0.4 // chance that a pipeline of a project runs a template that it uses
)

// A world is what a history happens in: who there is, and what they are like. It
// doesn't change while the history is made.
type world struct {
	shape Shape
	begin time.Time
	span  time.Duration

	templates []*template // the most popular one first
	projects  []*project  // the largest one first
	busy      chooser     // of projects, by how many pipelines people start there
	nightly   chooser     // of those with schedules
	planted   []Plant
	leavers   []leaver // when how much of all activity ends
}

// A project runs pipelines.
type project struct {
	path     string
	url      string // of its jobs, without the number
	uses     []use  // by stage
	branches []string
	share    float64       // of all jobs, about
	stops    time.Duration // when it runs its last pipeline
}

// A use is a template in the pipelines of a project.
type use struct {
	template *template
	jobs     []string      // what its jobs are called there
	chance   float64       // that a pipeline runs it
	pace     float64       // factor on durations
	lag      time.Duration // from a release to its first run there
	share    float64       // of all jobs, about
	adopts   time.Duration // when it takes the version of a planted rollout
	leaves   time.Duration // when its last pipeline begins
}

func newWorld(s Shape) *world {
	w := &world{shape: s}
	w.begin, w.span = s.bounds()
	r := rand.New(rand.NewPCG(s.Seed, 0))
	for rank := range s.Templates {
		w.templates = append(w.templates, newTemplate(r, rank, w.span))
	}
	interest := powers(s.Templates, choicePower)
	for _, path := range paths(r, s.Projects) {
		w.projects = append(w.projects, w.newProject(r, path, interest))
	}
	w.weigh()
	w.settle()
	if s.Planted && s.Templates >= minTemplates && s.Projects >= minProjects {
		w.plant(rand.New(rand.NewPCG(s.Seed, 1)))
	}
	return w
}

// powers are weights that fall by a power of the rank.
func powers(n int, power float64) []float64 {
	weights := make([]float64, n)
	for rank := range weights {
		weights[rank] = math.Pow(float64(rank+1), -power)
	}
	return weights
}

func (w *world) newProject(r *rand.Rand, path string, interest []float64) *project {
	p := &project{
		path: path, url: "https://" + host + "/" + path + "/-/jobs/",
		branches: branchesOf(r), stops: never,
	}
	for _, i := range choose(r, interest, 5+r.IntN(11)) {
		t := w.templates[i]
		p.uses = append(p.uses, use{
			template: t, jobs: jobsOf(r, t, path),
			chance: math.Pow(float64(i+1), -chancePower),
			pace:   math.Exp(0.15 * r.NormFloat64()),
			lag:    time.Duration(r.Int64N(int64(maxLag))),
			adopts: never, leaves: never,
		})
	}
	slices.SortStableFunc(p.uses, func(a, b use) int { return cmp.Compare(a.template.stage, b.template.stage) })
	return p
}

// choose draws n of the indexes of weights, or all if there are fewer, none twice. Those
// that an exponential clock of their weight rings first for are drawn.
func choose(r *rand.Rand, weights []float64, n int) []int {
	rings, drawn := make([]float64, len(weights)), make([]int, len(weights))
	for i, weight := range weights {
		rings[i], drawn[i] = r.ExpFloat64()/weight, i
	}
	slices.SortFunc(drawn, func(a, b int) int { return cmp.Compare(rings[a], rings[b]) })
	return drawn[:min(n, len(drawn))]
}

// weigh gives each project its share of the jobs, and so of the pipelines. A third of
// the projects have schedules.
func (w *world) weigh() {
	sizes := powers(len(w.projects), projectPower)
	all := sum(sizes)
	for rank, p := range w.projects {
		p.share = sizes[rank] / all
		perPipeline := 0.0
		for i := range p.uses {
			perPipeline += p.uses[i].perPipeline()
		}
		for i := range p.uses {
			u := &p.uses[i]
			u.share = p.share * u.perPipeline() / perPipeline
			u.template.share += u.share
		}
		pipelines := p.share / perPipeline
		w.busy.add(pipelines)
		if rank%3 > 0 {
			pipelines = 0
		}
		w.nightly.add(pipelines)
	}
}

// perPipeline is how many jobs a pipeline has of it, on average.
func (u *use) perPipeline() float64 { return u.chance * float64(len(u.jobs)) }

// settle brings the failures of all templates together to what is usual.
func (w *world) settle() {
	failed := 0.0
	for _, t := range w.templates {
		failed += t.share * t.usual.odds[failedAt]
	}
	for _, t := range w.templates {
		t.usual.odds[failedAt] *= failedOdds / failed
	}
}

func sum(numbers []float64) (total float64) {
	for _, n := range numbers {
		total += n
	}
	return total
}

// A chooser draws indexes by their weights, which it holds as running sums.
type chooser []float64

func (c *chooser) add(weight float64) {
	if n := len(*c); n > 0 {
		weight += (*c)[n-1]
	}
	*c = append(*c, weight)
}

func (c chooser) draw(r *rand.Rand) int {
	x := r.Float64() * c[len(c)-1]
	return sort.Search(len(c), func(i int) bool { return c[i] > x })
}

// version is the one that the project runs at a moment.
func (u *use) version(moment time.Duration) string {
	if moment >= u.adopts {
		return u.template.next
	}
	releases := u.template.releases
	last := len(releases) - 1
	for last > 0 && releases[last].at > moment-u.lag {
		last--
	}
	return releases[last].version
}
