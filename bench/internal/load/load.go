// Package load loads a server on this machine: the load generator of the benchmarks, and
// the servers under load.
package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Result is what one load took.
type Result struct {
	Requests int
	Took     time.Duration
	waits    []time.Duration
}

// Rate is requests per second.
func (r *Result) Rate() float64 { return float64(r.Requests) / r.Took.Seconds() }

// Quantile is in milliseconds.
func (r *Result) Quantile(q float64) float64 {
	if len(r.waits) == 0 {
		return 0
	}
	slices.Sort(r.waits)
	return float64(r.waits[int(q*float64(len(r.waits)-1))].Microseconds()) / 1000
}

// Run sends over as many connections as fast as answers come. It speaks HTTP/1.1
// itself, to leave the processors to the server.
func Run(address string, w Workload, connections, round int, length time.Duration) (*Result, error) {
	var (
		mu     sync.Mutex
		total  Result
		failed error
		all    sync.WaitGroup
	)
	begun := time.Now()
	end := begun.Add(length)
	for c := range connections {
		all.Go(func() {
			waits, err := loadOne(address, w, c, round, end)
			mu.Lock()
			defer mu.Unlock()
			total.Requests += len(waits)
			total.waits = append(total.waits, waits...)
			failed = errors.Join(failed, err)
		})
	}
	all.Wait()
	total.Took = time.Since(begun)
	return &total, failed
}

func loadOne(address string, w Workload, connection, round int, end time.Time) ([]time.Duration, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer c.Close() //nolint:errcheck // only a bench
	in := bufio.NewReaderSize(c, 4096)
	var waits []time.Duration
	var request []byte
	for n := 0; ; n++ {
		begin := time.Now()
		if begin.After(end) {
			return waits, nil
		}
		request = w.Request(request[:0], connection, round, n)
		if _, err := c.Write(request); err != nil {
			return waits, err
		}
		if err := answer(in); err != nil {
			return waits, err
		}
		waits = append(waits, time.Since(begin))
	}
}

var lengthHeader = []byte("Content-Length: ")

// answer reads a response and wants it to be 200.
func answer(in *bufio.Reader) error {
	status, err := in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200")) {
		rest, _ := io.ReadAll(io.LimitReader(in, 300))
		return fmt.Errorf("%s%s", status, rest)
	}
	length := 0
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if value, ok := bytes.CutPrefix(line, lengthHeader); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	_, err = in.Discard(length)
	return err
}

// Fdatasyncs is what the disk alone takes: 4 KiB written at the end of a file and
// synced, again and again.
func Fdatasyncs(path string, length time.Duration) (*Result, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only a bench
	page := bytes.Repeat([]byte("x"), 4096)
	if _, err := f.Write(bytes.Repeat(page, 1024)); err != nil { // as a write-ahead log that was used before
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	r := &Result{}
	for start := time.Now(); time.Since(start) < length; {
		begin := time.Now()
		if _, err := f.WriteAt(page, int64(len(r.waits)%1024)*4096); err != nil {
			return nil, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return nil, err
		}
		r.waits = append(r.waits, time.Since(begin))
	}
	return r, nil
}

// Median is the one in the middle.
func Median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
