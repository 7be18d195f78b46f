package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"time"
)

// A config is what is measured, and where the programs are.
type config struct {
	self     string // the program of the libraries
	bin      string
	dir      string
	series   []int
	rounds   int
	subjects []string
	format   string
	progress io.Writer
}

// The encodings that are asked for.
const (
	plain   = "plain"
	gzipped = "gzip"
)

// A cell is one line of the table: medians of all rounds.
type cell struct {
	lines                     int
	change, encoding, subject string

	compressed bool
	wall, cpu  float64 // ms, of the scrape
	round      float64 // ms of processor time, from the first change until nothing moves any more after the scrape
	bytes      float64
	allocs     float64 // bytes; below zero: not known
	stolen     float64 // share of the time of the machine
}

// A peak is what a subject needed of memory, in MB.
type peak struct {
	lines            int
	subject          string
	all, sinceFilled float64
}

type results struct {
	cells []cell
	peaks []peak
	notes []string
}

// run measures all sizes, one after the other. With an error it returns what it has.
func (c *config) run(ctx context.Context) (*results, error) {
	var all results
	for _, name := range c.subjects {
		if err := c.present(name); err != nil {
			return &all, fmt.Errorf("%w; make bench-scrape builds it, and -subjects says who is measured", err)
		}
	}
	for _, lines := range c.series {
		if err := c.size(ctx, lines, &all); err != nil {
			return &all, fmt.Errorf("%d series: %w", lines, err)
		}
	}
	return &all, nil
}

func (c *config) say(format string, args ...any) {
	fmt.Fprintf(c.progress, "%s "+format+"\n", append([]any{time.Now().Format(time.TimeOnly)}, args...)...)
}

// A stage is all the subjects with the same series in them.
type stage struct {
	*config
	model    *model
	subjects []*subject
	random   *rand.Rand
	results  *results
}

// size measures one number of series: all subjects run beside each other, but one is
// scraped at a time, in turn.
func (c *config) size(ctx context.Context, lines int, all *results) error {
	dir, err := os.MkdirTemp(c.dir, "ci-jobs-metrics-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the system clears it too
	s := &stage{config: c, model: newModel(shapeOf(lines)), random: rand.New(rand.NewPCG(1, uint64(lines))), results: all}
	defer s.end()
	jobs := s.model.fill()
	b := &batch{jobs, s.model.apply(jobs), s.model}
	for _, name := range c.subjects {
		if err := s.add(ctx, name, dir, b); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, encoding := range []string{plain, gzipped} {
		if err := s.check(ctx, encoding); err != nil {
			return err
		}
	}
	for _, change := range changes {
		for _, encoding := range []string{plain, gzipped} {
			if err := s.cells(ctx, change, encoding); err != nil {
				return fmt.Errorf("%s, %s: %w", change.name, encoding, err)
			}
		}
	}
	return nil
}

// end notes what the subjects needed, and stops them.
func (s *stage) end() {
	for _, subject := range s.subjects {
		if p := s.results.peak(s.model.lines, subject.name); p != nil {
			p.sinceFilled = subject.process.peak()
			p.all = max(p.all, p.sinceFilled)
		}
		subject.process.stop()
	}
}

// add starts a subject and fills it.
func (s *stage) add(ctx context.Context, name, dir string, b *batch) error {
	subject, err := s.start(ctx, name, dir)
	if err != nil {
		return err
	}
	s.subjects = append(s.subjects, subject)
	begin := time.Now()
	if err := subject.apply(ctx, b); err != nil {
		return err
	}
	if err := settle(ctx, subject.process); err != nil {
		return err
	}
	s.results.peaks = append(s.results.peaks, peak{lines: s.model.lines, subject: name, all: subject.process.peak()})
	s.say("%d series: %s filled in %v", s.model.lines, name, time.Since(begin).Round(time.Millisecond))
	subject.process.forgetPeak()
	return nil
}

// check compares what each subject exposes with what was sent to it.
func (s *stage) check(ctx context.Context, encoding string) (err error) {
	want := s.model.sums()
	for _, subject := range s.subjects {
		var body bytes.Buffer
		a, e := scrape(ctx, subject.metrics, accepts[s.format], encoding, &body)
		if e != nil {
			return fmt.Errorf("%s: %w", subject.name, e)
		}
		got, e := sumUp(&body, a.compressed)
		if e != nil {
			return fmt.Errorf("%s: %w", subject.name, e)
		}
		if got != want {
			err = errors.Join(err, fmt.Errorf("%s exposes %+v, want %+v", subject.name, got, want))
		}
		s.note("%s answers %s as %s", subject.name, s.format, a.media)
	}
	return err
}

// note keeps what is to be said once.
func (s *stage) note(format string, args ...any) {
	if note := fmt.Sprintf(format, args...); !slices.Contains(s.results.notes, note) {
		s.results.notes = append(s.results.notes, note)
	}
}

// A sample is one scrape of one subject.
type sample struct {
	answer
	cpu, round time.Duration
	allocs     float64
	stolen     float64 // share
}

// cells measures all subjects with one kind of change and one encoding, in turn, after
// a round that warms up. Each gets the same jobs. On a virtual machine neighbours take
// the processors in spells: while there are too few rounds without, it goes on, up to
// twice as many, and of each subject's samples those count that had the least stolen.
func (s *stage) cells(ctx context.Context, change change, encoding string) error {
	samples := make([][]sample, len(s.subjects))
	quiet := 0
	for round := 0; round <= 2*s.rounds && quiet < s.rounds; round++ {
		jobs := change.jobs(s.model.shape, s.random)
		b := &batch{jobs, s.model.apply(jobs), s.model}
		worst := 0.0
		for i, subject := range s.subjects {
			sample, err := s.sample(ctx, subject, b, encoding)
			if err != nil {
				return fmt.Errorf("%s: %w", subject.name, err)
			}
			if round > 0 {
				samples[i] = append(samples[i], sample)
				worst = max(worst, sample.stolen)
			}
		}
		if round > 0 && worst <= tolerable {
			quiet++
		}
	}
	for i, subject := range s.subjects {
		slices.SortStableFunc(samples[i], func(a, b sample) int { return cmp.Compare(a.stolen, b.stolen) })
		s.results.cells = append(s.results.cells, summary(samples[i][:s.rounds], cell{
			lines: s.model.lines, change: change.name, encoding: encoding, subject: subject.name}))
	}
	s.say("%d series: %s, %s: %d rounds", s.model.lines, change.name, encoding, len(samples[0]))
	if change.name == "none" {
		return nil
	}
	return s.check(ctx, encoding)
}

// sample changes a subject and scrapes it.
func (s *stage) sample(ctx context.Context, subject *subject, b *batch, encoding string) (out sample, err error) {
	begin, stolenBefore, usedBefore := time.Now(), stolen(), subject.process.cpu()
	if len(b.jobs) > 0 {
		if err := subject.apply(ctx, b); err != nil {
			return out, err
		}
	}
	if err := s.settle(ctx); err != nil {
		return out, err
	}
	changed := subject.process.cpu() - usedBefore
	before, cost, err := subject.allocated(ctx)
	if err != nil {
		return out, err
	}
	usedBefore = subject.process.cpu()
	if out.answer, err = scrape(ctx, subject.metrics, accepts[s.format], encoding, io.Discard); err != nil {
		return out, err
	}
	out.cpu = subject.process.cpu() - usedBefore
	if err := s.settle(ctx); err != nil {
		return out, err
	}
	out.round = changed + subject.process.cpu() - usedBefore
	out.stolen = (stolen() - stolenBefore).Seconds() / time.Since(begin).Seconds() / processors
	out.allocs = -1
	if subject.allocs != nil {
		after, err := subject.allocs(ctx)
		if err != nil {
			return out, err
		}
		out.allocs = max(0, after-before-cost)
	}
	return out, nil
}

// allocated is how many bytes a subject has allocated so far, and how many of them it
// takes to ask: the difference of two askings.
func (s *subject) allocated(ctx context.Context) (now, cost float64, err error) {
	if s.allocs == nil {
		return 0, 0, nil
	}
	before, err := s.allocs(ctx)
	if err != nil {
		return 0, 0, err
	}
	now, err = s.allocs(ctx)
	return now, now - before, err
}

// settle waits for all of the subjects: what one still has to do would take the
// processors from another.
func (s *stage) settle(ctx context.Context) error {
	var all []*process
	for _, subject := range s.subjects {
		all = append(all, subject.process)
	}
	return settle(ctx, all...)
}
