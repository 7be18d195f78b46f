package exporter

import (
	"math/rand/v2"
	"time"
)

// Limits of the pauses between attempts.
const (
	firstPause    = 100 * time.Millisecond
	longestPause  = 10 * time.Second
	longestAsked  = time.Minute // that a receiver's Retry-After is heeded for
	shortestPause = 50 * time.Millisecond
	// shortestAttempt is what an attempt gets however near the deadline is.
	shortestAttempt = 250 * time.Millisecond
)

// Backoff is how long to pause after the given number of failed attempts in a row:
// exponential with full jitter, so that the exporters of a whole company, whose
// receiver comes back, don't all come at once.
func Backoff(failed int) time.Duration {
	most := longestPause
	if failed < 8 { // 100 ms doubled seven times is above the limit
		most = min(firstPause<<max(failed-1, 0), longestPause)
	}
	return rand.N(most + 1)
}

// pauseFor combines what backoff says with what the receiver asks for. Before a
// deadline there are at least two more attempts, whatever was asked: what isn't
// delivered then is lost.
func pauseFor(backoff, asked time.Duration, deadline, now time.Time) time.Duration {
	pause := max(backoff, min(asked, longestAsked))
	if !deadline.IsZero() {
		pause = min(pause, max(deadline.Sub(now)/2, shortestPause))
	}
	return pause
}
