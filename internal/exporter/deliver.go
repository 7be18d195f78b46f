package exporter

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"ci-jobs-metrics/internal/steps/client"
	"ci-jobs-metrics/internal/steps/wire"
)

// Limits of what is sent at a time, and of what waits to be sent.
const (
	batchItems = 1000
	batchBytes = 512 << 10
	maxPending = 10_000 // items; the file is another process' to fill
)

// A Sender makes one attempt to deliver items, as client.Client.Send does.
type Sender func(context.Context, []json.RawMessage) (wire.Answer, error)

// A Delivery sends items until the receiver has recorded them or refused them for
// good. Its methods may be called from several goroutines.
type Delivery struct {
	send    Sender
	backoff func(failed int) time.Duration
	log     *slog.Logger
	report  reporter

	added chan struct{} // holds one: there may be items
	hurry chan struct{} // holds one: don't pause

	// settled, if set before Run, is called with items that need not be sent again: they
	// were delivered or finally refused.
	settled func([]Item)

	mu       sync.Mutex
	pending  []Item
	most     int                     // items of a batch while one is looked for that is refused; 0: batchItems
	bytes    int                     // of pending
	lost     int                     // items that will never be delivered
	idle     chan struct{}           // closed while nothing is pending
	deadline time.Time               // when Run will be stopped; zero if that isn't known
	last     error                   // of the latest attempt
	cancel   context.CancelCauseFunc // ends the attempt under way; nil if there is none
	limit    *time.Timer             // that will call it; nil if there is none
}

// errSlow is why an attempt is ended before the deadline.
var errSlow = errors.New("no answer for too much of the time that is left: another connection is tried")

// NewDelivery returns a Delivery that pauses between attempts for as long as
// backoff says.
func NewDelivery(send Sender, backoff func(failed int) time.Duration, log *slog.Logger) *Delivery {
	d := &Delivery{
		send: send, backoff: backoff, log: log, report: reporter{log: log},
		added: make(chan struct{}, 1), hurry: make(chan struct{}, 1), idle: make(chan struct{}),
	}
	close(d.idle)
	return d
}

// Add queues items. It never waits.
func (d *Delivery) Add(items ...Item) {
	if len(items) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if room := maxPending - len(d.pending); len(items) > room {
		d.log.Error("too many jobs wait to be sent; the newest are lost", "lost", len(items)-room)
		d.lost += len(items) - room
		if items = items[:room]; room == 0 {
			return
		}
	}
	if len(d.pending) == 0 {
		d.idle = make(chan struct{})
	}
	d.pending = append(d.pending, items...)
	for i := range items {
		d.bytes += len(items[i].JSON)
	}
	poke(d.added)
}

// Backlog is how many items wait to be sent, and of how many bytes.
func (d *Delivery) Backlog() (items, bytes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.pending), d.bytes
}

// start begins to deliver, until the returned function is called.
func (d *Delivery) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { d.Run(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

// Hurry makes the next attempt start now, and keeps attempts and pauses short
// enough for several before the deadline.
func (d *Delivery) Hurry(deadline time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deadline = deadline
	d.limitAttempt(lastChance)
	poke(d.hurry)
}

// limitAttempt gives the attempt under way half of the time that is left: what
// answers may be another receiver behind the name, or the same over a connection
// that isn't dead. The ids make trying twice harmless. d.mu is held.
func (d *Delivery) limitAttempt(most time.Duration) {
	if d.cancel == nil || d.deadline.IsZero() {
		return
	}
	cancel := d.cancel
	within := min(max(time.Until(d.deadline)/2, shortestAttempt), most)
	d.limit = time.AfterFunc(within, func() { cancel(errSlow) })
}

// lastChance is the time that a running attempt has left after SIGTERM. Without a grace period,
// the kubelet kills the pod two seconds later.
const lastChance = time.Second

// begin returns the context of one attempt, and what to call when it is over.
func (d *Delivery) begin(ctx context.Context) (attempt context.Context, over func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	attempt, d.cancel = context.WithCancelCause(ctx)
	d.limitAttempt(math.MaxInt64)
	return attempt, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.limit != nil {
			d.limit.Stop()
		}
		d.cancel(nil)
		d.cancel, d.limit = nil, nil
	}
}

// Idle is closed once everything that was added is delivered or refused for good.
func (d *Delivery) Idle() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.idle
}

// Lost is how many items will never be recorded: the receiver refused them for
// good, or there was no room for them.
func (d *Delivery) Lost() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lost
}

// Close logs what is still pending, and returns how many items that are. It is to
// be called after Run has returned.
func (d *Delivery) Close() (undelivered int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.report.undelivered(d.pending, d.last)
	return len(d.pending)
}

// Run delivers until ctx is done. Each attempt takes what is pending by then, so
// items that come while an earlier one is retried go with it.
func (d *Delivery) Run(ctx context.Context) {
	failed := 0
	for ctx.Err() == nil {
		batch := d.batch()
		if len(batch) == 0 {
			select {
			case <-d.added:
			case <-ctx.Done():
			}
			continue
		}
		if asked, again := d.attempt(ctx, batch); again {
			failed++
			failed = d.pause(ctx, failed, asked)
		} else {
			failed = 0
		}
	}
}

// batch is the oldest pending items that fit one request, at least one.
func (d *Delivery) batch() []Item {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, size := 0, 0
	for n < min(len(d.pending), cmp.Or(d.most, batchItems)) {
		if size += len(d.pending[n].JSON) + 1; size > batchBytes && n > 0 {
			break
		}
		n++
	}
	return slices.Clone(d.pending[:n])
}

// attempt sends a batch once. again reports whether it must be sent again; asked is the pause that
// the receiver asked for.
func (d *Delivery) attempt(ctx context.Context, batch []Item) (asked time.Duration, again bool) {
	bodies := make([]json.RawMessage, len(batch))
	for i := range batch {
		bodies[i] = batch[i].JSON
	}
	attempt, over := d.begin(ctx)
	answer, err := d.send(attempt, bodies)
	over()
	var refusal *client.Error
	isRefusal := errors.As(err, &refusal)
	switch {
	case err == nil:
		refused := d.report.delivered(batch, answer)
		d.settle(batch, refused)
		d.widen(len(batch))
		return 0, false
	case isRefusal && refusal.Final() && len(batch) > 1 && len(refusal.Rejected) == 0:
		// One of them, or all together: the others must not be lost for it.
		d.narrow(len(batch) / 2)
		return 0, false
	case isRefusal && refusal.Final():
		d.report.refused(batch, refusal)
		d.settle(batch, len(batch))
		return 0, false
	case ctx.Err() == nil:
		d.report.failed(len(batch), err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if ctx.Err() == nil || d.last == nil { // being stopped explains less than what went wrong before
		d.last = err
	}
	if isRefusal {
		asked = refusal.RetryAfter
	}
	return asked, true
}

// narrow says how many items the next batch may have, if that is fewer than usual.
func (d *Delivery) narrow(most int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.most = most
}

// widen lets batches grow again after one that was taken.
func (d *Delivery) widen(taken int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.most == 0 {
		return
	}
	if d.most = 2 * taken; d.most >= batchItems {
		d.most = 0
	}
}

// settle takes a batch, the first pending items, off the queue. It calls settled
// before others can see that no item is pending, and then wakes those who wait for that.
func (d *Delivery) settle(batch []Item, refused int) {
	if d.settled != nil {
		d.settled(batch)
		defer d.settled(nil)
	}
	d.takeOff(batch, refused)
}

func (d *Delivery) takeOff(batch []Item, refused int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending = slices.Delete(d.pending, 0, len(batch))
	for i := range batch {
		d.bytes -= len(batch[i].JSON)
	}
	d.lost += refused
	if len(d.pending) == 0 {
		d.pending = nil // a large file's memory is not kept
		close(d.idle)
	}
}

// pause waits before the next attempt. It returns the number of failed attempts
// that the next pause depends on: after Hurry they count from 0 again.
func (d *Delivery) pause(ctx context.Context, failed int, asked time.Duration) int {
	d.mu.Lock()
	deadline := d.deadline
	d.mu.Unlock()
	timer := time.NewTimer(pauseFor(d.backoff(failed), asked, deadline, time.Now()))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.hurry:
		failed = 0
	case <-ctx.Done():
	}
	return failed
}

// poke puts a signal into a channel that holds one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
