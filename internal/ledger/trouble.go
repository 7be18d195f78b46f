package ledger

import (
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// logAgain is how often the log repeats that jobs can't be recorded: once for each
	// commit would fill the disk that may be the trouble.
	logAgain = 10 * time.Second
	// probeEvery is how often it is tried whether jobs can be recorded again.
	probeEvery = time.Second
	// tooLong is when a commit that goes on counts as trouble too.
	tooLong = 10 * time.Second
)

// trouble knows whether jobs can be recorded at the moment, and tells the log when that
// changes. Its methods may be called from several goroutines.
type trouble struct {
	logger *slog.Logger

	mu     sync.Mutex
	err    error     // why jobs can't be recorded; nil if they can
	since  time.Time // when the first of the errors came
	logged time.Time // when the log last heard of an error
	told   bool      // whether that is the last that it heard
	failed int       // jobs whose senders were told to try again since then
	total  int       // and since the first error

	writing time.Time // when the commit that goes on began; zero if none does
}

// begin says that something is being written.
func (t *trouble) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writing = time.Now()
}

// end says how that came out, and how many jobs were in it. wrote is whether anything
// reached the disk: if not, an end without an error proves nothing.
func (t *trouble) end(err error, jobs int, wrote bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writing = time.Time{}
	now := time.Now()
	switch {
	case err == nil && (t.err == nil || !wrote):
	case err == nil:
		if t.told {
			t.logger.Info("Recording works again", "after", now.Sub(t.since).Round(time.Millisecond), "refused", t.total)
		}
		t.err, t.told, t.total = nil, false, 0
	default:
		if t.err == nil {
			t.since = now
		}
		t.err = err
		t.failed += jobs
		t.total += jobs
		if now.Sub(t.logged) >= logAgain {
			t.logger.Error("Recording jobs failed; senders get 503 and retry", "jobs", t.failed, "err", err)
			t.logged, t.told, t.failed = now, true, 0
		}
	}
}

// now is why jobs can't be recorded, or nil.
func (t *trouble) now() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return t.err
	}
	if t.writing.IsZero() {
		return nil
	}
	if took := time.Since(t.writing); took > tooLong {
		return fmt.Errorf("a commit has been going on for %v: the disk hangs or is very slow", took.Round(time.Second))
	}
	return nil
}
