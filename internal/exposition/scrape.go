package exposition

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// An opened is a document of one moment, being sent. It has to be closed.
type opened struct {
	pieces  []*piece
	size    int64 // bytes to send
	counted bool  // among the views
}

// openeds are kept between scrapes: a list has eight bytes for every 64 series.
var openeds = sync.Pool{New: func() any { return &opened{} }}

// open renders what is needed and returns the document as it is now. It fails only if
// the context ends before it is its turn; without jobs there is nothing to wait for.
func (e *Exposition) open(ctx context.Context, format Format, gzip, jobs bool, health []byte) (*opened, error) {
	v := openeds.Get().(*opened)
	s := slotOf(format.shape(), gzip)
	v.begin(s)
	if jobs && e.opts.Feed != nil {
		if err := e.openJobs(ctx, v, s); err != nil {
			return nil, err
		}
	}
	v.addLoose(s, health)
	if format.openMetrics() {
		v.addLoose(s, []byte("# EOF\n"))
	}
	v.end(s)
	return v, nil
}

// openJobs adds the jobs. From then on their pieces stay as they are until the document
// is closed.
func (e *Exposition) openJobs(ctx context.Context, v *opened, s slot) error {
	select {
	case e.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait for other scrapes: %w", context.Cause(ctx))
	}
	defer func() { <-e.turn }()
	e.opts.Feed.Next(&e.doc)
	e.doc.settle()
	e.forget(s)
	e.addJobs(v, s)
	v.counted = true
	e.views.Add(1)
	return nil
}

// close ends a document. It waits for nobody: the last of an answer leaves only when its
// handler returns.
func (e *Exposition) close(v *opened) {
	if v.counted {
		e.views.Add(-1)
	}
	clear(v.pieces)
	*v = opened{pieces: v.pieces[:0]}
	openeds.Put(v)
}

// begin and end add what a compressed document begins and ends with.
func (v *opened) begin(s slot) {
	if s.deflated() {
		v.pieces = append(v.pieces, &piece{buf: gzipHeader})
	}
}

func (v *opened) end(s slot) {
	if s.deflated() {
		var crc, size uint32 // the size is kept modulo 2^32 in the format too
		for _, p := range v.pieces[1:] {
			crc = joinChecksum(crc, p.crc, p.shift)
			size += p.length
		}
		v.pieces = append(v.pieces, &piece{buf: gzipEnd(crc, size)})
	}
	for _, p := range v.pieces {
		v.size += int64(len(p.buf))
	}
}

func (e *Exposition) addJobs(v *opened, s slot) {
	for _, f := range e.doc.sorted {
		head, size := len(v.pieces), 0
		v.pieces = append(v.pieces, nil)
		for _, c := range f.chunks {
			p := e.chunkPiece(c, s)
			v.pieces = append(v.pieces, p)
			size += int(p.length)
		}
		v.pieces[head] = e.headPiece(f, s, size)
	}
}

// addLoose adds what is in this document only.
func (v *opened) addLoose(s slot, text []byte) {
	if len(text) == 0 {
		return
	}
	p := presses.Get().(*press)
	defer presses.Put(p)
	p.plain = append(p.plain[:0], text...)
	v.pieces = append(v.pieces, p.print(&piece{}, s))
}

// presses are for what is rendered without a turn.
var presses = sync.Pool{New: func() any { return &press{} }}

// keepFor is how long a rendering is kept after somebody asked for it, so that a look
// with another client doesn't cost memory for ever. Prometheus comes every minute or so.
const keepFor = 10 * time.Minute

// forget notes what is asked for, and drops what nobody asked for lately.
func (e *Exposition) forget(wanted slot) {
	now := e.opts.Now()
	e.asked[wanted] = now
	var keep [slots]bool
	outdated := false
	for s, at := range e.asked {
		keep[s] = now.Sub(at) <= keepFor && !at.IsZero()
		if !keep[s] && !at.IsZero() {
			e.asked[s] = time.Time{}
			outdated = true
		}
	}
	if outdated {
		e.doc.release(&keep)
	}
}

// writeSize is how many bytes go to the network at once. Pieces are far smaller.
const writeSize = 128 << 10

var writers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, writeSize) }}

func (v *opened) write(w io.Writer) error {
	out := writers.Get().(*bufio.Writer)
	defer writers.Put(out)
	out.Reset(w)
	defer out.Reset(nil) // it would keep the connection
	for _, p := range v.pieces {
		if _, err := out.Write(p.buf); err != nil {
			return fmt.Errorf("write metrics: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
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
