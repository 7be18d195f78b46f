// Package watch signals when a file may have changed, and uses no CPU in between. Package exporter reads
// the file at each signal.
//
//	w := watch.Start(path, watch.Options{})
//	for range w.C { ... read the file ... }
//
// A signal comes whenever the file may have been written, moved into place or made readable since the
// last signal, and once at the start. Signals are hints: several changes may cause one, some have no
// reason, and none is lost. If the path is a directory, [Options.Entries] selects the names of interest,
// and [Watcher.Changed] returns those that changed.
//
// Neither the file nor its directories need exist. On Linux the kernel reports changes in every existing
// directory of the path (inotify), so directories that are created, moved or replaced later are followed.
// Where it can't (network and FUSE file systems, exhausted limits, directories that may not be listed,
// other systems), the package looks at the file every [PollEvery].
package watch

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"
)

// PollEvery is the interval of polling where the system does not report changes.
const PollEvery = 250 * time.Millisecond

// settled is the age from which a file's time can be trusted to change with the
// next write; some file systems count in whole seconds.
const settled = 2 * time.Second

// Options say how to watch. The zero value is usable.
type Options struct {
	Log  *slog.Logger // nil: silent
	Poll bool         // poll, even if the system reports changes
	// Entries, if not nil, says that the path is a directory, and which names in it
	// are of interest.
	Entries func(name string) bool
}

// A Watcher watches one file, or the files of one directory, until it is closed.
type Watcher struct {
	// C carries the signals. It is never closed.
	C <-chan struct{}

	signals chan struct{} // C; holds one
	path    string
	log     *slog.Logger
	notify  notifier // nil: polling only
	stop    chan struct{}
	stopped sync.WaitGroup
	polling string // why, as last logged
	seen    look
	entries bool     // the path is a directory
	heard   []string // names that changed since the path was armed; empty: any, also of the path

	mu    sync.Mutex
	names map[string]bool // in a directory: what changed since Changed was called
	all   bool            // and what else did is not known
	took  time.Duration   // see Took
}

// A notifier gets changes from the system. One goroutine uses it; only interrupt may be called by others.
type notifier interface {
	// arm watches all of the path that exists. It returns an error if some changes
	// would not be reported.
	arm() error
	// wait returns after a change that requires arming the path and reading the file again, or
	// with an error if it was interrupted or failed.
	wait() error
	// interrupt makes the present and every later wait return.
	interrupt()
	close()
}

// Start watches the file with the given absolute path, or one that is relative to
// a directory that stays.
func Start(path string, o Options) *Watcher {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	w := &Watcher{path: path, log: o.Log, signals: make(chan struct{}, 1), stop: make(chan struct{}),
		entries: o.Entries != nil, names: make(map[string]bool), all: true, heard: []string{""}}
	w.C = w.signals
	if !o.Poll {
		var err error
		if w.notify, err = newNotifier(path, o.Entries, w.hear); err != nil {
			w.notify = nil
			w.explain(err)
		}
	}
	w.stopped.Go(w.run)
	return w
}

// maxNames is the largest number of names that Changed returns one by one.
const maxNames = 10_000

// hear keeps the changed names of a directory until the path is armed again. A look before that could
// miss changes that the new watches don't report.
func (w *Watcher) hear(name string) {
	if w.heard = append(w.heard, name); len(w.heard) > maxNames {
		w.heard = []string{""}
	}
}

// pass hands on what was heard.
func (w *Watcher) pass() {
	for _, name := range w.heard {
		w.changed(name)
	}
	w.heard = w.heard[:0]
}

// changed remembers what happened in a directory; an empty name is anything.
func (w *Watcher) changed(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if name == "" || len(w.names) >= maxNames {
		w.all = true
		clear(w.names)
	}
	if !w.all {
		w.names[name] = true
	}
}

// Changed returns the names in the directory that may have changed since it was last
// called. all says that any may have, and none is named.
func (w *Watcher) Changed() (names []string, all bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.names {
		names = append(names, name)
	}
	all, w.all = w.all, false
	clear(w.names)
	return names, all
}

// Took says how long it took to look at all of the directory. Where it is looked at
// regularly, that leaves most of the time for other things.
func (w *Watcher) Took(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.took = d
}

// pause is the time between two looks.
func (w *Watcher) pause() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(PollEvery, 20*w.took)
}

// Close ends watching. It returns when nothing of it is left.
func (w *Watcher) Close() {
	close(w.stop)
	if w.notify != nil {
		w.notify.interrupt()
	}
	w.stopped.Wait()
}

// run alternates between notification and polling, as the path allows at the moment. The
// order matters: the file is signalled after the path is armed, so that a change
// in between is not missed. Only where nothing but the file changed it is signalled at
// once, for the watches stay as they are.
func (w *Watcher) run() {
	if w.notify != nil {
		defer w.notify.close()
	}
	usable, told := w.notify != nil, false
	w.signal()
	for !w.closed() {
		if !usable || !w.arm() {
			w.poll()
			w.heard, told = append(w.heard[:0], ""), false
			continue
		}
		if !told {
			w.pass()
			w.signal()
		}
		err := w.notify.wait()
		if err != nil && !w.closed() {
			usable = false
			w.explain(err)
		}
		if told = err == nil && !slices.Contains(w.heard, ""); told {
			w.pass()
			w.signal()
			runtime.Gosched() // whoever reads the file goes first; arming can wait
		}
	}
}

// arm reports whether the system will report changes.
func (w *Watcher) arm() bool {
	if err := w.notify.arm(); err != nil {
		w.explain(err)
		return false
	}
	w.polling = ""
	return true
}

// explain logs why the file is polled, once as long as it stays the same.
func (w *Watcher) explain(err error) {
	if reason := err.Error(); reason != w.polling {
		w.polling = reason
		w.log.Info("changes are not announced here; the file is looked at regularly",
			"file", w.path, "every", PollEvery, "reason", reason)
	}
}

func (w *Watcher) signal() {
	select {
	case w.signals <- struct{}{}:
	default: // the last one wasn't taken yet, and stands for this one too
	}
}

func (w *Watcher) closed() bool {
	select {
	case <-w.stop:
		return true
	default:
		return false
	}
}

// poll looks at the file once after a while.
func (w *Watcher) poll() {
	timer := time.NewTimer(w.pause())
	defer timer.Stop()
	select {
	case <-w.stop:
		return
	case <-timer.C:
	}
	if w.entries {
		w.changed("") // any file may have changed
		w.signal()
		return
	}
	now := lookAt(w.path)
	if !now.same(w.seen) || now.fresh() {
		w.signal()
	}
	w.seen = now
}

// A look has the properties of a file that are known without reading it.
type look struct {
	info fs.FileInfo // nil: none
	err  string
}

func lookAt(path string) look {
	info, err := os.Stat(path)
	if err != nil {
		return look{err: err.Error()}
	}
	return look{info: info}
}

func (l look) same(other look) bool {
	if l.info == nil || other.info == nil {
		return l.info == nil && other.info == nil && l.err == other.err
	}
	return os.SameFile(l.info, other.info) && l.info.Size() == other.info.Size() &&
		l.info.Mode() == other.info.Mode() && l.info.ModTime().Equal(other.info.ModTime())
}

// fresh reports whether the file could be written again without a visible change.
func (l look) fresh() bool {
	return l.info != nil && time.Since(l.info.ModTime()).Abs() < settled
}
