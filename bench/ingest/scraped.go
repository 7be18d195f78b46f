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
	var ratios, without, with, times, size []float64
	worst := 0.0
	for round := range b.rounds {
		before, begun := load.Stolen(), time.Now()
		var alone, beside *load.Result
		measures := []func() error{
			func() (err error) {
				alone, err = load.Run(receiver.Address, load.Classic, 256, 2*round, b.length)
				return err
			},
			func() (err error) {
				s := load.EverySecond(func() error {
					took, bytes, err := scrape(receiver.Address)
					times, size = append(times, took.Seconds()*1000), append(size, float64(bytes)/1e6)
					return err
				})
				beside, err = load.Run(receiver.Address, load.Classic, 256, 2*round+1, b.length)
				return errors.Join(err, s.Stop())
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
		ratios = append(ratios, beside.Rate()/alone.Rate())
		without, with = append(without, alone.Rate()), append(with, beside.Rate())
		worst = max(worst, (load.Stolen()-before)/time.Since(begun).Seconds()/float64(runtime.NumCPU()))
	}
	fmt.Printf("\none gzipped scrape per second of %d label sets: %.0f jobs/s, without %.0f, ratio %.2f; a scrape took %.0f ms, %.1f MB; peak %.0f MB; stolen %.1f %%\n",
		scrapedSets, load.Median(with), load.Median(without), load.Median(ratios), load.Median(times), load.Median(size), receiver.Peak(), worst*100)
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
