package test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

var counterLine = regexp.MustCompile(`(?m)^(cijob_runs_total|cijob_duration_seconds_count|cijob_duration_seconds_sum|cijob_duration_seconds_bucket)\{([^}]*)\} (\S+)$`)

// counters are all counters of the jobs on a page, by their name and labels.
func counters(page string) map[string]float64 {
	values := map[string]float64{}
	for _, m := range counterLine.FindAllStringSubmatch(page, -1) {
		values[m[1]+"{"+m[2]+"}"], _ = strconv.ParseFloat(m[3], 64)
	}
	return values
}

// scrapes watches that no counter ever goes down or away, whatever happens.
type scrapes struct {
	mu     sync.Mutex
	last   map[string]float64
	count  int
	failed int
	err    error // of the first that failed
}

func (s *scrapes) scrape(t *testing.T, service *service) {
	page, err := fetch(service.url("/metrics/jobs"))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil { // it may be dead just now
		if s.failed++; s.err == nil {
			s.err = err
		}
		return
	}
	s.count++
	now := counters(page)
	var fell []string
	for series, before := range s.last {
		if now[series] < before {
			fell = append(fell, fmt.Sprintf("%s went from %v to %v", series, before, now[series]))
		}
	}
	some(t, fell)
	s.last = now
}

// follow scrapes all the time until the test ends, or until stop is called.
func (s *scrapes) follow(t *testing.T, service *service) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		every := time.NewTicker(50 * time.Millisecond)
		defer every.Stop()
		for ctx.Err() == nil {
			s.scrape(t, service)
			select {
			case <-every.C:
			case <-ctx.Done():
			}
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

// settle is the end of a test: every job that was acknowledged counts exactly once,
// on the metrics and in the KPI, there after a SIGKILL and a restart too, and in the ledger.
func settle(t *testing.T, s *service, c *crowd, watch *scrapes) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	page, err := fetch(s.url("/metrics/jobs"))
	if err != nil {
		t.Fatalf("%v\n%s", err, s.excerpt())
	}
	countOnce(t, c.acknowledged, page)
	answerOnce(t, c.acknowledged, s)
	watch.scrape(t, s)
	s.kill()
	s.start(t) // what it shows now comes from the ledger
	watch.scrape(t, s)
	if page, err = fetch(s.url("/metrics/jobs")); err != nil {
		t.Fatalf("%v\n%s", err, s.excerpt())
	}
	countOnce(t, c.acknowledged, page)
	answerOnce(t, c.acknowledged, s)
	s.kill()
	var wrong []string
	inLedger := readLedger(t, s.ledger)
	for id := range c.acknowledged {
		if inLedger[id] != 1 {
			wrong = append(wrong, fmt.Sprintf("%s is acknowledged and %d times in the ledger", id, inLedger[id]))
		}
	}
	for id, n := range inLedger {
		if c.acknowledged[id] == "" {
			wrong = append(wrong, fmt.Sprintf("%s is %d times in the ledger and was not acknowledged", id, n))
		}
	}
	some(t, wrong)
}

// some fails the test for the first few of what may be many findings.
func some(t *testing.T, findings []string) {
	t.Helper()
	slices.Sort(findings)
	for i, f := range findings {
		if i == 3 {
			t.Errorf("… and %d more", len(findings)-i)
			return
		}
		t.Error(f)
	}
}

// countOnce wants the acknowledged jobs on a page of metrics, and no others.
func countOnce(t *testing.T, acknowledged map[string]string, page string) {
	t.Helper()
	want := map[string]float64{}
	for _, what := range acknowledged {
		f := strings.Fields(what)
		want[fmt.Sprintf(`cijob_runs_total{template="%s",project="%s",status="%s"}`, f[0], f[1], f[2])]++
	}
	var durations float64
	var wrong []string
	for series, n := range counters(page) {
		if strings.HasPrefix(series, "cijob_runs_total{") && want[series] != n {
			wrong = append(wrong, fmt.Sprintf("%s is %v, want %v", series, n, want[series]))
		}
		if strings.HasPrefix(series, "cijob_duration_seconds_count{") {
			durations += n
		}
		delete(want, series)
	}
	for series, n := range want {
		wrong = append(wrong, fmt.Sprintf("%s is not there, want %v", series, n))
	}
	some(t, wrong)
	if durations != float64(len(acknowledged)) {
		t.Errorf("%v durations were observed of %d jobs", durations, len(acknowledged))
	}
}

// openDatabase opens a ledger as a SQLite database, until the test ends.
func openDatabase(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: path}).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// readLedger counts the rows of each id.
func readLedger(t *testing.T, path string) map[string]int {
	t.Helper()
	db := openDatabase(t, path)
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
