package main

import (
	"fmt"
	"runtime"
	"strings"
)

var processors = float64(runtime.NumCPU())

// goals are how many times less than promhttp a gzipped scrape is to take after 500
// jobs, in time and in processor time.
var goals = []struct {
	lines int
	times float64
}{{100_000, 20}, {1_000_000, 100}}

// verdicts says of each target whether it is met.
func (r *results) verdicts() []string {
	var list []string
	for _, goal := range goals {
		what := fmt.Sprintf("%d series, 500 jobs, gzip: at least %.0f times promhttp", goal.lines, goal.times)
		us, them := r.find(goal.lines, "500 jobs", gzipped, ours), r.find(goal.lines, "500 jobs", gzipped, promhttpName)
		if us == nil || them == nil {
			list = append(list, verdict(what, "not measured"))
			continue
		}
		byWall, byCPU, byRound := them.wall/us.wall, them.cpu/us.cpu, them.round/us.round
		list = append(list, verdict(what, judged(byWall >= goal.times && byCPU >= goal.times)+
			fmt.Sprintf(": %.1f in wall, %.1f in CPU; %.1f in CPU of whole rounds, with what recording the jobs took", byWall, byCPU, byRound)))
	}
	return append(list, r.ahead(), r.lean())
}

func verdict(what, judgement string) string { return fmt.Sprintf("target: %s: %s", what, judgement) }

func judged(met bool) string {
	if met {
		return "met"
	}
	return "MISSED"
}

// ahead looks at every cell. Who was asked for gzip and sent plain did other work, and
// is compared in plain only.
func (r *results) ahead() string {
	const what = "ahead of every peer in wall, CPU and memory, plain and gzip"
	var behind []string
	compared := 0
	for i := range r.cells {
		l := &r.cells[i]
		us := r.find(l.lines, l.change, l.encoding, ours)
		if l.subject == ours || us == nil || l.encoding == gzipped && !l.compressed {
			continue
		}
		compared += 2
		cell := fmt.Sprintf("%s at %d, %s, %s", l.subject, l.lines, l.change, l.encoding)
		if l.wall <= us.wall {
			behind = append(behind, cell+": wall")
		}
		if l.cpu <= us.cpu {
			behind = append(behind, cell+": CPU")
		}
	}
	for _, p := range r.peaks {
		if us := r.peak(p.lines, ours); p.subject != ours && us != nil {
			compared++
			if p.all <= us.all {
				behind = append(behind, fmt.Sprintf("%s at %d: memory", p.subject, p.lines))
			}
		}
	}
	if compared == 0 {
		return verdict(what, "not measured")
	}
	judgement := fmt.Sprintf("%s: in %d of %d figures", judged(len(behind) == 0), compared-len(behind), compared)
	if len(behind) > 0 {
		judgement += "; not of\n    " + strings.Join(behind, "\n    ")
	}
	return verdict(what, judgement)
}

// lean looks at the memory beside promhttp's.
func (r *results) lean() string {
	const what = "less than a third of promhttp's memory"
	var shares []string
	met := true
	for _, p := range r.peaks {
		if us := r.peak(p.lines, ours); p.subject == promhttpName && us != nil {
			shares = append(shares, fmt.Sprintf("1/%.2f at %d", p.all/us.all, p.lines))
			met = met && us.all < p.all/3
		}
	}
	if shares == nil {
		return verdict(what, "not measured")
	}
	return verdict(what, judged(met)+": "+strings.Join(shares, ", "))
}
