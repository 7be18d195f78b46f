package test

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
)

// A watcher looks at a receiver from outside while it is under load: at its memory,
// and at its metrics as Prometheus does.
type watcher struct {
	t       *testing.T
	service *service
	load    *storm
	stop    chan struct{}
	all     sync.WaitGroup

	mu      sync.Mutex
	memory  []resident
	last    map[string]float64 // counters of the last scrape
	scrapes []time.Duration    // what each took
}

// resident is the memory of the process at one moment.
type resident struct {
	at    time.Duration // of the load's clock
	bytes int64
}

func watch(t *testing.T, s *service, l *storm) *watcher {
	w := &watcher{t: t, service: s, load: l, stop: make(chan struct{})}
	w.every(100*time.Millisecond, w.weigh)
	w.every(time.Second, w.scrape)
	return w
}

// every calls f at this pace until end.
func (w *watcher) every(pace time.Duration, f func()) {
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

func (w *watcher) end() {
	close(w.stop)
	w.all.Wait()
}

// weigh notes the memory.
func (w *watcher) weigh() {
	bytes, err := rss(w.service.cmd.Process.Pid)
	if err != nil {
		w.t.Errorf("reading the receiver's memory: %v", err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.memory = append(w.memory, resident{w.load.clock(), bytes})
}

// rss is the resident memory of a process.
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

// peak is the most memory in a span of time.
func (w *watcher) peak(from, to time.Duration) int64 {
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

// scrape wants an answer that is sound, in which no counter is lower than before.
func (w *watcher) scrape() {
	start := time.Now()
	d, err := scrape(w.service.url("/metrics"))
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

// slowest is how long the slowest scrape took, and how many there were.
func (w *watcher) slowest() (time.Duration, int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Max(append(w.scrapes, 0)), len(w.scrapes)
}

func scrape(url string) (*expositiontest.Document, error) {
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

// monotone are the values that never go down while a receiver runs.
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

// busy is for how many seconds the machine's processors have worked, or its host gave
// them to others.
func busy() (float64, error) {
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
