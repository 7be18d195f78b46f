package significance_test

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"ci-jobs-metrics/internal/significance"
)

// near fails if two numbers differ by more than a part of the larger one.
func near(t *testing.T, what string, got, want, part float64) {
	t.Helper()
	if !(math.Abs(got-want) <= part*max(math.Abs(got), math.Abs(want))) {
		t.Errorf("%s: %g, want %g", what, got, want)
	}
}

// choose is a binomial coefficient.
func choose(n, k int) float64 {
	f, _ := new(big.Float).SetInt(new(big.Int).Binomial(int64(n), int64(k))).Float64()
	return f
}

// binomial adds up the probabilities of all numbers of hits.
func binomial(n, hits int, p float64) (tail float64) {
	for k := hits; k <= n; k++ {
		tail += choose(n, k) * math.Pow(p, float64(k)) * math.Pow(1-p, float64(n-k))
	}
	return tail
}

func TestBinomial(t *testing.T) {
	for n := range 60 {
		for hits := range n + 1 {
			for _, p := range []float64{0.001, 0.02, 0.3, 0.5, 0.95} {
				near(t, "tail", significance.Binomial(float64(n), float64(hits), p), binomial(n, hits, p), 1e-9)
			}
		}
	}
	if p := significance.Binomial(10, 11, 0.5); p != 0 {
		t.Errorf("more hits than jobs: %g", p)
	}
	// Ten million jobs, one standard deviation of 707 above the mean.
	near(t, "of many", significance.Binomial(1e7, 5e4+223.04, 0.005), 0.1586, 0.01)
}

// Student's t is compared with the integral of its density, by Simpson's rule.
func TestStudent(t *testing.T) {
	density := func(x, df float64) float64 {
		a, _ := math.Lgamma((df + 1) / 2)
		b, _ := math.Lgamma(df / 2)
		return math.Exp(a-b-(df+1)/2*math.Log1p(x*x/df)) / math.Sqrt(df*math.Pi)
	}
	for _, df := range []float64{1, 2, 3.5, 12, 54, 1000} {
		for _, x := range []float64{0, 0.1, 0.7, 1, 2, 3.3, 6} {
			const steps = 4000
			h, area := x/steps, 0.0
			for i := range steps / 2 {
				at := 2 * float64(i) * h
				area += h / 3 * (density(at, df) + 4*density(at+h, df) + density(at+2*h, df))
			}
			tail := significance.Student(x, df)
			if math.Abs(tail-(0.5-area)) > 1e-9 {
				t.Errorf("t %g of %g degrees: %g, want %g", x, df, tail, 0.5-area)
			}
			near(t, "below", significance.Student(-x, df), 1-tail, 1e-12)
		}
	}
	near(t, "far out, with one degree", significance.Student(1e6, 1), 1/(math.Pi*1e6), 1e-6)
}

// Of every way to draw the busy days, those that leave the end silent are counted.
func TestGap(t *testing.T) {
	for days := 1; days <= 14; days++ {
		silent := map[[2]int]int{} // ways, by busy days and silent ones at the end
		ways := map[int]int{}
		for drawn := 1; drawn < 1<<days; drawn++ {
			busy, last := 0, 0
			for d := range days {
				if drawn>>d&1 > 0 {
					busy, last = busy+1, d
				}
			}
			ways[busy]++
			for s := 0; s <= days-1-last; s++ {
				silent[[2]int{busy, s}]++
			}
		}
		for k, n := range silent {
			near(t, "gap", significance.Gap(k[0], days, k[1]), float64(n)/float64(ways[k[0]]), 1e-12)
		}
	}
	if p := significance.Gap(8, 10, 5); p != 0 {
		t.Errorf("more busy days than there is room for: %g", p)
	}
}

// q-values, as their definition says: the least level at which a test is among those
// rejected.
func TestAdjust(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		p := make([]float64, r.IntN(30))
		harmonic := 0.0
		for i := range p {
			p[i] = math.Pow(r.Float64(), 4)
			if r.IntN(4) == 0 {
				p[i] = p[r.IntN(i+1)] // equal ones
			}
			harmonic += 1 / float64(i+1)
		}
		got := significance.Adjust(p)
		for i := range p {
			near(t, "q", got[i], naive(p, i, harmonic), 1e-12)
		}
	}
}

// naive looks for the rank k of the sorted p-values from p[i] on at which the bound is
// lowest: Benjamini and Hochberg's, times the harmonic number of Yekutieli.
func naive(p []float64, i int, harmonic float64) float64 {
	sorted := slices.Sorted(slices.Values(p))
	least := 1.0
	for k, at := range sorted {
		if at >= p[i] {
			least = min(least, at*float64(len(p))/float64(k+1)*harmonic)
		}
	}
	return least
}

// days are in each part.
const days = 28

// counts are of one project, by day.
func counts(r *rand.Rand, of func(day int) (jobs int, p float64)) []significance.Count {
	all := make([]significance.Count, days)
	for i := range all {
		jobs, p := of(i)
		all[i].Of = float64(jobs)
		for range jobs {
			if r.Float64() < p {
				all[i].Hits++
			}
		}
	}
	return all
}

// cube is jobs by part, project and day.
type cube [2][][]significance.Count

func (c *cube) days(part int) []significance.Count {
	all := make([]significance.Count, days)
	for _, project := range c[part] {
		for d, n := range project {
			all[d].Hits += n.Hits
			all[d].Of += n.Of
		}
	}
	return all
}

func (c *cube) strata() (strata []significance.Stratum) {
	all := func(days []significance.Count) (n significance.Count) {
		for _, d := range days {
			n.Hits += d.Hits
			n.Of += d.Of
		}
		return n
	}
	for i := range c[0] {
		strata = append(strata, significance.Stratum{Before: all(c[0][i]), After: all(c[1][i])})
	}
	return strata
}

// worlds are ways in which CI jobs depend on each other; in none of them is there a change.
var worlds = map[string]func(r *rand.Rand) *cube{
	"independent": func(r *rand.Rand) *cube {
		return world(r, 40, func() float64 { return 0.08 }, func(p float64) float64 { return p }, func() float64 { return 1 })
	},
	"few": func(r *rand.Rand) *cube {
		return world(r, 4, func() float64 { return 0.05 }, func(p float64) float64 { return p }, func() float64 { return 1 })
	},
	"projects differ": func(r *rand.Rand) *cube {
		return world(r, 40, func() float64 { return 0.3 * r.Float64() }, func(p float64) float64 { return p }, func() float64 { return 1 })
	},
	"bad days of a project": func(r *rand.Rand) *cube {
		return world(r, 40, func() float64 { return 0.05 }, func(p float64) float64 {
			if r.IntN(20) == 0 {
				return 0.8
			}
			return p
		}, func() float64 { return 1 })
	},
	"projects change": func(r *rand.Rand) *cube {
		return world(r, 40, func() float64 { return 0.05 }, func(p float64) float64 { return p }, func() float64 { return 1 }, 3)
	},
	"bad days of all": func(r *rand.Rand) *cube {
		return world(r, 40, func() float64 { return 0.05 }, func(p float64) float64 { return p }, func() float64 {
			if r.IntN(15) == 0 {
				return 6
			}
			return 1
		})
	},
}

// world makes one: the rate of a project, what a day makes of it there, and everywhere.
func world(r *rand.Rand, projects int, rate func() float64, ofDay func(p float64) float64, ofAll func() float64, changes ...float64) *cube {
	var c cube
	var all [2][days]float64
	for part := range all {
		for d := range all[part] {
			all[part][d] = ofAll()
		}
	}
	for i := range projects {
		p, size := rate(), 1+60/(i+3)
		for part := range c {
			p := p
			for _, by := range changes { // each project for itself, to more or to less
				p *= math.Pow(by, 2*r.Float64()-1)
			}
			c[part] = append(c[part], counts(r, func(d int) (int, float64) {
				if d%7 > 4 {
					return r.IntN(2), ofDay(p) * all[part][d]
				}
				return r.IntN(size + 1), ofDay(p) * all[part][d]
			}))
		}
	}
	return &c
}

// Where nothing changed, a p-value is below a level no more often than the level, however
// jobs depend on each other.
func TestNothingChanged(t *testing.T) {
	for name, make := range worlds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(3, uint64(len(name))))
			const tries = 1500
			var p []float64
			for range tries {
				c := make(r)
				p = append(p, significance.Rose(c.strata(), c.days(0), c.days(1)))
			}
			atMost(t, p, 0.05)
			atMost(t, p, 0.01)
			atMost(t, p, 0.001)
		})
	}
}

// atMost allows for three standard errors.
func atMost(t *testing.T, p []float64, level float64) {
	t.Helper()
	below := 0.0
	for _, x := range p {
		if x <= level {
			below++
		}
	}
	n := float64(len(p))
	t.Logf("%.4f of the p-values are below %g", below/n, level)
	if below > n*level+3*math.Sqrt(n*level*(1-level)) {
		t.Errorf("%.4f of the p-values are below %g", below/n, level)
	}
}

// With one project and independent jobs it is Fisher's exact test, or a little more
// careful.
func TestRoseFisher(t *testing.T) {
	for _, c := range [][4]int{{5, 100, 15, 100}, {2, 60, 9, 60}, {10, 200, 30, 200}, {1, 100, 8, 40}, {20, 300, 20, 300}, {0, 30, 6, 30}} {
		before, after := spread(c[0], c[1]), spread(c[2], c[3])
		stratum := significance.Stratum{
			Before: significance.Count{Hits: float64(c[0]), Of: float64(c[1])},
			After:  significance.Count{Hits: float64(c[2]), Of: float64(c[3])},
		}
		p, exact := significance.Rose([]significance.Stratum{stratum}, before, after), fisher(c[0], c[1], c[2], c[3])
		if p < exact/2 || p > 4*exact+0.01 {
			t.Errorf("%v: %g, exactly %g", c, p, exact)
		}
	}
}

// spread is hits as even by day as can be, so that days say nothing.
func spread(hits, of int) (counts []significance.Count) {
	for d := range days {
		part := func(all int) float64 { return float64(all*(d+1)/days - all*d/days) }
		counts = append(counts, significance.Count{Hits: part(hits), Of: part(of)})
	}
	return counts
}

// fisher is the probability of at least so many hits after, of all ways to divide them.
func fisher(hits0, n0, hits1, n1 int) (p float64) {
	hits := hits0 + hits1
	for x := hits1; x <= min(hits, n1); x++ {
		p += choose(n1, x) * choose(n0, hits-x) / choose(n0+n1, hits)
	}
	return p
}

// A rise of all projects is found; one of a single project is not one of the template.
func TestRoseProjects(t *testing.T) {
	of := func(after func(i int) float64) float64 {
		r := rand.New(rand.NewPCG(5, 6))
		var c cube
		for i := range 30 {
			c[0] = append(c[0], counts(r, func(int) (int, float64) { return 4, 0.05 }))
			c[1] = append(c[1], counts(r, func(int) (int, float64) { return 4, after(i) }))
		}
		return significance.Rose(c.strata(), c.days(0), c.days(1))
	}
	if p := of(func(int) float64 { return 0.1 }); p > 1e-6 {
		t.Errorf("all projects fail twice as often: p %g", p)
	}
	if p := of(func(i int) float64 { return 0.05 + max(0, float64(1-i))*0.95 }); p < 0.05 {
		t.Errorf("one project always fails: p %g", p)
	}
	if p := significance.Rose(nil, nil, nil); p != 1 {
		t.Errorf("nothing at all: p %g", p)
	}
}

// A rate at the limit exceeds it no more often than the level, although all hits of
// a project are on bad days; three times the limit is found.
func TestExceeds(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	sample := func(rate float64) float64 {
		var c cube
		for i := range 30 {
			c[0] = append(c[0], counts(r, func(int) (int, float64) {
				if r.IntN(10) == 0 { // a bad day
					return 1 + 20/(i+1), 10 * rate
				}
				return 1 + 20/(i+1), 0
			}))
			c[1] = append(c[1], nil)
		}
		var projects []significance.Count
		for _, s := range c.strata() {
			projects = append(projects, s.Before)
		}
		return significance.Exceeds(0.02, c.days(0), projects)
	}
	var p []float64
	for range 1000 {
		p = append(p, sample(0.02))
	}
	atMost(t, p, 0.05)
	if found := sample(0.06); found > 1e-3 {
		t.Errorf("three times the limit: p %g", found)
	}
}
