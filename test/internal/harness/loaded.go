package harness

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TryBatch sends three jobs in one request. It adds them to Probes if they are refused.
func (u *ReceiverUnderLoad) TryBatch(t *testing.T, round int) {
	t.Helper()
	var items []Item
	for n := range 3 {
		items = append(items, Item{"id": fmt.Sprintf("refused-%d-%d", round, n),
			"name": "refused", "project": "p", "status": "success", "duration": "1"})
	}
	answer, err := u.Senders.Try(t.Context(), items)
	if err != nil {
		t.Fatal(err)
	}
	if answer.CheckRefusal(anyReason) == nil {
		u.Probes = append(u.Probes, items...)
	}
}

// A ReceiverUnderLoad is a receiver whose disk a test makes fail while senders send jobs and a
// watch scrapes it.
type ReceiverUnderLoad struct {
	*Receiver
	Senders      *Senders
	Watch        CounterWatch
	StopScraping func() // ends Watch
	Probes       []Item // refused jobs, which SendProbesAgain sends again
}

const loadSenders = 4

// StartUnderLoad starts the receiver, four senders and the scrapes. It returns when 20 jobs are
// acknowledged.
func StartUnderLoad(t *testing.T, receiver *Receiver, l Load) *ReceiverUnderLoad {
	t.Helper()
	receiver.Start(t)
	loaded := &ReceiverUnderLoad{Receiver: receiver, Senders: NewSenders(t, receiver, l)}
	loaded.StopScraping = loaded.Watch.Follow(t, receiver)
	loaded.Senders.Start(t.Context(), t, loadSenders)
	loaded.Senders.Await(t, receiver, 20, 0)
	return loaded
}

// Finish ends the senders and the scrapes. It wants every acknowledged job to count exactly
// once, and that no scrape failed.
func (u *ReceiverUnderLoad) Finish(t *testing.T) {
	t.Helper()
	u.Senders.Finish(t, u.Receiver)
	u.StopScraping()
	u.Senders.ReportErrors(t)
	if u.Watch.failed > 0 {
		t.Errorf("%d of %d scrapes failed, the first: %v", u.Watch.failed, u.Watch.failed+u.Watch.Count, u.Watch.err)
	}
	CheckEachJobCountsOnce(t, u.Receiver, u.Senders, &u.Watch)
}

// LogOutcome logs the result of a fault for readers of the test's output.
func (u *ReceiverUnderLoad) LogOutcome(t *testing.T, format string, args ...any) {
	t.Helper()
	if t.Failed() {
		return
	}
	t.Logf(format+"; %d jobs acknowledged, each once; %d requests refused; %d scrapes, %d failed, no counter fell",
		append(args, len(u.Senders.Acknowledged), u.Senders.Refusals, u.Watch.Count, u.Watch.failed)...)
}

// CheckUnwritable returns nil if the receiver behaves as it must while no job can be recorded.
// The jobs that it sends are added to Probes.
func (u *ReceiverUnderLoad) CheckUnwritable(t *testing.T, reason *regexp.Regexp) error {
	before, err := Fetch(u.URL("/metrics/jobs"))
	if err != nil {
		return err
	}
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		if err := u.CheckRefuses(t, method, reason); err != nil {
			return fmt.Errorf("%s /steps: %w", method, err)
		}
	}
	if _, err := Fetch(u.URL("/-/healthy")); err != nil {
		return err
	}
	if err := u.CheckUnready(reason); err != nil {
		return err
	}
	after, err := Fetch(u.URL("/metrics/jobs"))
	if err != nil {
		return err
	}
	if !maps.Equal(Counters(before), Counters(after)) {
		return fmt.Errorf("the totals moved from\n%s\nto\n%s", before, after)
	}
	self, err := u.OwnMetrics()
	if err != nil {
		return err
	}
	for _, name := range []string{"commit_failures_total", `requests_refused_total{reason="ledger"}`} {
		if self[name] < 1 {
			return fmt.Errorf("cijob_receiver_%s is %v", name, self[name])
		}
	}
	if v, ok := self["ledger_writable"]; !ok || v != 0 {
		return fmt.Errorf("cijob_receiver_ledger_writable is %v, there: %t", v, ok)
	}
	return nil
}

// CheckRefuses sends one job, adds it to Probes, and returns nil if it is refused as it must be
// while no job can be recorded.
func (u *ReceiverUnderLoad) CheckRefuses(t *testing.T, method string, reason *regexp.Regexp) error {
	i := Item{"id": fmt.Sprintf("probe-%d", len(u.Probes)), "name": "probe", "project": "p", "status": "success", "duration": "1"}
	u.Probes = append(u.Probes, i)
	send := func() (Reply, error) { return post(t.Context(), u.Senders.client, u.URL("/steps"), []Item{i}) }
	if method == http.MethodGet {
		send = func() (Reply, error) { return get(t.Context(), u.Senders.client, u.URL("/steps"), i) }
	}
	answer, err := send()
	if err != nil {
		return err
	}
	return answer.CheckRefusal(reason)
}

// SendProbesAgain sends every job in Probes again and wants it acknowledged.
func (u *ReceiverUnderLoad) SendProbesAgain(t *testing.T) {
	t.Helper()
	for _, i := range u.Probes {
		if answer, err := u.Senders.Try(t.Context(), []Item{i}); err != nil || !answer.Acknowledges(1) {
			t.Errorf("%s, sent again: %+v, %v", i["id"], answer, err)
		}
	}
}

// CheckUnready returns nil if /-/ready answers 503 with the reason.
func (u *ReceiverUnderLoad) CheckUnready(reason *regexp.Regexp) error {
	_, err := Fetch(u.URL("/-/ready"))
	if err == nil {
		return fmt.Errorf("/-/ready answers 200, want 503 with %q", reason)
	}
	if !strings.Contains(err.Error(), ": 503 ") || !reason.MatchString(err.Error()) {
		return fmt.Errorf("/-/ready: %w, want 503 with %q", err, reason)
	}
	return nil
}

// CheckWritable returns nil if /-/ready and the metrics report that jobs can be recorded.
func (u *ReceiverUnderLoad) CheckWritable() error {
	if _, err := Fetch(u.URL("/-/ready")); err != nil {
		return err
	}
	self, err := u.OwnMetrics()
	if err == nil && self["ledger_writable"] != 1 {
		err = fmt.Errorf("cijob_receiver_ledger_writable is %v", self["ledger_writable"])
	}
	return err
}

var selfLine = regexp.MustCompile(`(?m)^cijob_receiver_(\S+) (\S+)$`)

// OwnMetrics returns the receiver's metrics about itself, without the prefix cijob_receiver_.
func (u *ReceiverUnderLoad) OwnMetrics() (map[string]float64, error) {
	page, err := Fetch(u.URL("/metrics/self"))
	values := map[string]float64{}
	for _, m := range selfLine.FindAllStringSubmatch(page, -1) {
		values[m[1]], _ = strconv.ParseFloat(m[2], 64)
	}
	return values, err
}

// CheckStaysUnready wants the receiver to notice that the fault goes on. Its own test of the
// disk must be a write that reaches the disk. A job that was recorded before proves nothing,
// because it is not written again.
func (u *ReceiverUnderLoad) CheckStaysUnready(t *testing.T, reason *regexp.Regexp) {
	t.Helper()
	u.unreadyFor(t, 2500*time.Millisecond, reason, "while nobody sends") // it tests the disk about every second
	u.repeat(t)
	u.unreadyFor(t, 100*time.Millisecond, reason, "after a job that came again")
}

func (u *ReceiverUnderLoad) unreadyFor(t *testing.T, d time.Duration, reason *regexp.Regexp, when string) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err := u.CheckUnready(reason); err != nil {
			t.Errorf("the disk fails, and %s: %v\n%s", when, err, u.LogExcerpt())
			return
		}
	}
}

// repeat sends a job that was acknowledged before. It needs no write, so no answer proves that
// the disk works.
func (u *ReceiverUnderLoad) repeat(t *testing.T) {
	t.Helper()
	u.Senders.mu.Lock()
	var known Item
	for id, what := range u.Senders.Acknowledged {
		f := strings.Fields(what)
		known = Item{"id": id, "name": f[0], "project": f[1], "status": f[2]}
		break
	}
	u.Senders.mu.Unlock()
	answer, err := post(t.Context(), u.Senders.client, u.URL("/steps"), []Item{known})
	if err == nil && answer.Recorded == 0 && answer.Duplicates == 1 {
		return
	}
	if err == nil {
		err = answer.CheckRefusal(anyReason)
	}
	if err != nil {
		t.Errorf("a job that was acknowledged before: %v", err)
	}
}

const worksAgain = "Recording works again"

// AnyNumber stands for an unknown number of episodes in CheckLog.
const AnyNumber = 0

// CheckLog wants the log to report a fault without flooding: an error when it begins, one every
// ten seconds at most, and one line when it is over. episodes is how often the fault came and
// went.
func (u *ReceiverUnderLoad) CheckLog(t *testing.T, took time.Duration, episodes int) {
	t.Helper()
	log := u.Log.String()
	failed, again := strings.Count(log, "level=ERROR"), strings.Count(log, worksAgain)
	if episodes == AnyNumber {
		episodes = max(again, 1)
	}
	if again == 0 || again > episodes {
		t.Errorf("%d times the log has %q, want 1 to %d", again, worksAgain, episodes)
	}
	if most := episodes + int(took/(10*time.Second)); failed == 0 || failed > most {
		t.Errorf("the log has %d errors in %v, want 1 to %d\n%s", failed, took, most, u.LogExcerpt())
	}
	if at := strings.Index(log, "level=ERROR"); again > 0 && at > strings.Index(log, worksAgain) {
		t.Errorf("the first error comes after %q", worksAgain)
	}
}

// QueryAtOnce makes so many requests at the same time that the receiver opens more connections
// to its ledger. For a new connection SQLite creates a missing write-ahead log, and deletes an
// existing one if the ledger's file is empty.
func (u *ReceiverUnderLoad) QueryAtOnce() {
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			for range 5 {
				_, _ = Fetch(u.URL("/-/ready")) // any answer will do
				_, _ = Fetch(u.URL("/metrics/jobs"))
			}
		})
	}
	group.Wait()
}

// DeliverOne sends one job until it is acknowledged.
func (u *ReceiverUnderLoad) DeliverOne(t *testing.T) {
	t.Helper()
	i := Item{"id": "afterwards", "name": "afterwards", "project": "p", "status": "success", "duration": "1"}
	if err := Eventually(func() error {
		answer, err := u.Senders.Try(t.Context(), []Item{i})
		if err == nil && !answer.Acknowledges(1) {
			err = fmt.Errorf("answered %+v", answer)
		}
		return err
	}); err != nil {
		t.Fatalf("%v\n%s", err, u.LogExcerpt())
	}
}
