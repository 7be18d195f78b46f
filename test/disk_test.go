package test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An ordeal is a service whose disk has faults, the crowd that sends it jobs
// meanwhile, and the scrapes.
type ordeal struct {
	*service
	crowd      *crowd
	watch      scrapes
	stopScrape func()
	probes     []item // jobs of refuses, to be sent again
}

const ordealSenders = 4

// begin starts the service and the crowd.
func begin(t *testing.T, s *service, l load) *ordeal {
	t.Helper()
	s.start(t)
	o := &ordeal{service: s, crowd: newCrowd(t, s, l)}
	o.stopScrape = o.watch.follow(t, s)
	o.crowd.gather(t.Context(), t, ordealSenders)
	o.crowd.await(t, s, 20, 0)
	return o
}

// end wants all that was ever acknowledged or refused to count exactly once, and
// that no scrape failed.
func (o *ordeal) end(t *testing.T) {
	t.Helper()
	o.crowd.finish(t, o.service)
	o.stopScrape()
	o.crowd.complain(t)
	if o.watch.failed > 0 {
		t.Errorf("%d of %d scrapes failed, the first: %v", o.watch.failed, o.watch.failed+o.watch.count, o.watch.err)
	}
	settle(t, o.service, o.crowd, &o.watch)
}

// A disk that fails for good, until somebody mends it.
func TestDiskFails(t *testing.T) {
	t.Parallel()
	ioError := regexp.MustCompile(`I/O error`)
	for _, test := range []struct {
		name   string
		tmpfs  string // options; empty: the ledger is on an ordinary disk
		load   load
		fault  func(t *testing.T, o *ordeal) (end func())
		reason *regexp.Regexp
		partly bool // a commit that finds room by chance may succeed meanwhile
	}{
		{"full, by another file", "size=4m", modest, fillUp, regexp.MustCompile(`the disk is full`), true},
		{"full, by the ledger", "size=3m", large, growFull, regexp.MustCompile(`the disk is full`), true},
		{"ENOSPC on writes", "", modest, failing("pwrite64:error=ENOSPC"), regexp.MustCompile(`the disk is full`), false},
		{"EROFS on writes", "", modest, failing("pwrite64:error=EROFS", "ftruncate:error=EROFS"),
			regexp.MustCompile(`read-only|must be writable|I/O error`), false},
		{"EIO on fsync", "", modest, failing("fsync:error=EIO", "fdatasync:error=EIO"), ioError, false},
		{"EIO on writes to the log", "", modest, failingLog("pwrite64:error=EIO"), ioError, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if test.tmpfs != "" {
				dir = tmpfs(t, test.tmpfs)
			}
			o := begin(t, newServiceIn(t, dir), test.load)
			began := time.Now()
			mend := test.fault(t, o)
			o.crowd.await(t, o.service, 0, 1)
			if err := eventually(func() error { return o.unwritable(t, test.reason) }); err != nil {
				t.Errorf("%v\n%s", err, o.excerpt())
			}
			before, _ := o.crowd.counts()
			o.crowd.await(t, o.service, 0, 100)
			resume := o.crowd.pause(t) // from here on it has to find out by itself
			if !test.partly {
				if after, _ := o.crowd.counts(); after != before {
					t.Errorf("%d jobs were acknowledged while nothing could be recorded", after-before)
				}
				o.staysUnready(t, test.reason)
			}
			mended := time.Now()
			mend()
			if err := eventually(o.writable); err != nil {
				t.Errorf("%v\n%s", err, o.excerpt())
			}
			took := time.Since(mended)
			resume()
			o.crowd.await(t, o.service, 20, 0)
			o.sendAgain(t)
			episodes := 1
			if test.partly {
				episodes = unknown
			}
			o.logged(t, time.Since(began), episodes)
			o.end(t)
			o.outcome(t, "%s for %.1f s: works again %.1f s after it ended, without traffic",
				test.name, mended.Sub(began).Seconds(), took.Seconds())
		})
	}
}

// fillUp leaves no room beside the ledger.
func fillUp(t *testing.T, o *ordeal) (end func()) {
	dir := filepath.Dir(o.ledger)
	filler := fill(t, dir)
	return func() {
		if err := os.Remove(filler); err != nil {
			t.Error(err)
		}
	}
}

// growFull waits until the ledger has taken all the room; then it gets more.
func growFull(t *testing.T, o *ordeal) (end func()) {
	dir := filepath.Dir(o.ledger)
	return func() {
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=64m"); err != nil {
			t.Error(err)
		}
	}
}

func failing(faults ...string) func(*testing.T, *ordeal) func() {
	return func(t *testing.T, o *ordeal) func() { return inject(t, o.service, "", faults...).end }
}

func failingLog(faults ...string) func(*testing.T, *ordeal) func() {
	return func(t *testing.T, o *ordeal) func() { return inject(t, o.service, o.ledger+"-wal", faults...).end }
}

// outcome tells what came of a fault, for people.
func (o *ordeal) outcome(t *testing.T, format string, args ...any) {
	t.Helper()
	if t.Failed() {
		return
	}
	t.Logf(format+"; %d jobs acknowledged, each once; %d requests refused; %d scrapes, %d failed, no counter fell",
		append(args, len(o.crowd.acknowledged), o.crowd.refusals, o.watch.count, o.watch.failed)...)
}

// unwritable is nil if the service behaves as it must while nothing can be recorded.
// What it sends itself is in probes.
func (o *ordeal) unwritable(t *testing.T, reason *regexp.Regexp) error {
	before, err := fetch(o.url("/metrics/jobs"))
	if err != nil {
		return err
	}
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		if err := o.refuses(t, method, reason); err != nil {
			return fmt.Errorf("%s /steps: %w", method, err)
		}
	}
	if _, err := fetch(o.url("/-/healthy")); err != nil {
		return err
	}
	if err := o.unready(reason); err != nil {
		return err
	}
	after, err := fetch(o.url("/metrics/jobs"))
	if err != nil {
		return err
	}
	if !maps.Equal(counters(before), counters(after)) {
		return fmt.Errorf("the totals moved from\n%s\nto\n%s", before, after)
	}
	self, err := o.self()
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

// refuses is nil if a job is answered as it must be while nothing can be recorded.
func (o *ordeal) refuses(t *testing.T, method string, reason *regexp.Regexp) error {
	i := item{"id": fmt.Sprintf("probe-%d", len(o.probes)), "name": "probe", "project": "p", "status": "success", "duration": "1"}
	o.probes = append(o.probes, i)
	send := func() (reply, error) { return post(t.Context(), o.crowd.client, o.url("/steps"), []item{i}) }
	if method == http.MethodGet {
		send = func() (reply, error) { return get(t.Context(), o.crowd.client, o.url("/steps"), i) }
	}
	answer, err := send()
	if err != nil {
		return err
	}
	return answer.refusal(reason)
}

// sendAgain sends every job of refuses once more: now it is acknowledged.
func (o *ordeal) sendAgain(t *testing.T) {
	t.Helper()
	for _, i := range o.probes {
		if answer, err := o.crowd.try(t.Context(), []item{i}); err != nil || !answer.acknowledges(1) {
			t.Errorf("%s, sent again: %+v, %v", i["id"], answer, err)
		}
	}
}

// unready is nil if the service says that it is not ready, and why.
func (o *ordeal) unready(reason *regexp.Regexp) error {
	_, err := fetch(o.url("/-/ready"))
	if err == nil {
		return fmt.Errorf("/-/ready answers 200, want 503 with %q", reason)
	}
	if !strings.Contains(err.Error(), ": 503 ") || !reason.MatchString(err.Error()) {
		return fmt.Errorf("/-/ready: %w, want 503 with %q", err, reason)
	}
	return nil
}

// writable is nil if the service says that jobs are recorded.
func (o *ordeal) writable() error {
	if _, err := fetch(o.url("/-/ready")); err != nil {
		return err
	}
	self, err := o.self()
	if err == nil && self["ledger_writable"] != 1 {
		err = fmt.Errorf("cijob_receiver_ledger_writable is %v", self["ledger_writable"])
	}
	return err
}

var selfLine = regexp.MustCompile(`(?m)^cijob_receiver_(\S+) (\S+)$`)

// self are the receiver's own metrics, without their prefix.
func (o *ordeal) self() (map[string]float64, error) {
	page, err := fetch(o.url("/metrics/self"))
	values := map[string]float64{}
	for _, m := range selfLine.FindAllStringSubmatch(page, -1) {
		values[m[1]], _ = strconv.ParseFloat(m[2], 64)
	}
	return values, err
}

// staysUnready wants the service to see that the fault goes on. When it looks itself
// whether it can write again, that must be a write that needs the disk; and a job that
// came before is no sign, for it is not written again.
func (o *ordeal) staysUnready(t *testing.T, reason *regexp.Regexp) {
	t.Helper()
	o.unreadyFor(t, 2500*time.Millisecond, reason, "while nobody sends") // it looks about every second
	o.repeat(t)
	o.unreadyFor(t, 100*time.Millisecond, reason, "after a job that came again")
}

func (o *ordeal) unreadyFor(t *testing.T, d time.Duration, reason *regexp.Regexp, when string) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err := o.unready(reason); err != nil {
			t.Errorf("the disk fails, and %s: %v\n%s", when, err, o.excerpt())
			return
		}
	}
}

// repeat sends a job that was acknowledged before. That needs no write, so whatever
// the answer is, it does not prove that the disk is well.
func (o *ordeal) repeat(t *testing.T) {
	t.Helper()
	o.crowd.mu.Lock()
	var known item
	for id, what := range o.crowd.acknowledged {
		f := strings.Fields(what)
		known = item{"id": id, "name": f[0], "project": f[1], "status": f[2]}
		break
	}
	o.crowd.mu.Unlock()
	answer, err := post(t.Context(), o.crowd.client, o.url("/steps"), []item{known})
	if err == nil && answer.Recorded == 0 && answer.Duplicates == 1 {
		return
	}
	if err == nil {
		err = answer.refusal(anything)
	}
	if err != nil {
		t.Errorf("a job that was acknowledged before: %v", err)
	}
}

const (
	worksAgain = "Recording works again"
	unknown    = 0 // how often a fault came and went
)

// logged wants the log to tell of a fault without drowning anybody: an error when it
// begins, one every ten seconds at most, and one line when it is over; as often as it
// came and went.
func (o *ordeal) logged(t *testing.T, took time.Duration, episodes int) {
	t.Helper()
	log := o.log.String()
	failed, again := strings.Count(log, "level=ERROR"), strings.Count(log, worksAgain)
	if episodes == unknown {
		episodes = max(again, 1)
	}
	if again == 0 || again > episodes {
		t.Errorf("%d times the log has %q, want 1 to %d", again, worksAgain, episodes)
	}
	if most := episodes + int(took/(10*time.Second)); failed == 0 || failed > most {
		t.Errorf("the log has %d errors in %v, want 1 to %d\n%s", failed, took, most, o.excerpt())
	}
	if at := strings.Index(log, "level=ERROR"); again > 0 && at > strings.Index(log, worksAgain) {
		t.Errorf("the first error comes after %q", worksAgain)
	}
}
