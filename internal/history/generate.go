package history

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
)

// host is the GitLab of the company.
const host = "gitlab.example"

// Numbers of the last job and the last pipeline before the history.
const (
	firstJob      = 7_400_000
	firstPipeline = 1_900_000
)

const (
	lateOdds    = 0.001 // of a report that comes hours later
	untimedOdds = 0.005 // of a job without a duration, besides skipped ones
)

// A generator makes the jobs of a world, hour by hour: it starts pipelines until the
// hour has its jobs, numbers what was created in it, and yields what was received in it.
// Nothing of a later hour can come before that, for a job is received after it was
// created.
type generator struct {
	world  *world
	random *rand.Rand

	left int // jobs still to be made
	owed int // of those by the current hour; below 0 if its last pipeline had more

	drafts  []*run // in the order in which they were made, without a number
	waiting []*run // with a number, not yielded

	made      int   // runs so far
	job       int64 // last number given to a job
	pipelines int64 // last number given to a pipeline
	text      []byte
}

// A pipeline is what is run for one commit.
type pipeline struct {
	project *project
	created time.Duration
	ref     string
	source  string
	sha     string
	number  string // empty until its first job has one
}

// A run is one job of it. Moments are whole microseconds, started is a whole second.
type run struct {
	pipeline *pipeline
	use      *use
	name     string // GitLab's
	made     int    // its place among all runs, as they were made
	number   int64
	status   job.Status
	timed    bool

	created, started, finished, received time.Duration
}

func newGenerator(w *world) *generator {
	return &generator{
		world: w, random: rand.New(rand.NewPCG(w.shape.Seed, 3)), left: w.shape.Jobs,
		job: firstJob, pipelines: firstPipeline,
	}
}

// run yields all jobs, or as many as are wanted.
func (g *generator) run(yield func(ledger.Entry) bool) {
	for _, h := range g.world.hours() {
		g.owed += h.jobs
		for g.owed > 0 {
			g.start(&h)
		}
		g.number(h.to)
		if !g.release(h.to, yield) {
			return
		}
	}
	g.release(never, yield)
}

// start starts a pipeline in the hour. It may come to nothing.
func (g *generator) start(h *hour) {
	p := &pipeline{created: g.between(h.from, h.to)}
	who := g.world.busy
	if scheduled := g.random.Float64() < h.scheduled; scheduled {
		who = g.world.nightly
		p.created = g.between(h.from, h.from+5*time.Minute)
		p.source = "schedule"
	}
	p.project = g.world.projects[who.draw(g.random)]
	if p.created >= p.project.stops {
		return
	}
	p.sha = g.sha()
	g.trigger(p)
	g.execute(p)
}

// between is a moment from a to before b, in whole microseconds.
func (g *generator) between(a, b time.Duration) time.Duration {
	return a + time.Duration(g.random.Int64N(int64(b-a))).Truncate(time.Microsecond)
}

// soon is a delay of at least the first duration, and of both together on average.
func (g *generator) soon(least, more time.Duration) time.Duration {
	return least + time.Duration(g.random.ExpFloat64()*float64(more)).Truncate(time.Microsecond)
}

func (g *generator) sha() string {
	g.text = g.text[:0]
	g.text = binary.BigEndian.AppendUint64(g.text, g.random.Uint64())
	g.text = binary.BigEndian.AppendUint64(g.text, g.random.Uint64())
	g.text = binary.BigEndian.AppendUint32(g.text, g.random.Uint32())
	return hex.EncodeToString(g.text)
}

// trigger says what a pipeline is for: seven of ten on the main branch.
func (g *generator) trigger(p *pipeline) {
	p.ref = "main"
	if p.source != "" {
		return
	}
	p.source = "push"
	if g.random.Float64() < 0.7 {
		return
	}
	p.ref = oneOf(g.random, p.project.branches)
	if g.random.Float64() < 0.6 {
		p.source = "merge_request_event"
	}
}

// execute runs the pipeline stage by stage; the jobs of a stage start together.
func (g *generator) execute(p *pipeline) {
	stage, ready, end := 0, p.created, p.created
	for i := range p.project.uses {
		u := &p.project.uses[i]
		if g.random.Float64() >= u.chance || p.created >= u.leaves {
			continue
		}
		if u.template.stage > stage {
			stage, ready = u.template.stage, end
		}
		for _, name := range u.jobs {
			end = max(end, g.try(p, u, name, ready))
		}
	}
}

// try runs a job, and perhaps once more if it failed. It returns when the first run ended.
func (g *generator) try(p *pipeline, u *use, name string, ready time.Duration) time.Duration {
	b := u.template.at(ready)
	first := &run{pipeline: p, use: u, name: name, created: p.created, status: b.odds.draw(g.random)}
	if !g.finish(first, b, ready) || first.status != job.Failed || g.random.Float64() >= b.retried {
		return first.finished
	}
	again := &run{pipeline: p, use: u, name: name, status: job.Failed}
	if g.random.Float64() < b.mended {
		again.status = job.Success
	}
	again.created = first.finished + g.soon(time.Minute, 5*time.Minute)
	g.finish(again, b, again.created)
	return first.finished
}

// finish plays a run that is ready to start. It is false if there is no such run, for
// there are enough or it would be received when the history is over.
func (g *generator) finish(r *run, b *behavior, ready time.Duration) bool {
	r.started = (ready + g.soon(2*time.Second, 5*time.Second)).Truncate(time.Second)
	r.finished = r.started
	if r.status != job.Skipped {
		r.finished += r.use.duration(g.random, b, r.status)
		r.timed = g.random.Float64() >= untimedOdds
	}
	r.received = r.finished + g.soon(200*time.Millisecond, 800*time.Millisecond)
	if g.random.Float64() < lateOdds {
		r.received += g.between(time.Hour, 12*time.Hour)
	}
	if g.left == 0 || r.received > g.world.span {
		return false
	}
	g.left--
	g.owed--
	g.made++
	r.made = g.made
	g.drafts = append(g.drafts, r)
	return true
}

// number numbers the jobs that were created before a moment, and their pipelines.
func (g *generator) number(before time.Duration) {
	slices.SortFunc(g.drafts, func(a, b *run) int {
		return cmp.Or(cmp.Compare(a.created, b.created), cmp.Compare(a.made, b.made))
	})
	n := 0
	for n < len(g.drafts) && g.drafts[n].created < before {
		r := g.drafts[n]
		g.job++
		r.number = g.job
		if r.pipeline.number == "" {
			g.pipelines++
			r.pipeline.number = strconv.FormatInt(g.pipelines, 10)
		}
		n++
	}
	g.waiting = append(g.waiting, g.drafts[:n]...)
	g.drafts = slices.Delete(g.drafts, 0, n)
}

// release yields the jobs that were received before a moment. It is false if no more
// are wanted.
func (g *generator) release(before time.Duration, yield func(ledger.Entry) bool) bool {
	slices.SortFunc(g.waiting, func(a, b *run) int {
		return cmp.Or(cmp.Compare(a.received, b.received), cmp.Compare(a.number, b.number))
	})
	n := 0
	for n < len(g.waiting) && g.waiting[n].received < before {
		if !yield(g.entry(g.waiting[n])) {
			return false
		}
		n++
	}
	g.waiting = slices.Delete(g.waiting, 0, n)
	return true
}

// entry is a run as the receiver records it.
func (g *generator) entry(r *run) ledger.Entry {
	w, p, t := g.world, r.pipeline, r.use.template
	j := job.Job{
		Name: t.name, Project: p.project.path, Status: r.status, Finished: w.begin.Add(r.finished),
		ID: g.id(r), Version: r.use.version(p.created), Job: r.name, URL: g.url(r), Stage: stages[t.stage],
		Ref: p.ref, SHA: p.sha, Pipeline: p.number, Runner: oneOf(g.random, runners), Source: p.source,
	}
	if r.timed {
		j.Timed, j.Duration, j.Started = true, r.finished-r.started, w.begin.Add(r.started)
	}
	return ledger.Entry{Received: w.begin.Add(r.received), Job: j}
}

// id is under what the exporter would report it.
func (g *generator) id(r *run) string {
	g.text = append(g.text[:0], host...)
	g.text = append(g.text, '/')
	g.text = strconv.AppendInt(g.text, r.number, 10)
	g.text = append(g.text, '/')
	g.text = append(g.text, r.use.template.name...)
	return string(g.text)
}

func (g *generator) url(r *run) string {
	g.text = append(g.text[:0], r.pipeline.project.url...)
	g.text = strconv.AppendInt(g.text, r.number, 10)
	return string(g.text)
}
