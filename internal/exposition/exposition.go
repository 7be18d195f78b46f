// Package exposition turns totals into what a Prometheus server scrapes.
//
// The jobs come from a [totals.Feed], and for the receiver's own health there is a
// [prometheus.Gatherer]; one document goes out, in text 0.0.4, OpenMetrics or
// protobuf, whichever the client likes best, gzipped if it may be. The receiver
// mounts three handlers of one [Exposition]: /metrics with both parts,
// /metrics/jobs and /metrics/self with one each.
//
// The jobs are shown in two views of the same totals: a named family per
// template (ci_dotnet_build_total), which is what dashboards of such services
// have always known, and two labelled families (cijob_runs_total) for all
// templates. Which metric a template's name leads to is decided in names.go;
// under which family OpenMetrics declares it in openmetrics.go.
//
// Rendering is paid once. The jobs' part of a document is cut into pieces of some
// dozens of lines (chunks.go), which are kept as they were sent, compressed ones
// too (piece.go, deflate.go). A scrape learns from the feed what moved (intake.go),
// renders the pieces that hold it (text.go, protobuf.go), and sends all (scrape.go).
package exposition

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ci-jobs-metrics/internal/totals"
)

// Families says in which views the jobs are shown. It is a flag.Value.
type Families string

// The views. The zero value of Families means Both.
const (
	Both     Families = "both"
	Named    Families = "named"    // ci_<name>_total{project,status}, ci_<name>_duration{status}
	Labelled Families = "labelled" // cijob_runs_total{template,project,status}, cijob_duration_seconds{template,status}
)

// String is the word that Set takes.
func (f *Families) String() string {
	if *f == "" {
		return string(Both)
	}
	return string(*f)
}

// Set takes both, named or labelled.
func (f *Families) Set(word string) error {
	switch v := Families(word); v {
	case Both, Named, Labelled:
		*f = v
		return nil
	}
	return fmt.Errorf("%q is not one of both, named, labelled", word)
}

// Options of an Exposition. The zero value is usable, and shows no jobs.
type Options struct {
	Families Families
	// Feed is that of the totals that are shown. They have no other reader.
	Feed *totals.Feed
	// CatchUp brings the totals up to the last job that was recorded; nil if they
	// always are. An error says that this can't be done; whoever asked gets no older
	// totals instead.
	CatchUp func(context.Context) error
	// Now is the clock by which renderings are released; nil is time.Now.
	Now func() time.Time
}

// An Exposition renders totals. Its methods may be called from several goroutines.
type Exposition struct {
	opts Options
	// turn is a mutex for all that follows; to wait for it can be given up. Nobody
	// holds it while writing to a client.
	turn chan struct{}
	// views are documents that are being written: their pieces must stay as they are.
	// More come only with the turn, but they end without.
	views atomic.Int32
	doc   document
	asked [slots]time.Time // when a slot was last asked for; zero: nothing is kept in it
	press press
}

// New returns an Exposition.
func New(o Options) *Exposition {
	if o.Now == nil {
		o.Now = time.Now
	}
	e := &Exposition{opts: o, turn: make(chan struct{}, 1)}
	e.doc.named, e.doc.labelled = o.Families != Labelled, o.Families != Named
	e.doc.Reset(totals.Settings{})
	return e
}

// Render writes one whole document: the jobs, if they are wanted, then what self
// gathers, if it is not nil.
//
// If the jobs can't be read or self can't be gathered, nothing is written. Any other
// error is w's.
func (e *Exposition) Render(ctx context.Context, w io.Writer, format Format, jobs bool, self prometheus.Gatherer) error {
	if err := e.catchUp(ctx, jobs); err != nil {
		return err
	}
	health, err := gather(format, self)
	if err != nil {
		return err
	}
	v, err := e.open(ctx, format, false, jobs, health)
	if err != nil {
		return err
	}
	defer e.close(v)
	return v.write(w)
}

func (e *Exposition) catchUp(ctx context.Context, jobs bool) error {
	if !jobs || e.opts.CatchUp == nil {
		return nil
	}
	return e.opts.CatchUp(ctx)
}
