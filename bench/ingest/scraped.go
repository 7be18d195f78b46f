package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"time"

	"ci-jobs-metrics/bench/internal/load"
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
	defer receiver.Stop()
	if err := fill(receiver.Address); err != nil {
		return err
	}
	if _, _, err := scrape(receiver.Address); err != nil { // the first renders everything
		return err
	}
	var times, size []float64
	c, err := load.Beside(receiver.Address, b.rounds, b.length, func() error {
		took, bytes, err := scrape(receiver.Address)
		times, size = append(times, took.Seconds()*1000), append(size, float64(bytes)/1e6)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Printf("\none gzipped scrape per second of %d label sets: %.0f jobs/s, without %.0f, ratio %.2f; a scrape took %.0f ms, %.1f MB; peak %.0f MB; stolen %.1f %%\n",
		scrapedSets, c.With, c.Without, c.Ratio, load.Median(times), load.Median(size), receiver.Peak(), c.Stolen*100)
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
