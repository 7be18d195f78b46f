// Package totals is the fold behind the metrics: the running counters and
// histograms of all jobs that were ever recorded.
//
// Rows of the ledger come in through [Totals.Apply], each once and in row
// order; who calls it keeps count of how far it has read. What goes out is, to the
// exposition, a [Feed], and a [Checkpoint] to the ledger: both only what moved since
// the last time. [Totals.Load] takes all of it back at the next start.
//
// There is a budget of label sets, behind which values count as [Other]: budget.go.
// [Totals.Configure] and [Totals.Forget] are the two ways in which a counter ends.
//
// A total is never rebuilt from the jobs that retention has left: counters only
// grow, across restarts too.
package totals

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"ci-jobs-metrics/internal/job"
)

// A RunKey names one counter: one label set of the jobs' metrics.
type RunKey struct {
	Template string
	Project  string
	Status   job.Status
	Labels   string // the operator's labels as EncodeLabels writes them; empty: none has a value
}

// Run is how many jobs of one label set were recorded.
type Run struct {
	RunKey
	Count   uint64
	Created time.Time // receipt of the first
	// Since is the row number of the first: jobs of later rows count here. 0 where a
	// program stored it that did not know of this.
	Since int64
}

// A DurationKey names one histogram.
type DurationKey struct {
	Template string
	Status   job.Status
	Labels   string // as in RunKey
}

// Histogram is the histogram of the jobs that count in k.
func (k RunKey) Histogram() DurationKey {
	return DurationKey{Template: k.Template, Status: k.Status, Labels: k.Labels}
}

// Duration is the distribution of the durations of one label set's jobs. Both
// ways of counting, the operator's classic bounds and the exponential buckets,
// have seen the same jobs.
type Duration struct {
	DurationKey
	Created time.Time // receipt of the first job, or of the first after the bounds changed
	Count   uint64
	Sum     int64    // microseconds; stays at its largest value rather than wrap
	Buckets []uint64 // jobs per bound of Bounds, not added up, and one more for the rest
	Exp     Exponential
	// Exemplars are the last job of each of Buckets that had an id; nil if there is
	// none yet. They are not stored: Prometheus has those of before a restart.
	Exemplars []Exemplar
}

// An Exemplar is one job of a bucket.
type Exemplar struct {
	ID       string    // the job's idempotency key; empty: the bucket has no exemplar
	Duration int64     // microseconds
	At       time.Time // receipt
}

// Settings are what the operator decides.
type Settings struct {
	Bounds  []float64 // upper bounds of the histograms, seconds, ascending, without +Inf
	Labels  []string  // labels beyond template, project and status: of LabelNames
	MaxSets int       // from how many label sets on new ones fold, see Targets; 0: never
}

// Totals holds all counters and histograms. Its methods may be called from
// several goroutines.
type Totals struct {
	mu       sync.Mutex
	settings Settings // its slices are replaced, never changed in place
	symbols  symbols
	runs     runs
	others   int // of runs, those that isOther

	durations   []*duration
	durationsOf map[DurationKey]uint32
	exemplars   int // histograms that have some

	// What the next checkpoint has to store, each once.
	unsavedRuns      []uint32
	unsavedDurations []uint32
	dropped          bool // all stored histograms are void
	replaced         bool // everything stored is void
	saveSettings     bool // even if nothing else moved

	feed Feed

	lastJob   time.Time // latest receipt
	exactFrom int64
	forgotten uint64
	folded    Folded

	// Of labelsOf:
	labelText   []byte
	encoded     map[string]string
	encodedSize int
}

type duration struct {
	Duration
	state state
}

// New returns empty totals.
func New(s Settings) *Totals {
	return &Totals{
		settings:    s.clone(),
		symbols:     newSymbols(),
		runs:        newRuns(),
		durationsOf: map[DurationKey]uint32{},
		dropped:     true, // the first checkpoint stores the settings, even if no job came by then
		exactFrom:   1,
		encoded:     map[string]string{},
	}
}

// Apply adds the job of a row, received at the given time.
func (t *Totals) Apply(row int64, received time.Time, j *job.Job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.add(t.place(j, received.UnixMicro(), row), received, j)
}

// ApplyTo is Apply for who knows where the job counts: a replay of what was decided
// once.
func (t *Totals) ApplyTo(k RunKey, row int64, received time.Time, j *job.Job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	number, ok := t.lookUp(k)
	if !ok {
		number = t.begin(k, received.UnixMicro(), row)
	}
	t.add(number, received, j)
}

func (t *Totals) add(number uint32, received time.Time, j *job.Job) {
	if received.After(t.lastJob) {
		t.lastJob = received
	}
	r := t.runs.at(number)
	r.count++
	t.touchRun(number)
	if j.Timed {
		t.addDuration(DurationKey{
			Template: t.symbols.texts[r.template],
			Status:   job.Status(t.symbols.texts[r.status]),
			Labels:   t.symbols.texts[r.labels],
		}, received, j)
	}
}

func (t *Totals) addDuration(k DurationKey, received time.Time, j *job.Job) {
	number, ok := t.durationsOf[k]
	if !ok {
		number = t.newDuration(Duration{DurationKey: k, Created: received, Buckets: make([]uint64, len(t.settings.Bounds)+1)})
	}
	d := t.durations[number]
	bucket := d.observe(t.settings.Bounds, j.Duration)
	if j.ID != "" {
		t.setExemplar(d, bucket, Exemplar{strings.Clone(j.ID), j.Duration.Microseconds(), received})
	}
	t.touchDuration(number)
}

func (t *Totals) newDuration(d Duration) uint32 {
	number := uint32(len(t.durations))
	t.durations = append(t.durations, &duration{Duration: d})
	t.durationsOf[d.DurationKey] = number
	return number
}

// maxExemplars bounds the memory that ids may take: that of the first histograms.
const maxExemplars = 20_000

func (t *Totals) setExemplar(d *duration, bucket int, e Exemplar) {
	if d.Exemplars == nil {
		if t.exemplars >= maxExemplars {
			return
		}
		t.exemplars++
		d.Exemplars = make([]Exemplar, len(d.Buckets))
	}
	d.Exemplars[bucket] = e
}

func (t *Totals) touchDuration(number uint32) {
	d := t.durations[number]
	if d.state&unsaved == 0 {
		d.state |= unsaved
		t.unsavedDurations = append(t.unsavedDurations, number)
	}
	if d.state&untold == 0 && t.feed.knowsDuration(number) {
		d.state |= untold
		t.feed.durations = append(t.feed.durations, number)
	}
}

// observe counts a duration and returns the bucket that it fell into.
func (d *Duration) observe(bounds []float64, took time.Duration) int {
	us := took.Microseconds()
	d.Count++
	d.addSum(us)
	// A bound is inclusive: 60 s is le="60".
	i, _ := slices.BinarySearch(bounds, float64(us)/1e6)
	d.Buckets[i]++
	d.Exp.observe(us)
	return i
}

func (d *Duration) addSum(us int64) {
	if d.Sum += us; d.Sum < 0 {
		d.Sum = math.MaxInt64
	}
}

// A Snapshot is all totals at one moment, no two entries of different moments.
// Its contents belong to the caller; entries are in no particular order.
type Snapshot struct {
	Settings
	Runs      []Run
	Durations []Duration
}

// Snapshot copies all totals, while jobs wait. Who comes again and again takes the
// Feed.
func (t *Totals) Snapshot() *Snapshot {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &Snapshot{
		Settings:  t.settings.clone(),
		Runs:      make([]Run, 0, t.runs.len),
		Durations: make([]Duration, 0, len(t.durations)),
	}
	for n := range t.runs.len {
		s.Runs = append(s.Runs, t.export(t.runs.at(uint32(n))))
	}
	for _, d := range t.durations {
		s.Durations = append(s.Durations, d.clone())
	}
	return s
}

// Stats is the size of the totals and when they last moved.
type Stats struct {
	Runs, Durations int // label sets
	MaxSets         int // of Settings
	Folded          Folded
	LastJob         time.Time // receipt of the last job applied or loaded; zero if none
}

// Stats returns the current numbers.
func (t *Totals) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Stats{Runs: t.runs.len, Durations: len(t.durations), MaxSets: t.settings.MaxSets,
		Folded: t.folded, LastJob: t.lastJob}
}

// Compare orders runs by template, project, status as in job.Statuses, labels.
func (k RunKey) Compare(o RunKey) int {
	return cmp.Or(
		cmp.Compare(k.Template, o.Template),
		cmp.Compare(k.Project, o.Project),
		cmp.Compare(k.Status.Rank(), o.Status.Rank()),
		cmp.Compare(k.Labels, o.Labels))
}

// Compare orders histograms by template, status as in job.Statuses, labels.
func (k DurationKey) Compare(o DurationKey) int {
	return cmp.Or(
		cmp.Compare(k.Template, o.Template),
		cmp.Compare(k.Status.Rank(), o.Status.Rank()),
		cmp.Compare(k.Labels, o.Labels))
}
