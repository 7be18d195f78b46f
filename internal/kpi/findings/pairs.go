package findings

import (
	"cmp"
	"context"
	"slices"

	"ci-jobs-metrics/internal/kpi"
	"ci-jobs-metrics/internal/rollup"
	"ci-jobs-metrics/internal/significance"
)

// usage is the second scan: how projects use templates, in both parts that are compared. It runs
// after the first scan, so it may have a few more jobs.
type usage struct {
	templates []templateUse // by their numbers in days
	projects  []projectUse
}

// templateUse is one template.
type templateUse struct {
	numbers []int32 // by project: the number of its pair, plus one
	pairs   []pair
	above   []significance.Count // by day: successful jobs above the former p95
}

// projectUse is one project.
type projectUse struct {
	name string
	jobs [2]int64 // of all templates
}

// A pair is a template in a project.
type pair struct {
	project  int
	parts    [2]sums
	lately   bool // it ran in the days just before the current part, as many as that has
	last     int  // day
	versions []versionUse
	unsteady bool // it has more than maxVersions; they are not kept
}

// versionUse is one version of it.
type versionUse struct {
	version     uint32
	first, last int // days
	jobs        [2]int64
}

// maxVersions is the largest number of versions of a template that are kept for one project. A
// project with more takes a new version every other day: it doesn't stay on any.
const maxVersions = 50

// scanUsage scans the two parts that choosePeriods chose.
func (f *finder) scanUsage(ctx context.Context, a *kpi.Asker) (*usage, error) {
	numbers := map[string]int{}
	for t := range f.templates {
		numbers[f.templates[t].name] = t
	}
	var u *usage
	_, err := f.scan.From(ctx, a, f.first, func() func(*kpi.Cell) {
		u = &usage{templates: make([]templateUse, len(f.templates))}
		known, chosen := index{}, kpi.NewMatcher(f.filter.Projects)
		return func(c *kpi.Cell) {
			day := int(c.Day - f.first)
			part := f.part(day)
			t, ok := numbers[c.Template]
			if part >= 0 && ok && chosen.Match(c.Project, f.scan.Texts()) {
				u.add(f, c, t, part, day, u.project(f.scan, c.Project, &known))
			}
		}
	})
	if err != nil {
		return nil, err
	}
	u.sort(f.scan.Texts())
	return u, nil
}

// sort orders everything by name, for the same reason as days.sort.
func (u *usage) sort(texts *rollup.Texts) {
	for t := range u.templates {
		pairs := u.templates[t].pairs
		slices.SortFunc(pairs, func(a, b pair) int {
			return cmp.Compare(u.projects[a.project].name, u.projects[b.project].name)
		})
		for i := range pairs {
			slices.SortFunc(pairs[i].versions, func(a, b versionUse) int {
				return cmp.Compare(texts.At(a.version), texts.At(b.version))
			})
		}
		u.templates[t].numbers = nil // of pairs as they were
	}
}

func (u *usage) project(s *kpi.Scan, number uint32, known *index) int {
	i := known.of(number)
	if i == len(u.projects) {
		u.projects = append(u.projects, projectUse{name: s.Texts().At(number)})
	}
	return i
}

func (u *usage) add(f *finder, c *kpi.Cell, t, part, day, project int) {
	u.projects[project].jobs[part] += int64(c.Count)
	template := &u.templates[t]
	p := template.pair(project)
	s := &p.parts[part]
	s.addCell(c.Cell)
	p.last = max(p.last, day)
	p.lately = p.lately || part == previous && day >= 2*f.begin[current]-f.end
	if f.scan.Texts().At(c.Version) != "" {
		p.see(c.Version, day, part, int64(c.Count))
	}
	if f.limits[t] != notSlower && int(c.Status) == success {
		if template.above == nil {
			template.above = make([]significance.Count, len(f.total))
		}
		n := above(c, f.limits[t])
		s.above += n
		template.above[day].Hits += float64(n)
		template.above[day].Of += float64(c.Timed)
	}
}

func (t *templateUse) pair(project int) *pair {
	if project >= len(t.numbers) {
		t.numbers = append(t.numbers, make([]int32, project+1-len(t.numbers))...)
	}
	if t.numbers[project] == 0 {
		t.pairs = append(t.pairs, pair{project: project})
		t.numbers[project] = int32(len(t.pairs)) //nolint:gosec // projects
	}
	return &t.pairs[t.numbers[project]-1]
}

func (p *pair) see(version uint32, day, part int, jobs int64) {
	if p.unsteady {
		return
	}
	at := slices.IndexFunc(p.versions, func(v versionUse) bool { return v.version == version })
	if at < 0 {
		if len(p.versions) == maxVersions {
			p.versions, p.unsteady = nil, true
			return
		}
		at = len(p.versions)
		p.versions = append(p.versions, versionUse{version: version, first: day, last: day})
	}
	v := &p.versions[at]
	v.first, v.last = min(v.first, day), max(v.last, day)
	v.jobs[part] += jobs
}

// above counts the durations of a cell that are in a bucket above the given one.
func above(c *kpi.Cell, limit int) (count int64) {
	var h rollup.Histogram
	c.AddDurations(c.Cell, &h)
	h.Each(func(index int, _ bool, n uint64) {
		if index > limit {
			count += int64(n) //nolint:gosec // jobs
		}
	})
	return count
}

// most names the projects that have most of something, without those that have nothing.
func (u *usage) most(pairs []pair, of func(*pair) float64) []string {
	type ranked struct {
		name string
		n    float64
	}
	var all []ranked
	for i := range pairs {
		if n := of(&pairs[i]); n > 0 {
			all = append(all, ranked{u.projects[pairs[i].project].name, n})
		}
	}
	slices.SortFunc(all, func(a, b ranked) int { return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.name, b.name)) })
	names := []string{}
	for _, r := range all[:min(len(all), MaxNamed)] {
		names = append(names, r.name)
	}
	return names
}
