package rollup_test

import (
	"fmt"
	"math"
	"slices"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/rollup"
)

// A row is a job as it was applied.
type row struct {
	number int64
	job.Job
}

// A cellOf says of what a cell is.
type cellOf struct {
	Range                      int
	Template, Project, Version string
	Status                     job.Status
}

// A sum is what there is of a cell.
type sum struct {
	Count, Timed  int
	Micros        int64
	Again, Wasted int64
	Buckets       map[int]int
	Failures      []int64 // numbers of rows
}

// recount is what a scan has to find, counted the naive way; none of those that were pruned.
func recount(rows []row, pruned map[int64]bool, q rollup.Scan) map[cellOf]*sum {
	sums := map[cellOf]*sum{}
	for i := range rows {
		r := &rows[i]
		at := slices.IndexFunc(q.Ranges, func(g rollup.Range) bool {
			return !r.Finished.Before(g.From.Start()) && r.Finished.Before(g.To.Start())
		})
		if at < 0 || pruned[r.number] || q.Template != "" && r.Name != q.Template {
			continue
		}
		of := cellOf{at, r.Name, r.Project, r.Version, r.Status}
		if sums[of] == nil {
			sums[of] = &sum{Buckets: map[int]int{}}
		}
		sums[of].add(r, rows[:i], q.Failures)
	}
	return sums
}

func (s *sum) add(r *row, before []row, failures bool) {
	s.Count++
	if r.Timed {
		s.Timed++
		s.Micros += r.Duration.Microseconds()
		s.Buckets[bucketOf(r.Duration)]++
	}
	if tries := triesBefore(r, before); len(tries) > 0 {
		s.Again++
		for _, f := range tries {
			s.Wasted += f.Duration.Microseconds()
		}
	}
	if failures && (r.Status == job.Failed || r.Status == job.TimedOut) {
		s.Failures = append(s.Failures, r.number)
	}
}

// zero stands for the bucket of durations of 0.
const zero = math.MinInt

func bucketOf(d time.Duration) int {
	if d == 0 {
		return zero
	}
	return int(math.Ceil(8 * math.Log2(d.Seconds())))
}

// triesBefore are the failures of which a success is another try.
func triesBefore(r *row, before []row) (tries []*row) {
	if r.Status != job.Success || r.SHA == "" {
		return nil
	}
	after := r
	for i := len(before) - 1; i >= 0; i-- {
		b := &before[i]
		if b.Name != r.Name || b.Project != r.Project || b.Job.Job != r.Job.Job || b.SHA != r.SHA {
			continue
		}
		if b.Status == job.Success {
			break
		}
		if b.Status == job.Failed || b.Status == job.TimedOut {
			if apart := rollup.SlotOf(after.Finished) - rollup.SlotOf(b.Finished); apart > 96 || apart < -96 {
				break
			}
			tries, after = append(tries, b), b
		}
	}
	return tries
}

// scanned is what a scan found, in the same form.
type scanned struct{ sums map[cellOf]*sum }

func (s *scanned) begin(texts *rollup.Texts) func(rollup.Part) {
	s.sums = map[cellOf]*sum{}
	return func(p rollup.Part) {
		for i := range p.Cells {
			c := &p.Cells[i]
			s.of(texts, &p, c).addCell(p.View, c)
		}
		for _, f := range p.Failures {
			of := s.of(texts, &p, &p.Cells[f.Cell])
			of.Failures = append(of.Failures, f.Row)
			slices.Sort(of.Failures)
		}
	}
}

func (s *scanned) of(texts *rollup.Texts, p *rollup.Part, c *rollup.Cell) *sum {
	of := cellOf{p.Range, p.Template, texts.At(c.Project), texts.At(c.Version), job.Statuses[c.Status]}
	if s.sums[of] == nil {
		s.sums[of] = &sum{Buckets: map[int]int{}}
	}
	return s.sums[of]
}

func (s *sum) addCell(v *rollup.View, c *rollup.Cell) {
	s.Count += int(c.Count)
	s.Timed += int(c.Timed)
	s.Micros += c.Micros
	s.Again += int64(c.Again)
	s.Wasted += c.Wasted
	var h rollup.Histogram
	v.AddDurations(c, &h)
	h.Each(func(index int, none bool, n uint64) {
		if none {
			index = zero
		}
		s.Buckets[index] += int(n)
	})
}

// differ says in what it differs from a recount.
func (s *scanned) differ(rows []row, pruned map[int64]bool, q rollup.Scan) string {
	want := recount(rows, pruned, q)
	if gocmp.Equal(want, s.sums) {
		return ""
	}
	return fmt.Sprintf("%+v, of %d rows (-want +got):\n%s", q, len(rows), gocmp.Diff(want, s.sums))
}
