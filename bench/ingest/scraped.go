package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"time"
)

// scrapedSets is how many label sets the receiver has whose ingest is measured with and
// without scrapes.
const scrapedSets = 1_000_000

// scraped compares ingest with a gzipped scrape per second of a million counters with
// the same receiver's ingest without.
func (b *bench) scraped() error {
	receiver, err := b.startReceiver("scraped", fmt.Sprint("--metrics.max-series=", 2*scrapedSets), "--metrics.families=named")
	if err != nil {
		return err
	}
	defer receiver.stop()
	if err := fill(receiver.address); err != nil {
		return err
	}
	if _, _, err := scrape(receiver.address); err != nil { // the first renders everything
		return err
	}
	var ratios, without, with, times, size []float64
	worst := 0.0
	for round := range b.rounds {
		before, begun := stolen(), time.Now()
		var alone, beside *result
		measures := []func() error{
			func() (err error) { alone, err = load(receiver.address, classic, 256, 2*round, b.length); return err },
			func() (err error) {
				s := scrapeEverySecond(receiver.address)
				beside, err = load(receiver.address, classic, 256, 2*round+1, b.length)
				took, bytes, stopErr := s.stop()
				times, size = append(times, took...), append(size, bytes...)
				return errors.Join(err, stopErr)
			},
		}
		if round%2 == 1 { // the ledger grows, which is nobody's fault
			slices.Reverse(measures)
		}
		for _, measure := range measures {
			if err := measure(); err != nil {
				return err
			}
		}
		ratios = append(ratios, beside.rate()/alone.rate())
		without, with = append(without, alone.rate()), append(with, beside.rate())
		worst = max(worst, (stolen()-before)/time.Since(begun).Seconds()/float64(runtime.NumCPU()))
	}
	fmt.Printf("\none gzipped scrape per second of %d label sets: %.0f jobs/s, without %.0f, ratio %.2f; a scrape took %.0f ms, %.1f MB; peak %.0f MB; stolen %.1f %%\n",
		scrapedSets, median(with), median(without), median(ratios), median(times), median(size), receiver.peak(), worst*100)
	return nil
}

// fill sends a job for each label set, in batches.
func fill(address string) error {
	const batch = 10_000
	for n := 0; n < scrapedSets; n += batch {
		var body bytes.Buffer
		for i := n; i < n+batch; i++ {
			fmt.Fprintf(&body, "{\"name\":\"filled_%02d\",\"project\":\"group/project-%d\",\"status\":\"success\"}\n", i%100, i/100)
		}
		for {
			response, err := http.Post("http://"+address+"/steps", "application/x-ndjson", bytes.NewReader(body.Bytes()))
			if err != nil {
				return err
			}
			answer, _ := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				break
			}
			if response.StatusCode != http.StatusServiceUnavailable {
				return fmt.Errorf("%s: %s", response.Status, answer)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	return nil
}

// scrape reads a gzipped body as it comes, and returns how long that took and its size.
func scrape(address string) (took time.Duration, size int64, err error) {
	request, err := http.NewRequest(http.MethodGet, "http://"+address+"/metrics/jobs", nil)
	if err != nil {
		return 0, 0, err
	}
	request.Header.Set("Accept-Encoding", "gzip")
	begun := time.Now()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, 0, err
	}
	defer response.Body.Close()
	size, err = io.Copy(io.Discard, response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("scrape: %s", response.Status)
	}
	return time.Since(begun), size, err
}

// A scraper scrapes once a second until it is stopped.
type scraper struct {
	end, ended  chan struct{}
	took, sizes []float64 // milliseconds, MB
	err         error
}

func scrapeEverySecond(address string) *scraper {
	s := &scraper{end: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for s.err == nil {
			took, size, err := scrape(address)
			s.took, s.sizes = append(s.took, took.Seconds()*1000), append(s.sizes, float64(size)/1e6)
			s.err = err
			select {
			case <-ticker.C:
			case <-s.end:
				return
			}
		}
	}()
	return s
}

func (s *scraper) stop() (took, sizes []float64, err error) {
	close(s.end)
	<-s.ended
	return s.took, s.sizes, s.err
}
