package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// tolerable is the share of stolen time up to which a figure is taken as it is.
const tolerable = 0.02

// summary fills a cell with the medians of its samples.
func summary(samples []sample, c cell) cell {
	of := func(figure func(*sample) float64) float64 {
		var figures []float64
		for i := range samples {
			figures = append(figures, figure(&samples[i]))
		}
		slices.Sort(figures)
		return figures[len(figures)/2]
	}
	c.wall = of(func(s *sample) float64 { return milliseconds(s.took) })
	c.cpu = of(func(s *sample) float64 { return milliseconds(s.cpu) })
	c.round = of(func(s *sample) float64 { return milliseconds(s.round) })
	c.bytes = of(func(s *sample) float64 { return float64(s.bytes) })
	c.allocs = of(func(s *sample) float64 { return s.allocs })
	c.compressed = samples[0].compressed
	for i := range samples {
		c.stolen += samples[i].stolen / float64(len(samples))
	}
	return c
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// find returns a cell, or nil.
func (r *results) find(lines int, change, encoding, subject string) *cell {
	for i := range r.cells {
		if c := &r.cells[i]; c.lines == lines && c.change == change && c.encoding == encoding && c.subject == subject {
			return c
		}
	}
	return nil
}

func (r *results) peak(lines int, subject string) *peak {
	for i := range r.peaks {
		if p := &r.peaks[i]; p.lines == lines && p.subject == subject {
			return p
		}
	}
	return nil
}

const legend = `medians of %d rounds after one that warms up, subjects in turn; asked for: %s
wall ms    the whole scrape, as the client sees it
CPU ms     processor time of the subject's process during it
round ms   processor time from the first change until the process is still again after the scrape
x ours     how many times what ours takes
body kB    as it came; (plain): does not compress
alloc kB   allocated by the scrape; -: can't be had by itself
stolen %%   processor time that the machine's host gave to others; ~: above 2 %%
`

func (r *results) print(out io.Writer, c *config) {
	fmt.Fprintf(out, legend, c.rounds, c.format)
	for _, note := range r.notes {
		fmt.Fprintln(out, note)
	}
	fmt.Fprintf(out, "\n%8s  %-8s  %-8s  %-24s  %10s %7s  %10s %7s  %10s  %10s %-7s  %10s  %8s\n", "series", "changes", "encoding", "subject",
		"wall ms", "x ours", "CPU ms", "x ours", "round ms", "body kB", "", "alloc kB", "stolen %")
	for i := range r.cells {
		l := &r.cells[i]
		if i > 0 && (r.cells[i-1].change != l.change || r.cells[i-1].encoding != l.encoding || r.cells[i-1].lines != l.lines) {
			fmt.Fprintln(out)
		}
		base := r.find(l.lines, l.change, l.encoding, ours)
		ratio := func(figure func(*cell) float64) string {
			if base == nil {
				return "-"
			}
			return fmt.Sprintf("%.2f", figure(l)/figure(base))
		}
		note, allocs, mark := "", "-", ""
		if l.encoding == gzipped && !l.compressed {
			note = "(plain)"
		}
		if l.allocs >= 0 {
			allocs = fmt.Sprintf("%.1f", l.allocs/1000)
		}
		if l.stolen > tolerable {
			mark = "~"
		}
		fmt.Fprintf(out, "%8d  %-8s  %-8s  %-24s  %10.2f %7s  %10.2f %7s  %10.2f  %10.1f %-7s  %10s  %8s\n", l.lines, l.change, l.encoding, l.subject,
			l.wall, ratio(wall), l.cpu, ratio(cpu), l.round, l.bytes/1000, note, allocs, fmt.Sprintf("%s%.1f", mark, l.stolen*100))
	}
	fmt.Fprintf(out, "\n%8s  %-24s  %10s %7s  %24s\n", "series", "subject", "peak MB", "x ours", "peak MB since filled")
	for _, p := range r.peaks {
		ratio := "-"
		if base := r.peak(p.lines, ours); base != nil {
			ratio = fmt.Sprintf("%.2f", p.all/base.all)
		}
		fmt.Fprintf(out, "%8d  %-24s  %10.1f %7s  %24.1f\n", p.lines, p.subject, p.all, ratio, p.sinceFilled)
	}
	fmt.Fprintln(out)
}

func wall(c *cell) float64 { return c.wall }
func cpu(c *cell) float64  { return c.cpu }
