package steps

import (
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
)

const (
	// MaxInFlight is how many bytes all large requests may take at the same time, what
	// is made of them included. That is some fifty times what a thousand jobs take;
	// whoever comes when it is used up is to try again.
	MaxInFlight = 64 << 20
	// freeBody is the length up to which a body costs nothing of that: there can't be
	// more of them than connections.
	freeBody = 16 << 10
	// perJob is about what one job takes on its way from the body into the ledger.
	perJob = 1200
	// freeJobs is how many jobs of a request cost nothing.
	freeJobs = 10
	// jobsAtATime is for how many more jobs room is claimed at a time.
	jobsAtATime = 50
)

// A budget is how many bytes are left, and whose turn it is to use the processors.
type budget struct {
	left  atomic.Int64
	turns chan struct{} // has room for as many large bodies as are decoded at a time
}

func newBudget(bytes int64) *budget {
	b := &budget{turns: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	b.left.Store(bytes)
	return b
}

// A claim is what one request takes of a budget.
type claim struct {
	from  *budget
	taken int64
}

// take claims more bytes, and reports whether they were left.
func (c *claim) take(bytes int64) bool {
	if c.from.left.Add(-bytes) < 0 {
		c.from.left.Add(bytes)
		return false
	}
	c.taken += bytes
	return true
}

// largeBody is from how many bytes on a body waits for its turn to be decoded: some
// hundred jobs, which take as long as the turn of a goroutine on a processor.
const largeBody = 32 << 10

// turn waits until a body of that size may be decoded, and returns what ends its turn.
// Large ones leave half of the processors to others: were they all decoded at a time,
// the ledger's one writer would wait behind them for a processor whenever the disk was
// done, and small requests behind the writer, for seconds.
func (c *claim) turn(size int) (end func()) {
	if size < largeBody {
		return func() {}
	}
	c.from.turns <- struct{}{}
	return func() { <-c.from.turns }
}

// release gives everything back.
func (c *claim) release() {
	c.from.left.Add(c.taken)
	c.taken = 0
}

// errBusy says that the budget is used up.
var errBusy = &requestError{http.StatusServiceUnavailable,
	"the receiver has too many large requests to read at once: nothing was recorded, try again"}

// readAll reads a body of at most MaxBody bytes and claims room for it as it comes, so
// that who sends slowly claims little. Its errors are errBusy and those of reading.
func (c *claim) readAll(from io.Reader, length int64) ([]byte, error) {
	if length < 0 || length > freeBody {
		length = freeBody - 1
	}
	body := make([]byte, 0, length+1) // one more, to see the end without growing
	for {
		n, err := from.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if err == io.EOF {
			return body, nil
		}
		if err != nil {
			return nil, err
		}
		if len(body) == cap(body) {
			if !c.take(int64(cap(body))) {
				return nil, errBusy
			}
			body = append(make([]byte, 0, 2*cap(body)), body...)
		}
	}
}

// forJob claims room for one more job where there are n already.
func (c *claim) forJob(n int) error {
	if n < freeJobs || (n-freeJobs)%jobsAtATime != 0 {
		return nil
	}
	return c.need(jobsAtATime * perJob)
}

// forCopy claims room for a copy of a body.
func (c *claim) forCopy(body []byte) error {
	if len(body) <= freeBody {
		return nil
	}
	return c.need(int64(len(body)))
}

func (c *claim) need(bytes int64) error {
	if !c.take(bytes) {
		return errBusy
	}
	return nil
}
