package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBench takes one round of a small number of series, with every program that is a
// module's to build: the figures are there, and what the subjects expose is the same.
func TestBench(t *testing.T) {
	bin := programs(t)
	for _, format := range []string{"text", "openmetrics"} {
		t.Run(format, func(t *testing.T) {
			c := config{self: filepath.Join(bin, "scrape"), bin: bin, dir: t.TempDir(), series: []int{500}, rounds: 1,
				subjects: subjects[:4], format: format, progress: t.Output()}
			r, err := c.run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			figures(t, &c, r)
			var page bytes.Buffer
			r.print(&page, &c)
			fmt.Fprintln(&page, strings.Join(r.verdicts(), "\n"))
			t.Logf("\n%s", &page)
			for _, words := range []string{"times promhttp: not measured", "ahead of every peer", "promhttp's memory"} {
				if !strings.Contains(page.String(), words) {
					t.Errorf("the page does not say %q", words)
				}
			}
			nothingLeft(t, bin)
		})
	}
}

// figures wants all cells, and something in each.
func figures(t *testing.T, c *config, r *results) {
	t.Helper()
	for _, subject := range c.subjects {
		for _, change := range changes {
			for _, encoding := range []string{plain, gzipped} {
				l := r.find(500, change.name, encoding, subject)
				if l == nil {
					t.Errorf("no cell of %s, %s, %s", subject, change.name, encoding)
					continue
				}
				if l.wall <= 0 || l.cpu <= 0 || l.round < l.cpu || l.bytes <= 0 || l.stolen < 0 {
					t.Errorf("figures of nothing: %+v", *l)
				}
				if known := l.allocs >= 0; known != (subject != pushgateway) || subject == promhttpName && l.allocs == 0 {
					t.Errorf("allocations: %+v", *l)
				}
				if l.compressed != (encoding == gzipped) {
					t.Errorf("compressed is %v: %+v", l.compressed, *l)
				}
			}
		}
		if p := r.peak(500, subject); p == nil || p.sinceFilled <= 1 || p.all < p.sinceFilled {
			t.Errorf("the peak of %s is %+v", subject, p)
		}
	}
}

// TestDifferentWork has a subject that missed a job: the bench ends with that.
func TestDifferentWork(t *testing.T) {
	bin := programs(t)
	c := config{self: filepath.Join(bin, "scrape"), bin: bin, dir: t.TempDir(), rounds: 1, format: "text", progress: t.Output()}
	s := &stage{config: &c, model: newModel(shapeOf(500)), results: &results{}}
	jobs := s.model.fill()
	b := &batch{jobs, s.model.apply(jobs), s.model}
	for i, name := range []string{promhttpName, victoriaMetrics} {
		if i == 1 {
			b.jobs = append(b.jobs[1:], b.jobs[5]) // as many, but not the same
		}
		if err := s.add(t.Context(), name, c.dir, b); err != nil {
			t.Fatal(err)
		}
		defer s.subjects[i].process.stop()
	}
	err := s.check(t.Context(), plain)
	if err == nil || !strings.Contains(err.Error(), "victoriametrics exposes") || strings.Contains(err.Error(), "promhttp exposes") {
		t.Errorf("got %v, want that victoriametrics exposes something else", err)
	}
}

// TestInterrupted ends in the middle, and leaves no process behind.
func TestInterrupted(t *testing.T) {
	bin := programs(t)
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	c := config{self: filepath.Join(bin, "scrape"), bin: bin, dir: t.TempDir(), series: []int{1000}, rounds: 1000,
		subjects: subjects[:4], format: "text", progress: t.Output()}
	if _, err := c.run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want that its time is over", err)
	}
	nothingLeft(t, bin)
	if left, _ := filepath.Glob(filepath.Join(c.dir, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// nothingLeft looks for processes of the programs.
func nothingLeft(t *testing.T, bin string) {
	t.Helper()
	all, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range all {
		if program, _ := os.Readlink(link); strings.HasPrefix(program, bin) {
			t.Errorf("%s still runs as %s", program, link)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-series=12", "12 is not between"},
		{"-series=1000,x", "invalid syntax"},
		{"-subjects=ours,theirs", `"theirs" is none of`},
		{"-rounds=0", "-rounds"},
		{"-format=xml", "-format"},
		{"now", "unexpected argument"},
		{"-bin=/nowhere", "make bench-scrape"},
	} {
		if err := command(t.Context(), strings.Fields(c.args)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.args, err, c.want)
		}
	}
}

// TestVerdicts judges made-up figures.
func TestVerdicts(t *testing.T) {
	made := func(us, them float64) *results {
		r := &results{peaks: []peak{{100_000, ours, us, us}, {100_000, promhttpName, them, them}}}
		for _, encoding := range []string{plain, gzipped} {
			for subject, figure := range map[string]float64{ours: us, promhttpName: them, aggregation: us / 2} {
				r.cells = append(r.cells, cell{lines: 100_000, change: "500 jobs", encoding: encoding, subject: subject,
					wall: figure, cpu: figure, round: figure, compressed: encoding == gzipped && subject != aggregation})
			}
		}
		return r
	}
	for _, c := range []struct {
		us, them float64
		want     string
	}{
		{1, 20, "met: 20.0 in wall, 20.0 in CPU; not measured; MISSED: in 5 of 7 figures; met: 1/20.00 at 100000"},
		{1, 2.5, "MISSED: 2.5 in wall, 2.5 in CPU; not measured; MISSED: in 5 of 7 figures; MISSED: 1/2.50 at 100000"},
		{2, 1, "MISSED: 0.5 in wall, 0.5 in CPU; not measured; MISSED: in 0 of 7 figures; MISSED: 1/0.50 at 100000"},
	} {
		var got []string
		for _, v := range made(c.us, c.them).verdicts() {
			v, _, _ = strings.Cut(v, ";")
			got = append(got, v)
		}
		for i, want := range strings.Split(c.want, "; ") {
			if !strings.HasSuffix(got[i], ": "+want) {
				t.Errorf("%v beside %v: got %q, want %q", c.us, c.them, got[i], want)
			}
		}
	}
}

var built string

func TestMain(m *testing.M) {
	code := func() int {
		dir, err := os.MkdirTemp("", "bench-scrape-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		built = dir
		return m.Run()
	}()
	os.Exit(code)
}

// programs builds what is measured, once.
func programs(t *testing.T) string {
	t.Helper()
	for _, p := range []struct{ dir, pkg, name string }{
		{".", ".", "scrape"},
		{"../..", "./cmd/receiver", "receiver"},
		{"../../tools/pushgateway", "github.com/prometheus/pushgateway", "pushgateway"},
	} {
		file := filepath.Join(built, p.name)
		if _, err := os.Stat(file); err == nil {
			continue
		}
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", file, p.pkg)
		cmd.Dir = p.dir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatal(fmt.Errorf("%s: %w\n%s", p.name, err, out))
		}
	}
	return built
}
