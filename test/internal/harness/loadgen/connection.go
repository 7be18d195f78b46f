package loadgen

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"ci-jobs-metrics/test/internal/harness"
)

// A connection is one keep-alive connection. It speaks HTTP/1.1 without net/http's client, for
// two reasons: it leaves the processors to the receiver, and no request is silently retried.
type connection struct {
	address string
	conn    net.Conn // nil: not dialed yet
	in      *bufio.Reader
}

// ask sends a request and reads the answer. After an error the connection is closed, and the
// next call dials again.
func (l *connection) ask(request []byte) (response *http.Response, body []byte, err error) {
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.conn == nil {
		if l.conn, err = net.DialTimeout("tcp", l.address, harness.Patience); err != nil {
			l.conn = nil
			return nil, nil, err
		}
		l.in = bufio.NewReaderSize(l.conn, 4096)
	}
	if err = l.conn.SetDeadline(time.Now().Add(harness.Patience)); err != nil {
		return nil, nil, err
	}
	if _, err = l.conn.Write(request); err != nil {
		return nil, nil, err
	}
	if response, err = http.ReadResponse(l.in, nil); err != nil {
		return nil, nil, err
	}
	body, err = io.ReadAll(response.Body)
	if err == nil && response.Close {
		err = errors.New("the receiver closes the connection")
	}
	return response, body, err
}

func (l *connection) close() {
	if l.conn != nil {
		_ = l.conn.Close()
		l.conn = nil
	}
}

// A verdict is the result of a request, from its answer.
type verdict struct {
	refused              bool
	recorded, duplicates int
}

// judge reads the answer to a request of so many jobs. An overloaded receiver may give two
// answers: it has recorded all jobs, or the sender must retry later. Any other is an error.
func judge(response *http.Response, body []byte, jobs int) (v verdict, err error) {
	fault := func(what string) error {
		return fmt.Errorf("%s: %s %v %s", what, response.Status, response.Header, body)
	}
	switch response.StatusCode {
	case http.StatusOK:
		var answer struct{ Recorded, Duplicates int }
		if err := json.Unmarshal(body, &answer); err != nil || answer.Recorded+answer.Duplicates != jobs {
			return v, fault(fmt.Sprintf("not all of %d jobs are acknowledged", jobs))
		}
		return verdict{recorded: answer.Recorded, duplicates: answer.Duplicates}, nil
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		var problem struct {
			Status int
			Detail string
		}
		err := json.Unmarshal(body, &problem)
		if err != nil || problem.Status != response.StatusCode || !strings.Contains(problem.Detail, "try again") ||
			response.Header.Get("Content-Type") != "application/problem+json" {
			return v, fault("a refusal without a problem document")
		}
		if after, err := strconv.Atoi(response.Header.Get("Retry-After")); err != nil || after < 1 {
			return v, fault("a refusal without Retry-After")
		}
		return verdict{refused: true}, nil
	}
	return v, fault("an answer of another kind")
}

// An ErrorLog counts errors and keeps the first five.
type ErrorLog struct {
	mu    sync.Mutex
	first []string
	count int
}

func (f *ErrorLog) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count++; f.count <= 5 {
		f.first = append(f.first, err.Error())
	}
}

// Take returns the errors so far and forgets them.
func (f *ErrorLog) Take() (count int, first []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	count, first = f.count, f.first
	f.count, f.first = 0, nil
	return count, first
}

// A JobSet is a set of the numbers of jobs, with one bit for each of millions. Any goroutine
// may call Add; Without needs all of them finished.
type JobSet struct {
	mu   sync.Mutex
	bits []uint64
}

// Add adds numbers and returns how many are new to the set.
func (s *JobSet) Add(more ...int64) (added int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range more {
		word, bit := int(n/64), uint64(1)<<(n%64)
		for word >= len(s.bits) {
			s.bits = append(s.bits, make([]uint64, 1+len(s.bits))...)
		}
		if s.bits[word]&bit == 0 {
			s.bits[word] |= bit
			added++
		}
	}
	return added
}

// Without returns the numbers of the set that no other set has.
func (s *JobSet) Without(others ...*JobSet) []int64 {
	var left []int64
	for i, word := range s.bits {
		for _, o := range others {
			if i < len(o.bits) {
				word &^= o.bits[i]
			}
		}
		for ; word != 0; word &= word - 1 {
			left = append(left, int64(i*64+bits.TrailingZeros64(word)))
		}
	}
	return left
}
