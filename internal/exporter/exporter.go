// Package exporter brings the news of a finished CI job from the file in which the
// job wrote it to the receiver. It runs beside every job of a company, so it waits
// without costing anything, survives whatever the file holds, and sends on sight,
// because the pod may be gone within a second.
//
// It has three parts. Package watch signals that the file may have changed; package
// file reads what JSON objects are in it; [Delivery] sends them, retrying for as
// long as it lives. Between reading and sending stands the [Intake]: it leaves out
// what was sent before or is another job's, fills in from the environment what the
// file doesn't say, and gives each item the id by which the receiver counts it once.
//
// cmd/exporter calls [Run], which ends only when its context does: the pod's
// SIGTERM. Then it looks at the file once more, pending items get their last attempts,
// and a job without a readable file is reported as unknown.
package exporter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"ci-jobs-metrics/internal/exporter/watch"
)

// DefaultShutdownTimeout fits into the grace period that clusters use to give.
const DefaultShutdownTimeout = 5 * time.Second

// lastWatch is the time in which the file may still be completed after SIGTERM: its writer got SIGTERM
// at the same moment.
const lastWatch = 500 * time.Millisecond

// Options say what to send where. Path, Send, Environ and Log are needed.
type Options struct {
	Path            string // of the file
	Send            Sender
	Receiver        string // for the log: where Send sends to
	Environ         Environ
	Log             *slog.Logger
	ShutdownTimeout time.Duration                  // 0: DefaultShutdownTimeout
	ReportMissing   bool                           // also for jobs without CI_METRICS_NAME
	Poll            bool                           // don't rely on the system's announcements
	Backoff         func(failed int) time.Duration // nil: Backoff

	Directory   bool          // Path is a directory with a file per job: <job id>.json
	Memory      string        // file that remembers what was delivered of a directory; empty: .delivered in it
	DeleteAfter time.Duration // delete files of a directory that are delivered and as old; 0: never
}

// Errors of Run and Once. The log names the lost items.
var (
	ErrUndelivered = errors.New("not everything was delivered in time")
	ErrUnread      = errors.New("the file could not be read to its end")
	ErrNothing     = errors.New("there is nothing to deliver")
	ErrRejected    = errors.New("not everything was accepted")
)

// Run sends what is in the file, and what is added to it, until ctx is done, and
// then for as long as something is pending, at most for the shutdown timeout. It
// never ends before ctx does.
func Run(ctx context.Context, o Options) error {
	if o.Directory {
		return newDirectory(o).run(ctx)
	}
	e := newExporter(o)
	e.Log.Info("waiting for the job's file", "file", e.Path, "receiver", e.Receiver)
	stop := e.delivery.start(context.Background()) // delivery goes on when ctx is done
	watcher := watch.Start(e.Path, watch.Options{Log: e.Log, Poll: e.Poll})
	defer watcher.Close()
	for ctx.Err() == nil {
		select {
		case <-watcher.C:
			e.look()
		case <-ctx.Done():
		}
	}
	e.finish(watcher.C)
	stop()
	return e.outcome()
}

// Once sends what is in the file now. It returns without error once all of it is
// recorded, and gives up when ctx is done or the shutdown timeout has passed.
func Once(ctx context.Context, o Options) error {
	if o.Directory {
		return newDirectory(o).once(ctx)
	}
	e := newExporter(o)
	e.look()
	switch {
	case e.absent:
		return fmt.Errorf("%w: %s does not exist", ErrNothing, e.Path)
	case e.half && !e.seen:
		e.sayHalf()
		return fmt.Errorf("%w: the JSON in %s is not complete", ErrNothing, e.Path)
	case e.trouble == "" && !e.seen:
		return fmt.Errorf("%w: no job in %s", ErrNothing, e.Path)
	}
	ctx, cancel := context.WithTimeout(ctx, e.ShutdownTimeout)
	defer cancel()
	stop := e.delivery.start(ctx)
	deadline, _ := ctx.Deadline()
	e.delivery.Hurry(deadline)
	select {
	case <-e.delivery.Idle():
	case <-ctx.Done():
	}
	stop()
	e.sayHalf()
	if err := e.outcome(); err != nil {
		return err
	}
	if e.delivery.Lost() > 0 || e.faulty {
		return ErrRejected
	}
	return nil
}

type exporter struct {
	Options
	*source
	delivery *Delivery
}

// complete fills in what the options leave out.
func (o Options) complete() Options {
	if o.ShutdownTimeout == 0 {
		o.ShutdownTimeout = DefaultShutdownTimeout
	}
	if abs, err := filepath.Abs(o.Path); err == nil {
		o.Path = abs
	}
	if o.Backoff == nil {
		o.Backoff = Backoff
	}
	return o
}

func newExporter(o Options) *exporter {
	o = o.complete()
	return &exporter{
		Options:  o,
		source:   newSource(o.Path, NewIntake(o.Environ, o.Log), o.Log),
		delivery: NewDelivery(o.Send, o.Backoff, o.Log),
	}
}

// look reads the file and queues what is new in it.
func (e *exporter) look() {
	if content := e.read(); content != nil {
		e.delivery.Add(e.take(content)...)
	}
}

// finish ends the work after SIGTERM, before the pod is killed.
func (e *exporter) finish(changed <-chan struct{}) {
	deadline := time.Now().Add(e.ShutdownTimeout)
	e.look()
	e.delivery.Hurry(deadline)
	e.watchOn(changed, deadline)
	e.sayHalf()
	if !e.seen {
		e.reportMissing()
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	for {
		select {
		case <-e.delivery.Idle():
			return
		case <-changed:
			e.look()
		case <-timer.C:
			return
		}
	}
}

// watchOn gives a file that isn't there or isn't complete a little more time.
func (e *exporter) watchOn(changed <-chan struct{}, deadline time.Time) {
	timer := time.NewTimer(min(lastWatch, time.Until(deadline)))
	defer timer.Stop()
	for !e.seen || e.half {
		select {
		case <-changed:
			e.look()
		case <-timer.C:
			e.look() // where changes aren't announced
			return
		}
	}
}

// reportMissing reports the job as unknown if it opted in.
// Timeouts, evictions and failed downloads end a job before its after_script.
func (e *exporter) reportMissing() {
	if !e.ReportMissing && !e.Environ.optedIn() {
		e.Log.Info("no report of this job was seen, and it is not counted: its CI_METRICS_NAME is not set",
			"CI_METRICS_NAME", e.Environ.raw("CI_METRICS_NAME"))
		return
	}
	item, ok := e.intake.Missing(time.Now())
	if !ok {
		e.Log.Warn("no report about the job could be read, and it can't be reported as unknown: " +
			"CI_PROJECT_PATH and CI_METRICS_NAME or CI_JOB_NAME are not in the environment")
		return
	}
	e.Log.Warn("no report about the job could be read; it is reported as unknown", "name", item.Name, "id", item.ID)
	e.delivery.Add(item)
}

// outcome returns an error if something was lost at the end. Items that the receiver refused or that
// were not JSON were final, and logged before.
func (e *exporter) outcome() error {
	switch {
	case e.delivery.Close() > 0:
		return ErrUndelivered
	case e.half || e.trouble != "":
		return ErrUnread
	}
	return nil
}
