// Package loadgen overloads a receiver and watches it meanwhile.
//
// A Generator sends single jobs, as a normal load, and batches until the receiver refuses them.
// It remembers which jobs were acknowledged. A Monitor samples the receiver's memory and
// scrapes its metrics.
package loadgen

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// SingleSenders is the number of senders of single jobs.
	SingleSenders = 32
	singlePause   = 20 * time.Millisecond // from one request to the next, unless the answer takes longer
	// repetition is how many jobs of a batch have one new job among them. The others repeat
	// jobs, so that the ledger grows slowly. Minutes of a hundred thousand new jobs a second
	// would make gigabytes.
	repetition = 25
	// poolSize is how many jobs can be repeated.
	poolSize = 1 << 16
)

// BatchSizes are the numbers of jobs in a batch. Each connection sends one of the sizes. 250 and
// 50 fill the queue. 11 is the smallest batch that does not wait in the queue of single jobs, so
// it takes the rest of the queue of batches. hugeJobs is as many jobs as a body can hold.
var BatchSizes = [8]int{hugeJobs, 11, 11, 50, 250, 250, 250, 250}

const hugeJobs = 9000

// A Generator sends jobs to a receiver and records the results. A job is a number, from which
// its labels are computed: see labels.
type Generator struct {
	address string
	started time.Time
	next    atomic.Int64 // number of the next new job
	pool    pool
	Senders sync.WaitGroup
	Batches int         // connections that send batches
	Calm    atomic.Bool // ends the senders of batches
	Stop    atomic.Bool // ends the senders of single jobs
	Killed  atomic.Bool // the receiver is killed: requests may stay without an answer

	Acknowledged JobSet
	Unanswered   JobSet // sent, and the connection broke
	Faults       ErrorLog

	Offered, Taken, Lost atomic.Int64 // jobs; lost: there was no answer
	Refusals             atomic.Int64 // requests
	HugeTaken            atomic.Int64 // jobs, of huge batches
	Recorded, Duplicates atomic.Int64 // jobs, as the answers have them

	mu      sync.Mutex
	singles Singles
}

// A single is one request of one job.
type single struct {
	sent    time.Duration // of the generator's clock
	took    time.Duration
	refused bool
}

// New returns a generator that sends nothing yet.
func New(address string) *Generator { return &Generator{address: address, started: time.Now()} }

// Clock returns the time since New. All spans of time are of this clock.
func (g *Generator) Clock() time.Duration { return time.Since(g.started) }

// sendSingles sends single jobs, each of them new, until Stop.
func (g *Generator) sendSingles() {
	connection := &connection{address: g.address}
	defer connection.close()
	var request []byte
	for due := time.Now(); !g.Stop.Load(); {
		time.Sleep(time.Until(due))
		due = time.Now().Add(singlePause)
		job := []int64{g.next.Add(1)}
		request = appendSingle(request[:0], job[0])
		sent := time.Now()
		v, ok := g.send(connection, request, job)
		for !ok && !g.Stop.Load() { // the receiver was killed
			time.Sleep(singlePause)
			v, ok = g.send(connection, request, job)
			sent = time.Now()
		}
		if ok {
			g.note(single{sent.Sub(g.started), time.Since(sent), v.refused})
		}
		if ok && !v.refused {
			g.pool.put(job[0])
		}
	}
}

func (g *Generator) note(s single) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.singles = append(g.singles, s)
}

// SentBetween returns the single requests that were sent in a span of time.
func (g *Generator) SentBetween(from, to time.Duration) Singles {
	return g.pick(func(s single) bool { return s.sent >= from && s.sent < to })
}

// AnsweredBetween returns the single requests that were answered in a span of time. At its end
// all of them are known, even the slowest.
func (g *Generator) AnsweredBetween(from, to time.Duration) Singles {
	return g.pick(func(s single) bool { return s.sent+s.took >= from && s.sent+s.took < to })
}

func (g *Generator) pick(which func(single) bool) (picked Singles) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.singles {
		if which(s) {
			picked = append(picked, s)
		}
	}
	slices.SortFunc(picked, func(a, b single) int { return cmp.Compare(a.took, b.took) })
	return picked
}

// Singles are single requests, the fastest first.
type Singles []single

// Quantile returns the time that a share q of the requests took at most.
func (s Singles) Quantile(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	return s[int(q*float64(len(s)-1))].took
}

// Refused returns how many requests were refused.
func (s Singles) Refused() (n int) {
	for i := range s {
		if s[i].refused {
			n++
		}
	}
	return n
}

// String returns the counts and quantiles, for people.
func (s Singles) String() string {
	ms := func(q float64) float64 { return float64(s.Quantile(q).Microseconds()) / 1000 }
	return fmt.Sprintf("%d single requests, %d refused: p50 %.1f ms, p99 %.1f ms, at most %.1f ms",
		len(s), s.Refused(), ms(0.5), ms(0.99), ms(1))
}

// sendBatches sends batches until Calm. It does not wait after a refusal. It sends every second
// batch until it is acknowledged, and other senders repeat its new jobs meanwhile. It gives up
// the others at the first refusal. No sender repeats their new jobs, so the ledger must not
// have them.
func (g *Generator) sendBatches(sender int) {
	connection := &connection{address: g.address}
	defer connection.close()
	r := rand.New(rand.NewPCG(uint64(sender), 11))
	jobs := make([]int64, BatchSizes[sender%len(BatchSizes)])
	var request, body []byte
	for serial := sender; !g.Calm.Load(); serial++ {
		stubborn := serial%2 == 0
		g.fill(r, jobs, stubborn)
		request, body = appendBatch(request[:0], body[:0], jobs)
		for !g.Calm.Load() {
			v, ok := g.send(connection, request, jobs)
			if !ok {
				time.Sleep(singlePause) // the receiver was killed
				continue
			}
			if !v.refused && len(jobs) == hugeJobs {
				g.HugeTaken.Add(hugeJobs)
			}
			if !v.refused || !stubborn {
				break
			}
		}
	}
}

// fill fills a batch with new jobs, then repetitions.
func (g *Generator) fill(r *rand.Rand, jobs []int64, shared bool) {
	fresh := 1 + len(jobs)/repetition
	first := g.next.Add(int64(fresh)) - int64(fresh) + 1
	for i := range jobs {
		jobs[i] = first + int64(i)
		if i >= fresh {
			jobs[i] = g.pool.pick(r)
		} else if shared {
			g.pool.put(jobs[i])
		}
	}
}

// send sends a request and records the result of its jobs. It returns false if no answer came,
// which is an error unless the receiver was killed.
func (g *Generator) send(connection *connection, request []byte, jobs []int64) (verdict, bool) {
	n := int64(len(jobs))
	killed := g.Killed.Load()
	g.Offered.Add(n)
	response, body, err := connection.ask(request)
	if err != nil {
		g.Unanswered.Add(jobs...)
		g.Lost.Add(n)
		if !killed && !g.Killed.Load() {
			g.Faults.add(fmt.Errorf("no answer: %w", err))
		}
		return verdict{}, false
	}
	v, err := judge(response, body, len(jobs))
	switch {
	case err != nil:
		g.Faults.add(err)
	case v.refused:
		g.Refusals.Add(1)
	default:
		g.Acknowledged.Add(jobs...)
		g.Taken.Add(n)
		g.Recorded.Add(int64(v.recorded))
		g.Duplicates.Add(int64(v.duplicates))
	}
	return v, true
}

// StartSingleSenders starts SingleSenders senders of single jobs.
func (g *Generator) StartSingleSenders() {
	for range SingleSenders {
		g.Senders.Go(g.sendSingles)
	}
}

// AddBatchSenders adds connections that send batches.
func (g *Generator) AddBatchSenders(connections int) {
	for range connections {
		g.Batches++
		sender := g.Batches
		g.Senders.Go(func() { g.sendBatches(sender) })
	}
}

// A pool keeps sent jobs, for repetition.
type pool struct {
	jobs  [poolSize]atomic.Int64
	count atomic.Int64 // jobs ever put
}

func (p *pool) put(job int64) { p.jobs[p.count.Add(1)%poolSize].Store(job) }

// pick returns one of the jobs. At least one job must have been put.
func (p *pool) pick(r *rand.Rand) int64 {
	for {
		if job := p.jobs[r.Int64N(min(p.count.Load()+1, poolSize))].Load(); job != 0 {
			return job
		}
	}
}

// Names and projects have two digits, so all requests of one size have the same length.
const (
	jobNames    = 20
	jobProjects = 20
)

// labels returns the labels of a job. Neighbouring numbers differ in them.
func labels(job int64) (name, project int, failed bool) {
	h := uint32(job) * 2_654_435_761
	return int(h >> 8 % jobNames), int(h >> 16 % jobProjects), h>>24%4 == 0
}

// Series returns the counter of a job.
func Series(job int64) string {
	name, project, failed := labels(job)
	status := "success"
	if failed {
		status = "failed"
	}
	return fmt.Sprintf(`cijob_runs_total{template="template_%02d",project="group/project-%02d",status="%s"}`, name, project, status)
}

// IDPrefix is the part of a job's id before its number.
const IDPrefix = "gitlab.example/"

func appendSingle(to []byte, job int64) []byte {
	name, project, failed := labels(job)
	to = append(to, "GET /steps?name=template_"...)
	to = appendTwo(to, name)
	to = append(to, "&project=group/project-"...)
	to = appendTwo(to, project)
	to = append(to, "&status="...)
	to = appendStatus(to, failed)
	to = append(to, "&duration=95&id="+IDPrefix...)
	to = strconv.AppendInt(to, job, 10)
	return append(to, " HTTP/1.1\r\nHost: receiver\r\n\r\n"...)
}

func appendBatch(request, body []byte, jobs []int64) (_, _ []byte) {
	for _, job := range jobs {
		name, project, failed := labels(job)
		body = append(body, `{"name":"template_`...)
		body = appendTwo(body, name)
		body = append(body, `","project":"group/project-`...)
		body = appendTwo(body, project)
		body = append(body, `","status":"`...)
		body = appendStatus(body, failed)
		body = append(body, `","duration":95,"id":"`+IDPrefix...)
		body = strconv.AppendInt(body, job, 10)
		body = append(body, "\"}\n"...)
	}
	request = append(request, "POST /steps HTTP/1.1\r\nHost: receiver\r\nContent-Type: application/x-ndjson\r\nContent-Length: "...)
	request = strconv.AppendInt(request, int64(len(body)), 10)
	request = append(request, "\r\n\r\n"...)
	return append(request, body...), body
}

func appendTwo(to []byte, n int) []byte { return append(to, byte('0'+n/10), byte('0'+n%10)) }

func appendStatus(to []byte, failed bool) []byte {
	if failed {
		return append(to, "failed"...)
	}
	return append(to, "success"...)
}
