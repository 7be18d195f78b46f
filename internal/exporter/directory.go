package exporter

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"ci-jobs-metrics/internal/exporter/file"
	"ci-jobs-metrics/internal/exporter/watch"
)

// Limits of what is read ahead of delivery. The rest waits in its files.
const (
	readAheadBytes = 1 << 20
	unsettled      = 2 * time.Second // a file that was written since then may be written again without a visible change
	deleteEvery    = time.Hour
	// maxOpen is how many files that can't be settled, for example because they are
	// empty, are kept in mind. The others are found again when they change. It is more
	// than can wait for the receiver.
	maxOpen = 2 * maxPending
)

// A directory is what [Run] does with a directory in place of a file: each
// <job id>.json in it is the file of one job, with all that holds for one. The job's
// id is the file's name, and nothing about the job is known from the environment.
//
// What was delivered is in its memory; a file that isn't settled is a source among
// open. All of it belongs to one goroutine but for what notes gets.
type directory struct {
	Options
	delivery *Delivery
	memory   *memory
	open     map[string]*jobFile

	queue   []string // names to look at, in order
	queued  map[string]bool
	notes   chan struct{} // holds one: there is something in done
	mu      sync.Mutex
	done    []Item // that were settled
	scanned bool
	deleted time.Time // when it was last looked for files to delete
	trouble string    // why the directory can't be listed, as last logged
	more    bool      // that there are too many files was logged
	full    bool      // that there are too many unsettled files was logged
	odd     int       // files whose names are no job's, as far as they were logged
}

// A jobFile is a file of the directory that isn't settled.
type jobFile struct {
	*source
	waiting  int // items that were queued and are not settled
	size     int64
	modified time.Time
}

func newDirectory(o Options) *directory {
	o = o.complete()
	if o.Memory == "" {
		o.Memory = filepath.Join(o.Path, memoryName)
	}
	d := &directory{
		Options: o, delivery: NewDelivery(o.Send, o.Backoff, o.Log), memory: remember(o.Memory, o.Log),
		open: make(map[string]*jobFile), queued: make(map[string]bool), notes: make(chan struct{}, 1),
	}
	d.delivery.report.kept = true
	d.delivery.settled = func(items []Item) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.done = append(d.done, items...)
		poke(d.notes)
	}
	return d
}

func (d *directory) run(ctx context.Context) error {
	d.Log.Info("waiting for jobs' files", "directory", d.Path, "receiver", d.Receiver)
	if d.ReportMissing {
		d.Log.Warn("--report-missing does nothing for a directory: nobody says which jobs there were")
	}
	stop := d.delivery.start(context.Background()) // delivery goes on when ctx is done
	watcher := watch.Start(d.Path, watch.Options{Log: d.Log, Poll: d.Poll, Entries: isJobFile})
	defer watcher.Close()
	for ctx.Err() == nil {
		select {
		case <-watcher.C:
			d.changed(watcher)
		case <-d.notes:
		case <-ctx.Done():
		}
		d.work(ctx)
	}
	d.finish(watcher)
	stop()
	return d.outcome()
}

// once delivers what is in the files now. A directory without files is no error:
// there may be none yet, or all may have been delivered before.
func (d *directory) once(ctx context.Context) error {
	if _, err := os.Stat(d.Path); err != nil {
		return fmt.Errorf("%w: %w", ErrNothing, err)
	}
	ctx, cancel := context.WithTimeout(ctx, d.ShutdownTimeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	stop := d.delivery.start(ctx)
	d.delivery.Hurry(deadline)
	d.scan()
	for d.work(ctx); !d.idle() && ctx.Err() == nil; d.work(ctx) {
		select {
		case <-d.notes:
		case <-ctx.Done():
		}
	}
	stop()
	faulty := slices.ContainsFunc(d.unsettled(), func(name string) bool { return d.open[name].faulty })
	if err := d.outcome(); err != nil {
		return err
	}
	if d.delivery.Lost() > 0 || faulty {
		return ErrRejected
	}
	return nil
}

// finish ends the work after SIGTERM, before the pod is killed.
func (d *directory) finish(watcher *watch.Watcher) {
	ctx, cancel := context.WithTimeout(context.Background(), d.ShutdownTimeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	d.scan() // also for changes that the watcher has not reported yet
	d.delivery.Hurry(deadline)
	d.work(ctx)
	half := time.NewTimer(min(lastWatch, d.ShutdownTimeout))
	defer half.Stop()
	for waiting := true; !d.idle() || waiting && d.isHalf(); d.work(ctx) {
		select {
		case <-watcher.C:
			d.changed(watcher)
		case <-d.notes:
		case <-half.C:
			waiting = false
			d.scan()
		case <-ctx.Done():
			return
		}
	}
}

// changed queues what the watcher has heard of.
func (d *directory) changed(watcher *watch.Watcher) {
	names, all := watcher.Changed()
	if all || d.DeleteAfter > 0 && d.deleteDue() {
		start := time.Now()
		d.scan()
		watcher.Took(time.Since(start))
	}
	slices.SortFunc(names, byJob)
	d.enqueue(names...)
}

func (d *directory) enqueue(names ...string) {
	for _, name := range names {
		if !d.queued[name] {
			d.queued[name] = true
			d.queue = append(d.queue, name)
		}
	}
}

// work looks at files for as long as what they hold is soon sent.
func (d *directory) work(ctx context.Context) {
	for ctx.Err() == nil {
		d.settle()
		if len(d.queue) == 0 {
			d.queue = nil // a long one's memory is not kept
			return
		}
		if _, bytes := d.delivery.Backlog(); bytes >= readAheadBytes {
			return // a settled item brings us back
		}
		name := d.queue[0]
		if !d.look(name) {
			return
		}
		d.queue = d.queue[1:]
		delete(d.queued, name)
	}
}

// look reads a file and queues what is new in it. It returns false if that has to
// wait.
func (d *directory) look(name string) bool {
	path := filepath.Join(d.Path, name)
	f := d.open[name]
	if f == nil {
		f = &jobFile{source: newSource(path, d.intake(name), d.sourceLog())}
	}
	content := d.read(f)
	if content == nil {
		d.open[name] = f
		d.drop(name, f.absent)
		return true
	}
	if items, _ := d.delivery.Backlog(); items > 0 && items+len(content.Items) > maxPending {
		return false
	}
	d.open[name] = f
	fresh := f.take(content)
	for i := range fresh {
		fresh[i].file = name
	}
	f.waiting += len(fresh)
	f.size, f.modified = content.Size, content.Modified
	d.delivery.Add(fresh...)
	d.close(name)
	return true
}

// read reads a file. It does not follow links, because the watcher would not report changes of their
// targets.
func (d *directory) read(f *jobFile) *file.Content {
	if info, err := os.Lstat(f.path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		f.absent, f.half, f.empty, f.faulty = false, false, false, false
		f.refuse("it is a symbolic link, which is not followed in a directory of jobs' files: write or move the file itself there")
		return nil
	}
	return f.read()
}

// intake is for one file. Of the environment it knows what is the same for all jobs,
// unless the file is that of the very job in whose pod the exporter runs.
func (d *directory) intake(name string) *Intake {
	job := strings.TrimSuffix(name, ".json")
	own := d.Environ.value("CI_JOB_ID") == job
	env := func(variable string) (string, bool) {
		switch variable {
		case "CI_JOB_ID":
			return job, true
		case "CI_SERVER_HOST", "CI_SERVER_URL":
			return d.Environ(variable)
		case "HOSTNAME", "CI_JOB_STARTED_AT": // the next exporter's is another; and the name says whose file it is
			return "", false
		}
		if own {
			return d.Environ(variable)
		}
		return "", false
	}
	in := NewIntake(env, d.Log)
	in.identity = name
	in.settled = func(key uint64) bool { return d.memory.files[name].has(key) }
	return in
}

// settle notes which items need not be sent again.
func (d *directory) settle() {
	d.mu.Lock()
	done := d.done
	d.done = nil
	d.mu.Unlock()
	var names []string
	for _, item := range done {
		d.memory.add(item.file, item.key)
		d.open[item.file].waiting--
		if len(names) == 0 || names[len(names)-1] != item.file {
			names = append(names, item.file)
		}
	}
	for _, name := range names {
		if d.open[name] != nil {
			d.close(name)
		}
	}
}

// close settles a file if nothing of it waits, and remembers it.
func (d *directory) close(name string) {
	f := d.open[name]
	if f.waiting > 0 {
		return
	}
	complete := !f.half && f.trouble == "" && !f.absent
	if r := d.memory.files[name]; complete || r != nil {
		now := record{size: f.size, modified: f.modified.UnixNano(), complete: complete}
		d.memory.set(name, now)
	}
	d.drop(name, complete || f.absent)
}

// drop forgets a file that is over, or one more than are kept in mind. Those with items
// that wait still need it.
func (d *directory) drop(name string, over bool) {
	if d.open[name].waiting == 0 && (over || len(d.open) > maxOpen) {
		delete(d.open, name)
	}
}

// sourceLog is where the troubles of one more file go: to nowhere if there are so many
// that it is forgotten which were logged.
func (d *directory) sourceLog() *slog.Logger {
	if len(d.open) < maxOpen {
		return d.Log
	}
	if !d.full {
		d.full = true
		d.Log.Warn("there are more files that are empty, not complete or can't be read than are kept in mind: "+
			"troubles of the others are not logged", "files", maxOpen, "directory", d.Path)
	}
	return slog.New(slog.DiscardHandler)
}

// idle reports whether there is nothing to send and nothing to look at.
func (d *directory) idle() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	items, _ := d.delivery.Backlog()
	return items == 0 && len(d.queue) == 0 && len(d.done) == 0
}

func (d *directory) isHalf() bool {
	for _, f := range d.open {
		if f.half {
			return true
		}
	}
	return false
}

// unsettled are the names of open files, in order.
func (d *directory) unsettled() []string {
	names := make([]string, 0, len(d.open))
	for name := range d.open {
		names = append(names, name)
	}
	slices.SortFunc(names, byJob)
	return names
}

// outcome says whether something was not delivered. It is there at the next start.
func (d *directory) outcome() error {
	d.settle()
	d.memory.close()
	pending, unread := d.delivery.Close(), 0
	for _, name := range d.unsettled() {
		f := d.open[name]
		if f.half || f.trouble != "" {
			if unread++; unread <= shownProblems {
				f.sayHalf()
			}
		}
	}
	if len(d.queue) > 0 {
		d.Log.Error("not looked at in time: they are at the next start", "files", len(d.queue))
	}
	switch {
	case pending > 0 || len(d.queue) > 0:
		return ErrUndelivered
	case unread > 0:
		return ErrUnread
	}
	return nil
}
