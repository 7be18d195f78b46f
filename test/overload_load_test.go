package test

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
	singleSenders = 32
	singlePause   = 20 * time.Millisecond // from one request to the next, unless the answer takes longer
	// One job of so many in a batch was never sent before; the others are repetitions.
	// Storms are made of those, and the ledger grows slowly: by minutes of a hundred
	// thousand new jobs a second it would have gigabytes.
	repetition = 25
	// poolSize is how many jobs there are to be repeated.
	poolSize = 1 << 16
)

// batchSizes are the jobs of batches, each connection sends one kind. There are some to
// fill the queue; some to take what room these leave, down to the smallest that do not
// wait among the single jobs, so that nothing would be left for those; and as many jobs
// as a body holds.
var batchSizes = [8]int{hugeJobs, 11, 11, 50, 250, 250, 250, 250}

const hugeJobs = 9000

// A storm is what is sent to a receiver, and what became of it. A job is a number, which
// says all about it: see appendJob.
type storm struct {
	address string
	started time.Time
	next    atomic.Int64 // number of the next new job
	pool    pool
	senders sync.WaitGroup
	batches int         // connections that send them
	calm    atomic.Bool // no more batches
	stop    atomic.Bool // nor single jobs
	killed  atomic.Bool // the receiver is: answers may fail to come

	acknowledged numbers
	unanswered   numbers // sent, and the connection broke
	faults       faults

	offered, taken, lost atomic.Int64 // jobs; lost: there was no answer
	refusals             atomic.Int64 // requests
	hugeTaken            atomic.Int64 // jobs, of huge batches
	recorded, duplicates atomic.Int64 // jobs, as the answers have them

	mu      sync.Mutex
	singles singles
}

// A single is one request of one job.
type single struct {
	sent    time.Duration // after the load's start
	took    time.Duration
	refused bool
}

func newStorm(address string) *storm { return &storm{address: address, started: time.Now()} }

func (l *storm) clock() time.Duration { return time.Since(l.started) }

// sendSingles is one sender of single jobs, each of them new, until stop.
func (l *storm) sendSingles() {
	connection := &line{address: l.address}
	defer connection.close()
	var request []byte
	for due := time.Now(); !l.stop.Load(); {
		time.Sleep(time.Until(due))
		due = time.Now().Add(singlePause)
		job := []int64{l.next.Add(1)}
		request = appendSingle(request[:0], job[0])
		sent := time.Now()
		v, ok := l.send(connection, request, job)
		for !ok && !l.stop.Load() { // the receiver was killed
			time.Sleep(singlePause)
			v, ok = l.send(connection, request, job)
			sent = time.Now()
		}
		if ok {
			l.note(single{sent.Sub(l.started), time.Since(sent), v.refused})
		}
		if ok && !v.refused {
			l.pool.put(job[0])
		}
	}
}

func (l *storm) note(s single) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.singles = append(l.singles, s)
}

// sent are the single requests that were sent in a span of time.
func (l *storm) sent(from, to time.Duration) singles {
	return l.pick(func(s single) bool { return s.sent >= from && s.sent < to })
}

// answered are those whose answers came in a span of time: also the slowest of them are
// known at its end.
func (l *storm) answered(from, to time.Duration) singles {
	return l.pick(func(s single) bool { return s.sent+s.took >= from && s.sent+s.took < to })
}

func (l *storm) pick(which func(single) bool) (picked singles) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.singles {
		if which(s) {
			picked = append(picked, s)
		}
	}
	slices.SortFunc(picked, func(a, b single) int { return cmp.Compare(a.took, b.took) })
	return picked
}

// singles are requests, the fastest first.
type singles []single

func (s singles) quantile(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	return s[int(q*float64(len(s)-1))].took
}

func (s singles) refused() (n int) {
	for i := range s {
		if s[i].refused {
			n++
		}
	}
	return n
}

func (s singles) String() string {
	ms := func(q float64) float64 { return float64(s.quantile(q).Microseconds()) / 1000 }
	return fmt.Sprintf("%d single requests, %d refused: p50 %.1f ms, p99 %.1f ms, at most %.1f ms",
		len(s), s.refused(), ms(0.5), ms(0.99), ms(1))
}

// sendBatches is one sender of batches, until calm. After a refusal it does not wait.
// Of two batches one is sent until it is acknowledged, and others repeat its new jobs
// meanwhile; the next is given up at the first refusal, and nobody repeats its new jobs,
// which therefore must not be in the ledger.
func (l *storm) sendBatches(sender int) {
	connection := &line{address: l.address}
	defer connection.close()
	r := rand.New(rand.NewPCG(uint64(sender), 11))
	jobs := make([]int64, batchSizes[sender%len(batchSizes)])
	var request, body []byte
	for serial := sender; !l.calm.Load(); serial++ {
		stubborn := serial%2 == 0
		l.fill(r, jobs, stubborn)
		request, body = appendBatch(request[:0], body[:0], jobs)
		for !l.calm.Load() {
			v, ok := l.send(connection, request, jobs)
			if !ok {
				time.Sleep(singlePause) // the receiver was killed
				continue
			}
			if !v.refused && len(jobs) == hugeJobs {
				l.hugeTaken.Add(hugeJobs)
			}
			if !v.refused || !stubborn {
				break
			}
		}
	}
}

// fill makes up a batch: new jobs, then repetitions.
func (l *storm) fill(r *rand.Rand, jobs []int64, shared bool) {
	fresh := 1 + len(jobs)/repetition
	first := l.next.Add(int64(fresh)) - int64(fresh) + 1
	for i := range jobs {
		jobs[i] = first + int64(i)
		if i >= fresh {
			jobs[i] = l.pool.pick(r)
		} else if shared {
			l.pool.put(jobs[i])
		}
	}
}

// send sends a request of some jobs and notes what became of them. It is false if there
// was no answer, which is a fault unless the receiver was killed.
func (l *storm) send(connection *line, request []byte, jobs []int64) (verdict, bool) {
	n := int64(len(jobs))
	killed := l.killed.Load()
	l.offered.Add(n)
	response, body, err := connection.ask(request)
	if err != nil {
		l.unanswered.add(jobs...)
		l.lost.Add(n)
		if !killed && !l.killed.Load() {
			l.faults.add(fmt.Errorf("no answer: %w", err))
		}
		return verdict{}, false
	}
	v, err := judge(response, body, len(jobs))
	switch {
	case err != nil:
		l.faults.add(err)
	case v.refused:
		l.refusals.Add(1)
	default:
		l.acknowledged.add(jobs...)
		l.taken.Add(n)
		l.recorded.Add(int64(v.recorded))
		l.duplicates.Add(int64(v.duplicates))
	}
	return v, true
}

// moreSingles starts the senders of single jobs.
func (l *storm) moreSingles() {
	for range singleSenders {
		l.senders.Go(l.sendSingles)
	}
}

// more adds connections that send batches.
func (l *storm) more(connections int) {
	for range connections {
		l.batches++
		sender := l.batches
		l.senders.Go(func() { l.sendBatches(sender) })
	}
}

// A pool has jobs that were sent, to be repeated.
type pool struct {
	jobs  [poolSize]atomic.Int64
	count atomic.Int64 // how many were
}

func (p *pool) put(job int64) { p.jobs[p.count.Add(1)%poolSize].Store(job) }

// pick needs that at least one was put.
func (p *pool) pick(r *rand.Rand) int64 {
	for {
		if job := p.jobs[r.Int64N(min(p.count.Load()+1, poolSize))].Load(); job != 0 {
			return job
		}
	}
}

// Labels of jobs; all of the same length.
const (
	jobNames    = 20
	jobProjects = 20
)

// labels are what a job counts under, in an order in which neighbours differ.
func labels(job int64) (name, project int, failed bool) {
	h := uint32(job) * 2_654_435_761
	return int(h >> 8 % jobNames), int(h >> 16 % jobProjects), h>>24%4 == 0
}

// series is the counter that a job is in.
func series(job int64) string {
	name, project, failed := labels(job)
	status := "success"
	if failed {
		status = "failed"
	}
	return fmt.Sprintf(`cijob_runs_total{template="template_%02d",project="group/project-%02d",status="%s"}`, name, project, status)
}

// idPrefix stands before a job's number in its id.
const idPrefix = "gitlab.example/"

func appendSingle(to []byte, job int64) []byte {
	name, project, failed := labels(job)
	to = append(to, "GET /steps?name=template_"...)
	to = appendTwo(to, name)
	to = append(to, "&project=group/project-"...)
	to = appendTwo(to, project)
	to = append(to, "&status="...)
	to = appendStatus(to, failed)
	to = append(to, "&duration=95&id="+idPrefix...)
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
		body = append(body, `","duration":95,"id":"`+idPrefix...)
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
