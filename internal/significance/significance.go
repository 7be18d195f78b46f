// Package significance computes how likely it is that a difference between counts is chance. Package
// kpi/findings uses it.
//
// CI jobs depend on each other: a broken branch fails ten times in an hour, a slow day is slow for all
// projects, and each project changes in its own way. So no test here assumes the variance of
// independent jobs. Each test estimates from the data how much larger the variance is ([Dispersion]),
// by days and by projects, and uses that.
//
// P-values are one-sided: the probability of a difference at least as large in the tested direction if
// there is none. [Adjust] corrects the p-values of all hypotheses for their number.
package significance

import (
	"math"
	"slices"
)

// A Count is a number of jobs of one kind (Hits) among some jobs (Of).
type Count struct{ Hits, Of float64 }

func (c Count) rate() float64 { return c.Hits / c.Of }

func sum(counts []Count) (all Count) {
	for _, c := range counts {
		all.Hits += c.Hits
		all.Of += c.Of
	}
	return all
}

// A Stratum is the jobs of one project, before and after.
type Stratum struct{ Before, After Count }

// tested returns how many more hits a stratum has after than expected, if all its hits were distributed
// over before and after by chance, and the variance of that number (hypergeometric).
func (s Stratum) tested() (more, variance float64) {
	n, hits := s.Before.Of+s.After.Of, s.Before.Hits+s.After.Hits
	if n < 2 {
		return 0, 0
	}
	more = s.After.Hits - s.After.Of*hits/n
	return more, s.Before.Of * s.After.Of * hits * (n - hits) / (n * n * (n - 1))
}

// MinProjects is the least number of projects of equal weight for which a common change can be
// distinguished from changes of single projects.
const MinProjects = 10

// Rose returns the p-value of a larger share of hits after than before, by project: the test of Cochran,
// Mantel and Haenszel. It compares each project with itself only, so more jobs of a worse project are
// no change. The variance is multiplied by a dispersion, and the statistic is compared with the t
// distribution: once with the dispersion between days, once with that between the changes of projects.
// The larger p-value counts, so that neither one bad day nor one bad project is taken for a change of
// all. With fewer than MinProjects projects, the result is about just these projects: it uses the
// larger dispersion with the degrees of freedom of days.
//
// See Mantel and Haenszel, J. Natl. Cancer Inst. 22 (1959) 719; McCullagh and Nelder,
// Generalized Linear Models (1989), 4.5 for the dispersion. It is 1 if there is too little
// to compare.
func Rose(projects []Stratum, before, after []Count) float64 {
	more, variance, squares := 0.0, 0.0, 0.0
	for _, p := range projects {
		m, v := p.tested()
		more, variance, squares = more+m, variance+v, squares+v*v
	}
	days := float64(days(before) + days(after) - 2)
	if variance <= 0 || days < 1 {
		return 1
	}
	const continuity = 0.5
	p := func(dispersion, degrees float64) float64 {
		return Student(max(more-continuity, 0)/math.Sqrt(variance*dispersion), degrees)
	}
	byDay, byProject := Dispersion(before, after), changes(projects, more, variance)
	if alike := variance * variance / squares; alike >= MinProjects {
		return max(p(byDay, days), p(byProject, alike-1))
	}
	return p(max(byDay, byProject), days)
}

func days(counts []Count) (n int) {
	for _, c := range counts {
		if c.Of > 0 {
			n++
		}
	}
	return n
}

// changes is the dispersion between how strata changed: around their share of the common
// change, so that a change of all is none.
func changes(strata []Stratum, more, variance float64) float64 {
	squares, expected := 0.0, 0.0
	for _, s := range strata {
		m, v := s.tested()
		d := m - more*v/variance
		squares += d * d
		expected += v * (1 - v/variance)
	}
	return atLeastOne(squares, expected)
}

// Dispersion is how many times as much the hits of clusters (days, projects) vary as those
// of independent jobs would, at least 1. Each group of clusters has a rate of its own.
//
// It is a ratio of sums, sum (x - np)^2 / sum np(1-p)(1-n/N), not a mean of ratios, which
// clusters of a few jobs would make useless.
func Dispersion(groups ...[]Count) float64 {
	squares, expected := 0.0, 0.0
	for _, clusters := range groups {
		all := sum(clusters)
		if all.Of == 0 {
			continue
		}
		p := all.rate()
		for _, c := range clusters {
			d := c.Hits - c.Of*p
			squares += d * d
			expected += c.Of * p * (1 - p) * (1 - c.Of/all.Of)
		}
	}
	return atLeastOne(squares, expected)
}

// atLeastOne is the ratio, but no less than what independent jobs have: less is chance.
func atLeastOne(squares, expected float64) float64 {
	if expected <= 0 {
		return 1
	}
	return max(squares/expected, 1)
}

// Exceeds is the p-value of a rate of hits above a limit: the exact binomial test on
// effective numbers, those of the jobs divided by their dispersion between days or
// projects. See Rao and Scott, Biometrics 48 (1992) 577.
func Exceeds(limit float64, days, projects []Count) float64 {
	all := sum(days)
	by := max(Dispersion(days), Dispersion(projects))
	return Binomial(all.Of/by, all.Hits/by, limit)
}

// Gap is the probability that the last so many of all days are without any of the busy
// ones, if those are drawn from all by chance: the probability of such a silence or a
// longer one at the end.
func Gap(busy, days, silent int) float64 {
	p := 1.0
	for i := range busy {
		p *= float64(days-silent-i) / float64(days-i)
	}
	return max(p, 0)
}

// Adjust turns the p-values of all tests that were made into q-values: of findings with a q
// of at most 5 %, 5 % are expected to be false, however the tests depend on each other.
// See Benjamini and Yekutieli, Ann. Statist. 29 (2001) 1165, theorem 1.3.
func Adjust(p []float64) []float64 {
	harmonic := 0.0
	order := make([]int, len(p))
	for i := range p {
		harmonic += 1 / float64(i+1)
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		if p[a] < p[b] {
			return -1
		}
		if p[a] > p[b] {
			return 1
		}
		return a - b
	})
	q, least := make([]float64, len(p)), 1.0
	for rank := len(order); rank > 0; rank-- {
		i := order[rank-1]
		least = min(least, p[i]*harmonic*float64(len(p))/float64(rank))
		q[i] = least
	}
	return q
}
