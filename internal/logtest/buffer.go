// Package logtest helps tests to read what a program or a logger writes while it
// still writes.
package logtest

import (
	"bytes"
	"sync"
)

// A Buffer keeps what is written to it. Its methods may be called from several
// goroutines; the zero value is empty.
type Buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer and never fails.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String is all that was written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
