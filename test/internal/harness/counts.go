package harness

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver
)

var counterLine = regexp.MustCompile(`(?m)^(cijob_runs_total|cijob_duration_seconds_count|cijob_duration_seconds_sum|cijob_duration_seconds_bucket)\{([^}]*)\} (\S+)$`)

// Counters returns the counters of jobs on a page of metrics, by their name and labels.
func Counters(page string) map[string]float64 {
	values := map[string]float64{}
	for _, m := range counterLine.FindAllStringSubmatch(page, -1) {
		values[m[1]+"{"+m[2]+"}"], _ = strconv.ParseFloat(m[3], 64)
	}
	return values
}

// A CounterWatch scrapes a receiver and fails the test if a counter goes down or away. Any
// goroutine may call its methods. The zero value is ready.
type CounterWatch struct {
	mu     sync.Mutex
	last   map[string]float64
	Count  int // successful scrapes
	failed int
	err    error // of the first that failed
}

// Scrape scrapes once. A scrape that fails is counted and allowed: the receiver may be dead.
func (s *CounterWatch) Scrape(t *testing.T, service *Receiver) {
	page, err := Fetch(service.URL("/metrics/jobs"))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil { // the receiver may be dead
		if s.failed++; s.err == nil {
			s.err = err
		}
		return
	}
	s.Count++
	now := Counters(page)
	var fell []string
	for series, before := range s.last {
		if now[series] < before {
			fell = append(fell, fmt.Sprintf("%s went from %v to %v", series, before, now[series]))
		}
	}
	reportFew(t, fell)
	s.last = now
}

// Follow scrapes every 50 ms until the test ends, or until stop is called.
func (s *CounterWatch) Follow(t *testing.T, service *Receiver) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		every := time.NewTicker(50 * time.Millisecond)
		defer every.Stop()
		for ctx.Err() == nil {
			s.Scrape(t, service)
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

// CheckEachJobCountsOnce ends a test: every acknowledged job counts exactly once in the metrics,
// the KPI and the ledger, before and after a SIGKILL and a restart. It leaves the receiver
// killed.
func CheckEachJobCountsOnce(t *testing.T, receiver *Receiver, senders *Senders, watch *CounterWatch) {
	t.Helper()
	senders.mu.Lock()
	defer senders.mu.Unlock()
	page, err := Fetch(receiver.URL("/metrics/jobs"))
	if err != nil {
		t.Fatalf("%v\n%s", err, receiver.LogExcerpt())
	}
	CheckMetrics(t, senders.Acknowledged, page)
	checkKPI(t, senders.Acknowledged, receiver)
	watch.Scrape(t, receiver)
	receiver.Kill()
	receiver.Start(t) // now it has only what the ledger has
	watch.Scrape(t, receiver)
	if page, err = Fetch(receiver.URL("/metrics/jobs")); err != nil {
		t.Fatalf("%v\n%s", err, receiver.LogExcerpt())
	}
	CheckMetrics(t, senders.Acknowledged, page)
	checkKPI(t, senders.Acknowledged, receiver)
	receiver.Kill()
	var wrong []string
	inLedger := LedgerIDs(t, receiver.Ledger)
	for id := range senders.Acknowledged {
		if inLedger[id] != 1 {
			wrong = append(wrong, fmt.Sprintf("%s is acknowledged and %d times in the ledger", id, inLedger[id]))
		}
	}
	for id, n := range inLedger {
		if senders.Acknowledged[id] == "" {
			wrong = append(wrong, fmt.Sprintf("%s is %d times in the ledger and was not acknowledged", id, n))
		}
	}
	reportFew(t, wrong)
}

// reportFew fails the test with the first few errors of possibly many.
func reportFew(t *testing.T, wrong []string) {
	t.Helper()
	slices.Sort(wrong)
	for i, f := range wrong {
		if i == 3 {
			t.Errorf("… and %d more", len(wrong)-i)
			return
		}
		t.Error(f)
	}
}

// CheckMetrics wants exactly the acknowledged jobs on a page of metrics. The values of
// acknowledged are those of Senders.Acknowledged.
func CheckMetrics(t *testing.T, acknowledged map[string]string, page string) {
	t.Helper()
	want := map[string]float64{}
	for _, what := range acknowledged {
		f := strings.Fields(what)
		want[fmt.Sprintf(`cijob_runs_total{template="%s",project="%s",status="%s"}`, f[0], f[1], f[2])]++
	}
	var durations float64
	var wrong []string
	for series, n := range Counters(page) {
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
	reportFew(t, wrong)
	if durations != float64(len(acknowledged)) {
		t.Errorf("%v durations were observed of %d jobs", durations, len(acknowledged))
	}
}

// OpenDatabase opens a ledger as a SQLite database, until the test ends.
func OpenDatabase(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: path}).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// LedgerIDs returns how many rows each id has in a ledger.
func LedgerIDs(t *testing.T, path string) map[string]int {
	t.Helper()
	db := OpenDatabase(t, path)
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

// checkKPI wants exactly the acknowledged jobs in the KPI.
func checkKPI(t *testing.T, acknowledged map[string]string, receiver *Receiver) {
	t.Helper()
	want := map[string]int64{}
	for _, what := range acknowledged {
		f := strings.Fields(what)
		want[f[0]+" "+f[2]]++
	}
	body, err := Fetch(receiver.URL("/api/v1/templates?last=48h"))
	if err != nil {
		t.Fatalf("%v\n%s", err, receiver.LogExcerpt())
	}
	var answer struct {
		Items []struct {
			Template string
			Current  struct {
				Jobs     int64
				Timed    int64
				Statuses map[string]int64
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	var wrong []string
	jobs, timed := int64(0), int64(0)
	for _, row := range answer.Items {
		jobs += row.Current.Jobs
		timed += row.Current.Timed
		for status, n := range row.Current.Statuses {
			if key := row.Template + " " + status; n != want[key] {
				wrong = append(wrong, fmt.Sprintf("KPI: %s is %d, want %d", key, n, want[key]))
			}
		}
	}
	reportFew(t, wrong)
	if all := int64(len(acknowledged)); jobs != all || timed != all {
		t.Errorf("KPI: %d jobs, %d with a duration, want %d", jobs, timed, all)
	}
}
