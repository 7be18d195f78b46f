package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progressEvery is the interval between progress lines. Shorter work prints none.
const progressEvery = 2 * time.Second

// A progress reports long work on stderr.
type progress struct {
	mu          sync.Mutex
	what        string
	done, total int64

	end   chan struct{}
	ended chan struct{}
}

func startProgress(stderr io.Writer) *progress {
	p := &progress{end: make(chan struct{}), ended: make(chan struct{})}
	go p.tell(stderr)
	return p
}

// is a ledger.Progress.
func (p *progress) is(what string, done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what, p.done, p.total = what, done, total
}

func (p *progress) stop() {
	close(p.end)
	<-p.ended
}

func (p *progress) tell(stderr io.Writer) {
	defer close(p.ended)
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	for {
		select {
		case <-p.end:
			return
		case <-ticker.C:
			fmt.Fprintln(stderr, p)
		}
	}
}

func (p *progress) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.total > 0:
		return fmt.Sprintf("%s: %s of %s (%d %%)", p.what, grouped(p.done), grouped(p.total), 100*p.done/p.total)
	case p.done > 0:
		return fmt.Sprintf("%s: %s", p.what, grouped(p.done))
	}
	return p.what
}
