package queries

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"ci-jobs-metrics/internal/exposition"
	"ci-jobs-metrics/internal/history"
	"ci-jobs-metrics/internal/job"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/receiver"
	"ci-jobs-metrics/internal/totals"
)

const (
	day      = 24 * time.Hour
	interval = 3 * time.Minute // between the scrapes of one target
	scrapeOf = "ci-jobs-metrics"
	budget   = 200_000 // of label sets
)

// A target is a receiver as Prometheus sees it while it is there.
type target struct {
	instance, pod string
	path          string        // "/metrics" if empty
	phase         time.Duration // of its scrapes after those of others
	fails         []outage      // it can't be scraped
	from, to      time.Duration // since the begin
	last          map[storage.SeriesRef]labels.Labels
}

// A swap is when a ledger takes the place of another: a new one, or one that was there before.
type swap struct {
	at time.Duration
	to int
}

// An outage is when something was not there, since the begin.
type outage struct{ from, to time.Duration }

func (o outage) at(t time.Duration) bool { return o.from <= t && t < o.to }

// A story says what happens while jobs are recorded and scraped.
type story struct {
	shape   history.Shape // it begins so many days before its end
	targets []*target
	gaps    []outage // Prometheus scrapes nothing
	stops   []outage // the receiver is stopped, and started again over the same ledger
	swaps   []swap   // another ledger takes the place of the first one, number 0
	// Each minute of these a job without a name is sent, and something that is no JSON.
	mistakes []outage
}

// A recording is what a Prometheus has of a story, and what is true.
type recording struct {
	db    *tsdb.DB
	begin time.Time
	end   time.Time
	jobs  []job.Job // in the order of their receipt
	in    []int     // which ledger each of them is in
	seen  []scraped // of jobs, in the order of time

	healthy []scraped // of receivers' own metrics

	mistaken []time.Time // when something was rejected and something refused
	story    story       // of which it is
}

// scraped says how many jobs there were when a receiver was scraped, and since which of
// them its ledger was there.
type scraped struct {
	at       time.Time
	instance string
	n        int       // jobs, of all ledgers
	ledger   int       // which of them
	made     time.Time // the ledger
	last     time.Time // job
}

// recorded is what is left to clean up when all tests are done.
var recorded []func()

// record plays a story: jobs are posted to a real receiver when they were received, and
// what it then exposes is appended to Prometheus' own storage at that time.
func record(t *testing.T, s story) *recording {
	t.Helper()
	options := tsdb.DefaultOptions()
	options.MinBlockDuration = (400 * day).Milliseconds() // all of it stays in memory
	options.MaxBlockDuration = options.MinBlockDuration
	options.RetentionDuration = 0
	options.WALSegmentSize = -1
	dir, err := os.MkdirTemp("", "tsdb") // outlives the test that made it: others ask it too
	if err != nil {
		t.Fatal(err)
	}
	db, err := tsdb.Open(dir, nil, nil, options, tsdb.NewDBStats())
	if err != nil {
		t.Fatal(err)
	}
	recorded = append(recorded, func() { _ = db.Close(); _ = os.RemoveAll(dir) })
	r := &recording{db: db, begin: s.shape.End.Add(-time.Duration(s.shape.Days) * day), end: s.shape.End, story: s}
	p := &player{t: t, story: s, recording: r, dir: t.TempDir(), series: map[string]*cached{}, made: map[int]time.Time{}, last: map[int]time.Time{}}
	p.play()
	return r
}

// A player plays a story.
type player struct {
	t *testing.T
	story
	*recording
	ledger   int               // which one it has
	dir      string            // where they are
	made     map[int]time.Time // when
	last     map[int]time.Time // when each received a job
	receiver *receiver.Receiver
	url      string
	clock    atomic.Int64
	series   map[string]*cached // by target and as the receiver writes it
	waiting  []job.Job
}

// cached is a series that was parsed before.
type cached struct {
	labels labels.Labels
	ref    storage.SeriesRef
	drop   bool
}

func (p *player) play() {
	next, stop := iter.Pull(p.shape.Entries())
	defer stop()
	defer func() { p.halt() }()
	entry, more := next()
	for since := time.Duration(0); !p.begin.Add(since).After(p.end); since += time.Minute {
		now := p.begin.Add(since)
		p.clock.Store(now.UnixNano())
		for more && !entry.Received.After(now) {
			p.waiting = append(p.waiting, entry.Job)
			entry, more = next()
		}
		if len(p.swaps) > 0 && since >= p.swaps[0].at {
			p.halt()
			p.ledger = p.swaps[0].to
			p.swaps = p.swaps[1:]
		}
		if happens(p.stops, since) {
			p.halt()
		} else {
			p.run()
			p.post()
			if happens(p.mistakes, since) {
				p.mistake()
			}
		}
		if happens(p.gaps, since) {
			continue
		}
		p.another(since)
		for _, target := range p.targets {
			if (since-target.phase)%interval != 0 {
				continue
			}
			if target.from <= since && since < target.to {
				p.scrape(target, now)
			} else {
				p.forget(target, now)
			}
		}
	}
}

func happens(outages []outage, at time.Duration) bool {
	for _, o := range outages {
		if o.at(at) {
			return true
		}
	}
	return false
}

// run starts the receiver if it does not run.
func (p *player) run() {
	if p.receiver != nil {
		return
	}
	config := ""
	r, err := receiver.New(p.t.Context(), receiver.Options{
		Web:       &web.FlagConfig{WebListenAddresses: &[]string{"127.0.0.1:0"}, WebConfigFile: &config, WebSystemdSocket: new(bool)},
		Ledger:    "sqlite:" + filepath.Join(p.dir, fmt.Sprint(p.ledger, ".db")),
		Retention: ledger.DefaultRetention,
		Totals:    totals.Settings{Bounds: bounds, Labels: []string{"version"}, MaxSets: budget},
		Families:  exposition.Labelled,
		Logger:    slog.New(slog.DiscardHandler),
		Now:       p.now,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.receiver, p.url = r, "http://"+r.Addresses()[0].String()
	if p.made[p.ledger].IsZero() {
		p.made[p.ledger] = p.now()
	}
}

func (p *player) now() time.Time { return time.Unix(0, p.clock.Load()).UTC() }

func (p *player) halt() {
	if p.receiver == nil {
		return
	}
	if err := p.receiver.Stop(context.WithoutCancel(p.t.Context())); err != nil {
		p.t.Fatal(err)
	}
	p.receiver = nil
}

// post sends what exporters have been waiting to deliver.
func (p *player) post() {
	if len(p.waiting) == 0 {
		return
	}
	var body bytes.Buffer
	for _, j := range p.waiting {
		report := map[string]string{"name": j.Name, "project": j.Project, "status": string(j.Status), "id": j.ID, "version": j.Version}
		if j.Timed {
			report["duration"] = strconv.FormatFloat(j.Duration.Seconds(), 'f', 6, 64)
		}
		if err := json.NewEncoder(&body).Encode(report); err != nil {
			p.t.Fatal(err)
		}
	}
	response, err := http.Post(p.url+"/steps", "application/x-ndjson", &body)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct{ Recorded int }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Recorded != len(p.waiting) {
		p.t.Fatalf("%d jobs: %s, %d recorded, %v", len(p.waiting), response.Status, answer.Recorded, err)
	}
	p.last[p.ledger] = p.now()
	p.jobs = append(p.jobs, p.waiting...)
	for range p.waiting {
		p.in = append(p.in, p.ledger)
	}
	p.waiting = p.waiting[:0]
}

func (p *player) mistake() {
	for _, body := range []string{`{"project":"group/app","status":"success"}`, `{"name":`} {
		response, err := http.Post(p.url+"/steps", "application/json", strings.NewReader(body))
		if err != nil {
			p.t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusBadRequest {
			p.t.Fatal(response.Status)
		}
	}
	p.mistaken = append(p.mistaken, p.now())
}

// scrape appends what a receiver exposes, as Prometheus with native and classic histograms does.
func (p *player) scrape(at *target, now time.Time) {
	if p.receiver == nil || happens(at.fails, now.Sub(p.begin)) {
		p.forget(at, now)
		p.up(at, now, 0)
		return
	}
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.url+cmp.Or(at.path, "/metrics"), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	request.Header.Set("Accept", exposition.Protobuf.ContentType())
	response, err := plain.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		p.t.Fatalf("scrape: %s, %v", response.Status, err)
	}
	parser, err := textparse.New(body, response.Header.Get("Content-Type"), nil, textparse.ParserOptions{KeepClassicOnClassicAndNativeHistograms: true})
	if err != nil {
		p.t.Fatal(err)
	}
	app := p.db.AppenderV2(p.t.Context())
	current := make(map[storage.SeriesRef]labels.Labels, len(at.last))
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			p.t.Fatal(err)
		}
		var sample sample
		switch entry {
		case textparse.EntrySeries:
			sample.name, _, sample.v = parser.Series()
		case textparse.EntryHistogram:
			sample.name, _, sample.h, sample.fh = parser.Histogram()
		default:
			continue
		}
		if s := p.append(app, at, parser, sample, now); s != nil {
			current[s.ref] = s.labels
		}
	}
	for ref, ls := range at.last {
		if _, ok := current[ref]; !ok {
			p.stale(app, ref, ls, now)
		}
	}
	at.last = current
	if err := app.Commit(); err != nil {
		p.t.Fatal(err)
	}
	p.up(at, now, 1)
	if at.path != "/metrics/jobs" {
		p.healthy = append(p.healthy, scraped{at: now, instance: at.instance})
	}
	if at.path == "/metrics/self" {
		return
	}
	p.seen = append(p.seen, scraped{now, at.instance, len(p.jobs), p.ledger, p.made[p.ledger], p.last[p.ledger]})
}

// plain has answers not compressed: here that would only take time.
var plain = &http.Client{Transport: &http.Transport{DisableCompression: true}}

// Who wants no metrics of the Go runtime drops them in the scrape's configuration.
var dropped = [][]byte{[]byte("go_"), []byte("process_")}

func (p *player) append(app storage.AppenderV2, at *target, parser textparse.Parser, s sample, now time.Time) *cached {
	key := at.instance + "\xff" + string(s.name)
	series := p.series[key]
	if series == nil {
		series = &cached{}
		for _, prefix := range dropped {
			series.drop = series.drop || bytes.HasPrefix(s.name, prefix)
		}
		var ls labels.Labels
		parser.Labels(&ls)
		series.labels = at.label(ls)
		p.series[key] = series
	}
	if series.drop {
		return nil
	}
	ref, err := app.Append(series.ref, series.labels, 0, now.UnixMilli(), s.v, s.h, s.fh, storage.AppendV2Options{})
	if err != nil {
		p.t.Fatalf("%s at %v: %v", series.labels, now, err)
	}
	series.ref = ref
	return series
}

// label adds what Prometheus knows of the target.
func (at *target) label(ls labels.Labels) labels.Labels {
	all := map[string]string{"job": scrapeOf, "instance": at.instance, "pod": at.pod}
	ls.Range(func(l labels.Label) { all[l.Name] = string([]byte(l.Value)) })
	return labels.FromMap(maps.Clone(all))
}

// forget marks a target's series as gone.
func (p *player) forget(at *target, now time.Time) {
	app := p.db.AppenderV2(p.t.Context())
	for ref, ls := range at.last {
		p.stale(app, ref, ls, now)
	}
	at.last = nil
	if err := app.Commit(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *player) stale(app storage.AppenderV2, ref storage.SeriesRef, ls labels.Labels, now time.Time) {
	if _, err := app.Append(ref, ls, 0, now.UnixMilli(), math.Float64frombits(value.StaleNaN), nil, nil, storage.AppendV2Options{}); err != nil {
		p.t.Fatal(err)
	}
}

// another ledger is scraped too, as another scrape job. Nobody asks for it, so that it must
// be in no answer.
func (p *player) another(since time.Duration) {
	if since%interval != 0 {
		return
	}
	app := p.db.AppenderV2(p.t.Context())
	series := []string{"__name__", "", "job", "another", "instance", "10.1.0.1:8080", "pod", "receiver-z"}
	for _, s := range []struct {
		name   string
		labels []string
		v      float64
	}{
		{"cijob_ledger_created_timestamp_seconds", nil, 1.7e9},
		{"cijob_receiver_ledger_writable", nil, 0},
		{"cijob_receiver_last_job_timestamp_seconds", nil, 4e9},
		{"cijob_receiver_label_sets", nil, 1},
		{"cijob_receiver_label_sets_limit", nil, 1e6},
		{"cijob_receiver_build_info", nil, 1},
		{"cijob_runs_total", []string{"template", "docker_build", "project", "elsewhere", "status", "success", "version", "9"}, since.Hours()},
		{"cijob_duration_seconds_sum", []string{"template", "docker_build", "status", "success"}, 1000 * since.Hours()},
		{"cijob_duration_seconds_count", []string{"template", "docker_build", "status", "success"}, since.Hours()},
		{"cijob_duration_seconds_bucket", []string{"template", "docker_build", "status", "success", "le", "60.0"}, 0},
		{"cijob_duration_seconds_bucket", []string{"template", "docker_build", "status", "success", "le", "+Inf"}, since.Hours()},
	} {
		series[1] = s.name
		ls := labels.FromStrings(append(slices.Clone(series), s.labels...)...)
		if _, err := app.Append(0, ls, 0, p.begin.Add(since).UnixMilli(), math.Floor(s.v), nil, nil, storage.AppendV2Options{}); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := app.Commit(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *player) up(at *target, now time.Time, v float64) {
	app := p.db.AppenderV2(p.t.Context())
	ls := at.label(labels.FromStrings(model.MetricNameLabel, "up"))
	if _, err := app.Append(0, ls, 0, now.UnixMilli(), v, nil, nil, storage.AppendV2Options{}); err != nil {
		p.t.Fatal(err)
	}
	if err := app.Commit(); err != nil {
		p.t.Fatal(err)
	}
}

// edge is the last scrape up to a moment, if it was within the hour before.
func (r *recording) edge(at time.Time) (s scraped, ok bool) {
	n, found := slices.BinarySearchFunc(r.seen, at, func(s scraped, at time.Time) int { return s.at.Compare(at) })
	if found {
		n++
	}
	if n == 0 {
		return s, false
	}
	return r.seen[n-1], r.seen[n-1].at.After(at.Add(-time.Hour))
}

// between are the jobs that the ledger of the end recorded between the last scrape up to
// a period's begin and the last up to its end. They are not known where there was none
// within the hour, unless the ledger was made in between; nor for the hour in which
// another one was there too.
func (r *recording) between(begin, end time.Time) (_ []job.Job, known bool) {
	to, ok := r.edge(end)
	if !ok || r.mixed(end) {
		return nil, false
	}
	from, ok := r.edge(begin)
	switch {
	case ok && from.ledger == to.ledger && !r.mixed(begin):
		return r.of(to.ledger, from.n, to.n), true
	case to.made.After(begin):
		return r.of(to.ledger, 0, to.n), true
	}
	return nil, false
}

// of are those of the jobs from one number up to another that are in a ledger.
func (r *recording) of(ledger, from, to int) (jobs []job.Job) {
	if len(r.story.swaps) == 0 {
		return r.jobs[from:to]
	}
	for i := from; i < to; i++ {
		if r.in[i] == ledger {
			jobs = append(jobs, r.jobs[i])
		}
	}
	return jobs
}

// mixed says whether two ledgers were scraped within the hour.
func (r *recording) mixed(at time.Time) bool {
	last, _ := r.edge(at)
	for _, s := range slices.Backward(r.seen) {
		if !s.at.After(at.Add(-time.Hour)) {
			return false
		}
		if !s.at.After(at) && s.ledger != last.ledger {
			return true
		}
	}
	return false
}

// hadDurations says whether a ledger had a duration when it was scraped up to a moment, or was made later.
func (r *recording) hadDurations(at time.Time) bool {
	s, ok := r.edge(at)
	return !ok || slices.ContainsFunc(r.of(s.ledger, 0, s.n), func(j job.Job) bool { return j.Timed })
}

// alive is how many targets were scraped within the five minutes before.
func (r *recording) alive(at time.Time) int {
	instances := map[string]bool{}
	for _, s := range r.healthy {
		if !s.at.After(at) && s.at.After(at.Add(-5*time.Minute)) {
			instances[s.instance] = true
		}
	}
	return len(instances)
}

// A sample is what a parser has read of a series.
type sample struct {
	name []byte // with labels, as it was written
	v    float64
	h    *histogram.Histogram
	fh   *histogram.FloatHistogram
}
