// Package receiver is the service: it combines ledger, steps, exposition, API and page behind one HTTP
// server. cmd/receiver turns flags into [Options]; routes.go has all routes.
//
//	r, err := receiver.New(ctx, options) // binds the listeners and opens the ledger
//	go r.Serve()                         // returns when Stop was called or the server failed
//	err = r.Stop(ctx)                    // within the time of ctx
//
// A large ledger takes seconds to open. Meanwhile the service answers 503 (starting.go). Stop refuses
// new connections, lets running requests finish, records waiting jobs, stores the totals, and closes
// the ledger. No acknowledged job is lost, and the next start has nothing to fold.
package receiver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/exporter-toolkit/web"

	"ci-jobs-metrics/internal/exposition"
	"ci-jobs-metrics/internal/ledger"
	"ci-jobs-metrics/internal/ledger/sqlite"
	"ci-jobs-metrics/internal/rollup"
	"ci-jobs-metrics/internal/totals"
)

// Options say what a Receiver does; cmd/receiver documents them as flags.
type Options struct {
	Web       *web.FlagConfig
	Ledger    string        // sqlite:PATH
	Retention time.Duration // of jobs
	Totals    totals.Settings
	Families  exposition.Families
	// Zone is whose days the KPI have, nil for UTC; KPIRetention how long they reach back,
	// 0 for the ledger's default.
	Zone         *time.Location
	KPIRetention time.Duration
	Logger       *slog.Logger
	Now          func() time.Time // default time.Now
	// MaxConnections is how many clients may be connected; 0: DefaultMaxConnections.
	MaxConnections int

	// PruneEvery is how often jobs past their retention are looked for; 0: the
	// ledger's default. For tests.
	PruneEvery time.Duration
}

// Limits of a request and its answer. A job's request is a few hundred bytes and its answer takes
// one commit; the rest is for slow networks, and for scrapes of many series.
const (
	requestTimeout = 15 * time.Second // for header and body; two times would be one more timer to set for each request
	answerTimeout  = 60 * time.Second // from the end of the header
	idleTimeout    = 2 * time.Minute
	maxHeader      = 64 << 10         // bytes; a GET with every field at its limit fits
	drainTimeout   = 10 * time.Second // for requests under way when it stops
)

// A Receiver is the service. Make one with New.
type Receiver struct {
	opts      Options
	listeners []net.Listener
	server    *http.Server
	handler   switcher
	served    chan struct{}                 // closed when nothing is served any more
	serveErr  error                         // why, then
	ledger    *ledger.Ledger                // nil until it is open
	cleanups  []func(context.Context) error // undone in reverse by Stop
}

// New binds the listeners and opens the ledger, which folds the jobs after the last snapshot. As soon as
// the listeners are bound, /-/healthy is 200 and all other paths answer 503. When New returns, all
// routes are served. New returns an error if ctx ends first.
func New(ctx context.Context, o Options) (_ *Receiver, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxConnections == 0 {
		o.MaxConnections = DefaultMaxConnections
	}
	r := &Receiver{opts: o, served: make(chan struct{})}
	defer func() {
		if err != nil {
			if r.server != nil {
				_ = r.server.Close() // no client waits for an answer
			}
			err = errors.Join(err, r.Stop(ctx))
		}
	}()
	if err := web.Validate(*o.Web.WebConfigFile); err != nil {
		return nil, fmt.Errorf("--web.config.file: %w", err)
	}
	if err := r.listen(ctx); err != nil {
		return nil, err
	}
	health := newHealth()
	r.serve(health)
	if err := r.openLedger(ctx, health); err != nil {
		return nil, err
	}
	health.watch(r.ledger)
	r.handler.switchTo(r.routes(health))
	return r, nil
}

// serve begins to answer: until the ledger is open, that the receiver is starting.
func (r *Receiver) serve(health *health) {
	// Not HTTP/2: the limit of connections does not bound hundreds of requests over one connection, and
	// no sender of jobs needs it.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	r.server = &http.Server{
		Handler:           &r.handler,
		ReadHeaderTimeout: requestTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		Protocols:         &protocols,
		ErrorLog:          slog.NewLogLogger(r.opts.Logger.Handler(), slog.LevelWarn), // a handler's panic among others
	}
	health.watchConnections(limitConnections(r.server, r.opts.MaxConnections, health.turnedAway.Inc, r.opts.Logger))
	r.handler.switchTo(startingRoutes(health))
	r.cleanups = append(r.cleanups, r.closeLedger, r.shutdown) // in this order: the ledger outlives the last request
	go func() {
		defer close(r.served)
		r.serveErr = web.ServeMultiple(r.listeners, r.server, r.opts.Web, r.opts.Logger)
	}()
}

// Serve waits until nothing is served any more. It returns nil if that is because Stop
// was called.
func (r *Receiver) Serve() error {
	<-r.served
	if errors.Is(r.serveErr, http.ErrServerClosed) {
		return nil
	}
	return r.serveErr
}

// Stop ends the service in the reverse order of New, within the time that ctx
// leaves, and returns all errors. All acknowledged jobs are in the ledger.
func (r *Receiver) Stop(ctx context.Context) error {
	var errs []error
	for _, cleanup := range slices.Backward(r.cleanups) {
		errs = append(errs, cleanup(ctx))
	}
	r.cleanups = nil
	return errors.Join(errs...)
}

// Addresses are where it listens.
func (r *Receiver) Addresses() []net.Addr {
	var a []net.Addr
	for _, l := range r.listeners {
		a = append(a, l.Addr())
	}
	return a
}

// shutdown gives requests under way their time, but not the ledger's: somebody who
// never ends a request must not keep it from being closed in order.
func (r *Receiver) shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	err := r.server.Shutdown(ctx)
	if err != nil {
		r.opts.Logger.Warn("Requests under way did not end in time, their connections are closed", "waited", drainTimeout)
		err = r.server.Close()
	}
	<-r.served // at once, now that the listeners are closed
	return err
}

func (r *Receiver) closeLedger(ctx context.Context) error {
	if r.ledger == nil {
		return nil
	}
	return r.ledger.Close(ctx)
}

func (r *Receiver) listen(ctx context.Context) error {
	var config net.ListenConfig
	for _, address := range *r.opts.Web.WebListenAddresses {
		l, err := config.Listen(ctx, "tcp", address)
		if err != nil {
			return explainListen(address, err)
		}
		r.listeners = append(r.listeners, l)
		r.cleanups = append(r.cleanups, func(context.Context) error {
			if err := l.Close(); !errors.Is(err, net.ErrClosed) {
				return err
			}
			return nil // the server has closed it
		})
	}
	return nil
}

// explainListen says how to choose another port.
func explainListen(address string, err error) error {
	const remedy = "choose another with --web.listen-address=:8080"
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("listening on %s is not permitted (ports below 1024 may need privileges): %s", address, remedy)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("something else listens on %s already: stop it, or %s", address, remedy)
	}
	return fmt.Errorf("listening on %s: %w: %s", address, err, remedy)
}

// LedgerPath is the file of the ledger that --ledger names.
func LedgerPath(name string) (string, error) {
	path, ok := strings.CutPrefix(name, "sqlite:")
	if !ok || path == "" {
		return "", fmt.Errorf("--ledger=%s can't be opened: give the file of a SQLite ledger as sqlite:PATH", name)
	}
	return path, nil
}

func (r *Receiver) openLedger(ctx context.Context, health *health) error {
	path, err := LedgerPath(r.opts.Ledger)
	if err != nil {
		return err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	r.opts.Logger.Info("Opening the ledger", "path", abs)
	_, statErr := os.Stat(abs)
	store, err := sqlite.Open(ctx, path, r.opts.Now(), r.opts.Logger)
	if err != nil {
		return err
	}
	r.ledger, err = ledger.Open(ctx, store, ledger.Options{
		Totals:          r.opts.Totals,
		Retention:       r.opts.Retention,
		Rollups:         rollup.Options{Zone: r.opts.Zone},
		RollupRetention: r.opts.KPIRetention,
		PruneEvery:      r.opts.PruneEvery,
		Now:             r.opts.Now,
		Logger:          r.opts.Logger,
		OnCommit:        health.committed,
	})
	if err != nil {
		return fmt.Errorf("ledger %s: %w", path, err)
	}
	verb := "Opened the ledger"
	if errors.Is(statErr, fs.ErrNotExist) {
		verb = "Started a new ledger"
	}
	stats := r.ledger.Stats()
	r.opts.Logger.Info(verb, "path", abs, "created", r.ledger.Created().Format(time.RFC3339),
		"label_sets", stats.Runs)
	return nil
}
