// Package exposition turns totals into what a Prometheus server scrapes.
//
// A [totals.Snapshot] comes in and, for the receiver's own health, a
// [prometheus.Gatherer]; one document goes out, in text 0.0.4 or OpenMetrics,
// whichever the client likes best, gzipped if it may be. The receiver mounts
// three handlers of one [Exposition]: /metrics with both parts, /metrics/jobs
// and /metrics/self with one each.
//
// The jobs are shown in two views of the same totals: a named family per
// template (ci_dotnet_build_total), which is what dashboards of such services
// have always known, and two labelled families (cijob_runs_total) for all
// templates. Which metric a template's name leads to is decided in names.go;
// under which family OpenMetrics declares it in openmetrics.go.
package exposition

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

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

// Options of an Exposition. The zero value is usable.
type Options struct {
	Families Families
}

// An Exposition renders totals. It keeps no totals itself, and its methods may
// be called from several goroutines.
type Exposition struct {
	families Families
}

// New returns an Exposition.
func New(o Options) *Exposition {
	return &Exposition{families: o.Families}
}

// Render writes one whole document: the jobs, then what self gathers. Either may
// be nil, and is left out then. Of the snapshot it relies on what package job
// promises (texts in valid UTF-8), and it changes nothing in it.
//
// If self can't be gathered, nothing is written. Any other error is w's.
func (e *Exposition) Render(w io.Writer, format Format, jobs *totals.Snapshot, self prometheus.Gatherer) error {
	health, err := gather(format, self)
	if err != nil {
		return err
	}
	return e.write(w, format, jobs, health)
}

// gather encodes what a gatherer returns, without the end of a document. An error
// leaves nothing: part of the metrics would look as if the others were gone.
func gather(format Format, self prometheus.Gatherer) ([]byte, error) {
	if self == nil {
		return nil, nil
	}
	families, err := self.Gather()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := expfmt.NewEncoder(&b, expfmt.Format(format.ContentType()))
	for _, f := range families {
		if err := enc.Encode(f); err != nil {
			return nil, fmt.Errorf("encode %s: %w", f.GetName(), err)
		}
	}
	return b.Bytes(), nil // closing the encoder would write the end of the document
}

// writeSize is how many bytes are gathered before they go to the compressor or
// the network. Errors on the way are kept by the bufio.Writer until it is
// flushed, so the functions that write lines return none.
const writeSize = 64 << 10

// write writes a whole document; health is encoded already.
func (e *Exposition) write(w io.Writer, format Format, jobs *totals.Snapshot, health []byte) error {
	out := bufio.NewWriterSize(w, writeSize)
	if jobs != nil {
		families := e.collect(jobs)
		enc := newEncoder(out, format, families, jobs.Bounds)
		for _, f := range families {
			enc.family(f)
		}
	}
	_, _ = out.Write(health)
	if format.openMetrics() {
		_, _ = out.WriteString("# EOF\n")
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}
