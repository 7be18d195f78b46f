// Package overload_test sends a receiver more than it can take, and clients that misbehave.
package overload_test

import (
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ci-jobs-metrics/test/internal/harness"
	"ci-jobs-metrics/test/internal/harness/loadgen"
)

// Times and memory are judged only where -soak is given: everything else has to hold on
// any machine, however slow and busy.
var soak = flag.Duration("soak", 0, "how long TestOverload overloads the receiver, and judges its times and memory (make soak); 0: for a moment, and what depends on the machine is not judged")

const (
	moment        = 3 * time.Second // of overload where no length is given
	firstBatchers = 128
	moreBatchers  = 32
	mostBatchers  = 512

	// maxOthers is the share of the processors that other processes may have had. Above
	// it, times say more of those than of the receiver, and are not judged.
	maxOthers    = 0.25
	maxSingleP99 = 2 * time.Second
	maxScrape    = 5 * time.Second
	maxRecovery  = 5 * time.Second
	// maxResident is what the receiver may take: the 64 MB that its garbage collector
	// leaves it, full queues, a body of up to a megabyte for some of the connections, and
	// as much again until it is collected.
	maxResident = 384 << 20
	maxGrowth   = 1.25 // of the most memory, or half of what it may take, from the first third of the overload to the last
)

// Twice the jobs that the receiver can take, and more, for as long as -soak says: it
// takes what it can and refuses the rest, single jobs get through, memory stays where it
// is, and when the load ends all is as before. Then the same again with a kill in the
// middle. Whatever was acknowledged is in the ledger, and what was refused is not.
func TestOverload(t *testing.T) {
	length, judged := *soak, *soak > 0
	if !judged {
		length = moment
	}
	receiver := harness.NewReceiver(t)
	receiver.Start(t)
	l := loadgen.New(receiver.Address)
	l.StartSingleSenders()
	t.Cleanup(func() { l.Calm.Store(true); l.Stop.Store(true); l.Killed.Store(true); l.Senders.Wait() })

	o := &overload{t: t, receiver: receiver, load: l, judged: judged}
	o.normal(min(2*time.Second, length/4))
	o.run(length)
	o.recover()
	l.Stop.Store(true)
	l.Senders.Wait()
	o.monitor.Stop()
	o.judge()
	o.checkOwnCounters()
	o.checkReleased()
	o.checkRecords()
	o.report()

	o.kill(min(5*time.Second, length/3))
	harness.RunReceiver(t, receiver.Ledger, "verify")
}

// An overload is the test's course.
type overload struct {
	t        *testing.T
	receiver *harness.Receiver
	load     *loadgen.Generator
	monitor  *loadgen.Monitor
	judged   bool

	before              map[string]float64 // the receiver's own metrics when nothing went on
	from, to, recovered time.Duration      // of the load's clock: begin and end of the overload, and when all is as before
	cpu, ownCPU         float64            // seconds of processor time that the receiver and the senders used in the overload
	othersCPU           float64            // the share of all processors that other processes had meanwhile
	offered, taken      int64              // jobs, in the overload
}

// normal is how things are without overload.
func (o *overload) normal(length time.Duration) {
	o.t.Helper()
	time.Sleep(length)
	d, err := loadgen.Scrape(o.receiver.URL("/metrics/self"))
	if err != nil {
		o.t.Fatal(err)
	}
	o.before = d.Values()
	o.from = o.load.Clock()
}

// storm overloads the receiver: batches over more and more connections, until it refuses
// as much as it takes.
func (o *overload) run(length time.Duration) {
	l := o.load
	o.monitor = loadgen.StartMonitor(o.t, o.receiver, l)
	offered, taken := l.Offered.Load(), l.Taken.Load()
	cpu, ownCPU, all := o.processorTime()
	l.AddBatchSenders(firstBatchers)
	pace := max(time.Second, min(length/12, 30*time.Second))
	for end := o.from + length; l.Clock() < end; {
		begin, offered, taken := l.Clock(), l.Offered.Load(), l.Taken.Load()
		time.Sleep(min(pace, end-begin))
		now := l.Clock()
		took := (now - begin).Seconds()
		offered, taken = l.Offered.Load()-offered, l.Taken.Load()-taken
		o.t.Logf("%4.0f s: jobs/s %.0f offered, %.0f acknowledged over %d connections; %s; %d MB",
			(now - o.from).Seconds(), float64(offered)/took, float64(taken)/took, l.Batches,
			l.AnsweredBetween(begin, now), o.monitor.PeakMemory(begin, now)>>20)
		if offered < 2*taken && l.Batches < mostBatchers {
			l.AddBatchSenders(moreBatchers)
		}
	}
	o.to = l.Clock()
	took := (o.to - o.from).Seconds()
	cpuNow, ownNow, allNow := o.processorTime()
	o.cpu, o.ownCPU = cpuNow-cpu, ownNow-ownCPU
	o.othersCPU = (allNow - all - o.cpu - o.ownCPU) / took / float64(runtime.NumCPU())
	o.offered, o.taken = l.Offered.Load()-offered, l.Taken.Load()-taken
}

// processorTime is what the receiver, this process, and all together have used, in
// seconds.
func (o *overload) processorTime() (receiver, own, all float64) {
	const perSecond = 100 // ticks
	used, err := harness.CPUTicks(o.receiver.Cmd.Process.Pid)
	usedHere, errHere := harness.CPUTicks(os.Getpid())
	all, errAll := loadgen.MachineBusy()
	if err := errors.Join(err, errHere, errAll); err != nil {
		o.t.Fatal(err)
	}
	return float64(used) / perSecond, float64(usedHere) / perSecond, all
}

// recover ends the overload and waits until single jobs are as fast as before.
func (o *overload) recover() {
	const window = 250 * time.Millisecond
	l := o.load
	l.Calm.Store(true)
	before := l.SentBetween(0, o.from)
	p50, p99 := 3*before.Quantile(0.5)+5*time.Millisecond, 3*before.Quantile(0.99)+20*time.Millisecond
	err := harness.Eventually(func() error {
		d, err := loadgen.Scrape(o.receiver.URL("/metrics/self"))
		if err != nil {
			return err
		}
		if waiting := d.Values()["cijob_receiver_queue_jobs"]; waiting > loadgen.SingleSenders {
			return fmt.Errorf("%v jobs wait", waiting)
		}
		now := l.Clock()
		last := l.AnsweredBetween(max(o.to, now-window), now)
		if len(last) < loadgen.SingleSenders || last.Quantile(0.5) > p50 || last.Quantile(0.99) > p99 {
			return fmt.Errorf("%v; before the overload: %v", last, before)
		}
		return nil
	})
	o.recovered = l.Clock()
	if err != nil {
		o.t.Logf("the receiver does not recover: %v", err) // judge says whether that is a fault
	}
	time.Sleep(time.Second) // for the figures after it
}

// judge is what has to hold of the overload.
func (o *overload) judge() {
	t, l := o.t, o.load
	o.checkFaults()
	if o.offered < 2*o.taken {
		t.Errorf("%d jobs were offered and %d acknowledged: that is no overload", o.offered, o.taken)
	}
	during := l.SentBetween(o.from, o.to)
	if refused := during.Refused(); len(during) == 0 || refused*100 > len(during) {
		t.Errorf("%d of %d single requests were refused", refused, len(during))
	}
	slowest, scrapes := o.monitor.SlowestScrape()
	if scrapes == 0 {
		t.Error("it was never scraped")
	}
	if !o.judged {
		return
	}
	if most := o.monitor.PeakMemory(o.from, o.to); most > maxResident {
		t.Errorf("it took %d MB of memory", most>>20)
	}
	if o.othersCPU > maxOthers {
		t.Logf("times are not judged: other processes had %.0f %% of the processors", 100*o.othersCPU)
		return
	}
	if during.Quantile(0.99) > maxSingleP99 {
		t.Errorf("in the overload %v", during)
	}
	if slowest > maxScrape {
		t.Errorf("a scrape took %v", slowest)
	}
	if o.recovered-o.to > maxRecovery {
		t.Errorf("it took %v to recover", o.recovered-o.to)
	}
	third := (o.to - o.from) / 3
	early, late := o.monitor.PeakMemory(o.from, o.from+third), o.monitor.PeakMemory(o.to-third, o.to)
	if float64(late) > maxGrowth*float64(max(early, maxResident/2)) {
		t.Errorf("its memory grew: at most %d MB in the first third of the overload, %d MB in the last", early>>20, late>>20)
	}
}

// checkFaults wants every request to have been answered as an overloaded receiver may.
func (o *overload) checkFaults() {
	count, first := o.load.Faults.Take()
	for _, fault := range first {
		o.t.Errorf("one of %d faults: %s", count, fault)
	}
}

// checkOwnCounters wants the receiver to have counted what it answered.
func (o *overload) checkOwnCounters() {
	d, err := loadgen.Scrape(o.receiver.URL("/metrics/self"))
	if err != nil {
		o.t.Fatal(err)
	}
	values := d.Values()
	// Of two reasons, and the answers say no more than that they were busy.
	const busy = `cijob_receiver_requests_refused_total reason="busy"`
	values[`cijob_receiver_requests_refused_total reason="queue_full"`] += values[busy]
	for series, want := range map[string]int64{
		"cijob_receiver_jobs_recorded_total":                        o.load.Recorded.Load(),
		"cijob_receiver_jobs_duplicate_total":                       o.load.Duplicates.Load(),
		`cijob_receiver_requests_refused_total reason="queue_full"`: o.load.Refusals.Load(),
		"cijob_receiver_commit_failures_total":                      0,
		"cijob_receiver_queue_jobs":                                 0,
		`cijob_receiver_requests_refused_total reason="incomplete"`: 0,
		`cijob_receiver_requests_refused_total reason="ledger"`:     0,
	} {
		if value, ok := values[series]; !ok || value != float64(want) {
			o.t.Errorf("%s is %v, the answers said %d", series, value, want)
		}
	}
}

// checkReleased wants back what the overload took: no goroutine and no file stays.
func (o *overload) checkReleased() {
	const (
		goroutines = 10 // the scrape's own, timers of the runtime
		files      = 10 // connections to the ledger that were opened for scrapes, two files each
	)
	if err := harness.Eventually(func() error {
		d, err := loadgen.Scrape(o.receiver.URL("/metrics/self"))
		if err != nil {
			return err
		}
		now := d.Values()
		for name, more := range map[string]float64{"go_goroutines": goroutines, "process_open_fds": files} {
			// Before the overload there were the connections of single senders.
			if now[name] > o.before[name]+more-loadgen.SingleSenders {
				return fmt.Errorf("%s is %v, before the overload and without the %d senders it was %v",
					name, now[name], loadgen.SingleSenders, o.before[name]-loadgen.SingleSenders)
			}
		}
		return nil
	}); err != nil {
		o.t.Error(err)
	}
}

// checkRecords wants what was acknowledged to be in the ledger, once, and nothing
// else but what was never answered; and the counters to be what is in the ledger.
func (o *overload) checkRecords() {
	t, l := o.t, o.load
	page, err := harness.Fetch(o.receiver.URL("/metrics/jobs"))
	if err != nil {
		t.Fatal(err)
	}
	onMetrics := harness.Counters(page)
	recorded := readNumbers(t, o.receiver.Ledger)
	if missing := recorded.Without(); len(missing) == 0 {
		t.Fatal("the ledger is empty")
	}
	if missing := l.Acknowledged.Without(recorded); len(missing) > 0 {
		t.Errorf("%d jobs are acknowledged and not in the ledger, such as %v", len(missing), missing[:min(5, len(missing))])
	}
	if surplus := recorded.Without(&l.Acknowledged, &l.Unanswered); len(surplus) > 0 {
		t.Errorf("%d jobs are in the ledger and were not acknowledged, such as %v", len(surplus), surplus[:min(5, len(surplus))])
	}
	want := map[string]float64{}
	for _, job := range recorded.Without() {
		want[loadgen.Series(job)]++
	}
	for series, value := range onMetrics {
		if strings.HasPrefix(series, "cijob_runs_total") && value != want[series] {
			t.Errorf("%s is %v, the ledger has %v", series, value, want[series])
		}
	}
	for series, n := range want {
		if _, ok := onMetrics[series]; !ok {
			t.Errorf("%s is not on /metrics, the ledger has %v", series, n)
		}
	}
}

// readNumbers are the numbers of the jobs in a ledger.
func readNumbers(t *testing.T, path string) *loadgen.JobSet {
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
	recorded := &loadgen.JobSet{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		job, err := strconv.ParseInt(strings.TrimPrefix(id, loadgen.IDPrefix), 10, 64)
		if err != nil || recorded.Add(job) == 0 {
			t.Fatalf("job %s is in the ledger twice, or never was: %v", id, err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return recorded
}

// kill kills the receiver in an overload, starts it again while the senders go on, and
// wants the same of the ledger.
func (o *overload) kill(length time.Duration) {
	l := o.load
	var jobs harness.CounterWatch
	l.Calm.Store(false)
	l.Stop.Store(false)
	l.AddBatchSenders(firstBatchers)
	l.StartSingleSenders()
	time.Sleep(length)
	jobs.Scrape(o.t, o.receiver)
	l.Killed.Store(true)
	o.receiver.Kill()
	o.receiver.Start(o.t)
	l.Killed.Store(false)
	jobs.Scrape(o.t, o.receiver)
	taken := l.Taken.Load()
	time.Sleep(length)
	l.Calm.Store(true)
	l.Stop.Store(true)
	l.Senders.Wait()
	jobs.Scrape(o.t, o.receiver)
	o.checkFaults()
	taken = l.Taken.Load() - taken
	if l.Lost.Load() == 0 || taken == 0 || jobs.Count == 0 {
		o.t.Errorf("%d jobs were without an answer, %d acknowledged after the kill, %d scrapes: too little happened", l.Lost.Load(), taken, jobs.Count)
	}
	o.checkRecords()
	o.t.Logf("killed in an overload and started again: %d jobs without an answer, %d acknowledged afterwards", l.Lost.Load(), taken)
}

// report is the table of what was measured.
func (o *overload) report() {
	l := o.load
	took := (o.to - o.from).Seconds()
	slowest, scrapes := o.monitor.SlowestScrape()
	o.t.Logf(`%.0f s of overload, %d connections with batches of %v jobs, %d with single ones
  jobs offered        %10.0f /s
  jobs acknowledged   %10.0f /s, %.0f of them of the largest batches
  jobs refused        %10.1f %%
  before              %v
  in the overload     %v
  after               %v
  scrapes             %10d, the slowest %v
  resident memory     %10d MB at most
  processors          %10.2f of %d used by the receiver, %.2f by the senders, %.2f by others
  recovered after     %10.2f s
  jobs in the ledger  %10d`,
		took, l.Batches, slices.Compact(slices.Sorted(slices.Values(loadgen.BatchSizes[:]))), loadgen.SingleSenders,
		float64(o.offered)/took, float64(o.taken)/took, float64(l.HugeTaken.Load())/took,
		100*float64(o.offered-o.taken)/float64(o.offered),
		l.SentBetween(0, o.from), l.SentBetween(o.from, o.to), l.SentBetween(o.recovered, l.Clock()),
		scrapes, slowest.Round(time.Millisecond), o.monitor.PeakMemory(o.from, o.to)>>20,
		o.cpu/took, runtime.NumCPU(), o.ownCPU/took, o.othersCPU*float64(runtime.NumCPU()), (o.recovered - o.to).Seconds(), l.Recorded.Load())
}
