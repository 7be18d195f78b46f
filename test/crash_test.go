package test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"ci-jobs-metrics/internal/logtest"
)

const (
	crashRounds  = 24
	crashSenders = 12
)

// A service is a receiver program that is killed and started again on the same
// ledger and port.
type service struct {
	address string
	ledger  string
	log     *logtest.Buffer
	cmd     *exec.Cmd
}

func newService(t *testing.T) *service {
	t.Helper()
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	s := &service{address: address, ledger: filepath.Join(t.TempDir(), "ledger.db"), log: &logtest.Buffer{}}
	t.Cleanup(s.kill)
	return s
}

func (s *service) url(path string) string { return "http://" + s.address + path }

func (s *service) arguments() []string {
	return []string{filepath.Join(programs, "receiver"), "--ledger=sqlite:" + s.ledger, "--web.listen-address=" + s.address}
}

// start starts the program, behind the given command if there is one, and waits
// until it is ready.
func (s *service) start(t *testing.T, behind ...string) {
	t.Helper()
	args := slices.Concat(behind, s.arguments())
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := eventually(func() error { _, err := fetch(s.url("/-/ready")); return err }); err != nil {
		t.Fatalf("%v\n%s", err, s.log)
	}
}

func (s *service) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// A crowd sends jobs, each until it is acknowledged, and remembers which were.
type crowd struct {
	url          string
	client       *http.Client
	stop         atomic.Bool
	senders      sync.WaitGroup
	mu           sync.Mutex
	acknowledged map[string]string // id to "template project status"
	retries      int
	duplicates   int // acknowledged as counted before
}

// send is one sender: single jobs and small batches, each job with an id.
func (c *crowd) send(ctx context.Context, sender int) {
	r := rand.New(rand.NewPCG(uint64(sender), 7))
	for n := 0; !c.stop.Load(); n++ {
		var items []map[string]string
		for k := range 1 + r.IntN(3) {
			items = append(items, map[string]string{
				"id":   fmt.Sprintf("sender-%d/%d/%d", sender, n, k),
				"name": fmt.Sprintf("template_%d", r.IntN(4)), "project": fmt.Sprintf("group/project-%d", r.IntN(5)),
				"status": []string{"success", "failed"}[r.IntN(2)], "duration": strconv.Itoa(r.IntN(2000)),
			})
		}
		for attempt := 0; ; attempt++ {
			duplicates, ok := c.try(ctx, items)
			if ok {
				c.remember(items, attempt, duplicates)
				break
			}
			time.Sleep(time.Duration(5+r.IntN(20)) * time.Millisecond)
			if ctx.Err() != nil {
				return
			}
		}
	}
}

func (c *crowd) try(ctx context.Context, items []map[string]string) (duplicates int, ok bool) {
	body, err := json.Marshal(items)
	if err != nil {
		return 0, false
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, strings.NewReader(string(body)))
	if err != nil {
		return 0, false
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := c.client.Do(request)
	if err != nil {
		return 0, false
	}
	defer response.Body.Close()
	var answer struct{ Recorded, Duplicates int }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != http.StatusOK {
		return 0, false
	}
	return answer.Duplicates, answer.Recorded+answer.Duplicates == len(items)
}

func (c *crowd) remember(items []map[string]string, attempt, duplicates int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range items {
		c.acknowledged[i["id"]] = i["name"] + " " + i["project"] + " " + i["status"]
	}
	c.retries += attempt
	c.duplicates += duplicates
}

var counterLine = regexp.MustCompile(`(?m)^(cijob_runs_total|cijob_duration_seconds_count|cijob_duration_seconds_sum|cijob_duration_seconds_bucket)\{([^}]*)\} (\S+)$`)

// counters are all counters of the jobs on a page, by their name and labels.
func counters(page string) map[string]float64 {
	values := map[string]float64{}
	for _, m := range counterLine.FindAllStringSubmatch(page, -1) {
		values[m[1]+"{"+m[2]+"}"], _ = strconv.ParseFloat(m[3], 64)
	}
	return values
}

// scrapes watches that no counter ever goes down or away, whatever is killed.
type scrapes struct {
	last  map[string]float64
	count int
}

func (s *scrapes) scrape(t *testing.T, service *service) {
	page, err := fetch(service.url("/metrics/jobs"))
	if err != nil {
		return // it is dead just now
	}
	s.count++
	now := counters(page)
	for series, before := range s.last {
		if now[series] < before {
			t.Errorf("%s went from %v to %v", series, before, now[series])
		}
	}
	s.last = now
}

// Senders that retry, and a receiver that is killed at random moments: in the end
// every acknowledged job counts exactly once, in the ledger and on /metrics.
func TestKilledAtAnyMoment(t *testing.T) {
	s := newService(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c := &crowd{url: s.url("/steps"), client: &http.Client{Timeout: 5 * time.Second}, acknowledged: map[string]string{}}
	defer c.client.CloseIdleConnections()
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	var watch scrapes
	for i := range crashSenders {
		c.senders.Go(func() { c.send(ctx, i) })
	}
	for range crashRounds {
		s.start(t)
		for end := time.Now().Add(time.Duration(r.IntN(400)) * time.Millisecond); time.Now().Before(end); {
			watch.scrape(t, s)
		}
		s.kill()
	}
	s.start(t)
	time.Sleep(100 * time.Millisecond)
	c.stop.Store(true)
	c.senders.Wait() // each ends with its last job acknowledged
	if ctx.Err() != nil {
		t.Fatal("the senders did not come to an end")
	}
	watch.scrape(t, s)
	onMetrics := counters(must(fetch(s.url("/metrics/jobs"))))
	s.kill()
	s.start(t) // and once more, for what a restart shows
	watch.scrape(t, s)
	s.kill()

	inLedger := readLedger(t, s.ledger)
	want := map[string]float64{}
	for id, what := range c.acknowledged {
		if inLedger[id] != 1 {
			t.Errorf("%s is acknowledged and %d times in the ledger", id, inLedger[id])
		}
		f := strings.Fields(what)
		want[fmt.Sprintf(`cijob_runs_total{template="%s",project="%s",status="%s"}`, f[0], f[1], f[2])]++
	}
	for id, n := range inLedger {
		if n != 1 || c.acknowledged[id] == "" {
			t.Errorf("%s is %d times in the ledger, acknowledged: %t", id, n, c.acknowledged[id] != "")
		}
	}
	for series, n := range want {
		if onMetrics[series] != n {
			t.Errorf("%s is %v, want %v", series, onMetrics[series], n)
		}
	}
	if watch.count < crashRounds || c.retries == 0 {
		t.Errorf("%d scrapes, %d retries: too little happened", watch.count, c.retries)
	}
	t.Logf("%d kills, %d jobs acknowledged, each once; %d requests tried again, %d jobs of them recorded before; %d scrapes, no counter fell",
		crashRounds+2, len(c.acknowledged), c.retries, c.duplicates, watch.count)
}

func must(page string, err error) string {
	if err != nil {
		panic(err)
	}
	return page
}

// readLedger counts the rows of each id.
func readLedger(t *testing.T, path string) map[string]int {
	t.Helper()
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: path}).String())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT id FROM jobs`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	ids := map[string]int{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids[id]++
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return ids
}
