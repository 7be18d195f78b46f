package loadgen

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ci-jobs-metrics/internal/exposition/expositiontest"
	"ci-jobs-metrics/test/internal/harness"
)

// A Monitor samples the memory of a receiver under load and scrapes its metrics.
type Monitor struct {
	t        *testing.T
	receiver *harness.Receiver
	load     *Generator
	stop     chan struct{}
	all      sync.WaitGroup

	mu      sync.Mutex
	memory  []memorySample
	last    map[string]float64 // counters of the last scrape
	scrapes []time.Duration    // what each took
}

// A memorySample is the resident memory of the process at one moment.
type memorySample struct {
	at    time.Duration // of the generator's clock
	bytes int64
}

// StartMonitor samples every 100 ms and scrapes every second, until Stop. A scrape that fails, or
// a counter that goes down, fails the test.
func StartMonitor(t *testing.T, receiver *harness.Receiver, l *Generator) *Monitor {
	w := &Monitor{t: t, receiver: receiver, load: l, stop: make(chan struct{})}
	w.every(100*time.Millisecond, w.weigh)
	w.every(time.Second, w.scrape)
	return w
}

// every calls f at this pace until Stop.
func (w *Monitor) every(pace time.Duration, f func()) {
	w.all.Go(func() {
		ticker := time.NewTicker(pace)
		defer ticker.Stop()
		for {
			select {
			case <-w.stop:
				return
			case <-ticker.C:
				f()
			}
		}
	})
}

// Stop ends the monitor.
func (w *Monitor) Stop() {
	close(w.stop)
	w.all.Wait()
}

// weigh samples the memory.
func (w *Monitor) weigh() {
	bytes, err := rss(w.receiver.Cmd.Process.Pid)
	if err != nil {
		w.t.Errorf("reading the receiver's memory: %v", err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.memory = append(w.memory, memorySample{w.load.Clock(), bytes})
}

// rss returns the resident memory of a process, in bytes.
func rss(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), "\nVmRSS:")
	kilobytes, _, _ := strings.Cut(strings.TrimSpace(rest), " kB")
	n, err := strconv.ParseInt(kilobytes, 10, 64)
	return n << 10, err
}

// PeakMemory returns the most resident memory in a span of time, in bytes.
func (w *Monitor) PeakMemory(from, to time.Duration) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	var most int64
	for _, m := range w.memory {
		if m.at >= from && m.at < to {
			most = max(most, m.bytes)
		}
	}
	return most
}

// scrape wants valid metrics with no counter lower than before.
func (w *Monitor) scrape() {
	start := time.Now()
	d, err := Scrape(w.receiver.URL("/metrics"))
	if err != nil {
		w.t.Errorf("a scrape under load: %v", err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.scrapes = append(w.scrapes, time.Since(start))
	now := monotone(d)
	for series, before := range w.last {
		if value, ok := now[series]; !ok || value < before {
			w.t.Errorf("%s went from %v to %v", series, before, value)
		}
	}
	w.last = now
}

// SlowestScrape returns the time of the slowest scrape and the number of scrapes.
func (w *Monitor) SlowestScrape() (time.Duration, int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Max(append(w.scrapes, 0)), len(w.scrapes)
}

// Scrape returns the parsed metrics at a URL.
func Scrape(url string) (*expositiontest.Document, error) {
	response, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", response.Status, body)
	}
	return expositiontest.Parse(response.Header.Get("Content-Type"), body)
}

// monotone returns the values that never go down while a receiver runs.
func monotone(d *expositiontest.Document) map[string]float64 {
	values := d.Values()
	maps.DeleteFunc(values, func(key string, _ float64) bool {
		name, _, _ := strings.Cut(key, " ")
		for _, suffix := range []string{"_total", "_count", "_sum", "_bucket"} {
			if strings.HasSuffix(name, suffix) {
				return false
			}
		}
		return true
	})
	return values
}

// MachineBusy returns the seconds that the processors of this machine have worked since its
// start, and the seconds that its host gave to other machines.
func MachineBusy() (float64, error) {
	const (
		perSecond  = 100 // ticks
		idle, wait = 3, 4
		fields     = 8 // user nice system idle iowait irq softirq steal
	)
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(stat), "\n")
	sum := 0.0
	for i, field := range strings.Fields(first)[1 : 1+fields] {
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0, err
		}
		if i != idle && i != wait {
			sum += n / perSecond
		}
	}
	return sum, nil
}
