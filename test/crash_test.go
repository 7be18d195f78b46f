package test

import (
	"math/rand/v2"
	"testing"
	"time"
)

const (
	crashRounds  = 24
	crashSenders = 12
)

// Senders that retry, and a receiver that is killed at random moments: in the end
// every acknowledged job counts exactly once, in the ledger and on /metrics.
func TestKilledAtAnyMoment(t *testing.T) {
	s := newService(t)
	c := newCrowd(t, s, quick)
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	var watch scrapes
	c.gather(t.Context(), t, crashSenders)
	for round := range crashRounds {
		s.start(t)
		alive := time.Duration(r.IntN(400)) * time.Millisecond
		if round%4 == 0 { // roll-ups are stored after a second, for some tens of milliseconds
			alive = 950*time.Millisecond + alive/4
		}
		for end := time.Now().Add(alive); time.Now().Before(end); {
			watch.scrape(t, s)
		}
		s.kill()
	}
	s.start(t)
	c.await(t, s, crashSenders, 0)
	c.finish(t, s)
	settle(t, s, c, &watch)
	if watch.count < crashRounds || c.retries == 0 {
		t.Errorf("%d scrapes, %d retries: too little happened", watch.count, c.retries)
	}
	t.Logf("%d kills, %d jobs acknowledged, each once; %d requests tried again, %d jobs of them recorded before; %d scrapes, no counter fell",
		crashRounds+2, len(c.acknowledged), c.retries, c.duplicates, watch.count)
}
