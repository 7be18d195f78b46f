package ledger_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"ci-jobs-metrics/test/internal/harness"
)

const (
	crashRounds  = 24
	crashSenders = 12
)

// Senders that retry, and a receiver that is killed at random moments: in the end
// every acknowledged job counts exactly once, in the ledger and on /metrics.
func TestKilledAtAnyMoment(t *testing.T) {
	receiver := harness.NewReceiver(t)
	senders := harness.NewSenders(t, receiver, harness.Quick)
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	var watch harness.CounterWatch
	senders.Start(t.Context(), t, crashSenders)
	for round := range crashRounds {
		receiver.Start(t)
		alive := time.Duration(r.IntN(400)) * time.Millisecond
		if round%4 == 0 { // roll-ups are stored after a second, for some tens of milliseconds
			alive = 950*time.Millisecond + alive/4
		}
		for end := time.Now().Add(alive); time.Now().Before(end); {
			watch.Scrape(t, receiver)
		}
		receiver.Kill()
	}
	receiver.Start(t)
	senders.Await(t, receiver, crashSenders, 0)
	senders.Finish(t, receiver)
	harness.CheckEachJobCountsOnce(t, receiver, senders, &watch)
	if watch.Count < crashRounds || senders.Retries == 0 {
		t.Errorf("%d scrapes, %d retries: too little happened", watch.Count, senders.Retries)
	}
	t.Logf("%d kills, %d jobs acknowledged, each once; %d requests tried again, %d jobs of them recorded before; %d scrapes, no counter fell",
		crashRounds+2, len(senders.Acknowledged), senders.Retries, senders.Duplicates, watch.Count)
}
