package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// requestTimeout bounds every request: filling a gateway with a million lines takes
// long.
const requestTimeout = 5 * time.Minute

// client keeps connections, and neither asks for compression nor undoes it by itself.
var client = &http.Client{
	Timeout: requestTimeout,
	Transport: &http.Transport{
		DialContext:         (&net.Dialer{}).DialContext,
		DisableCompression:  true,
		MaxIdleConnsPerHost: connections,
		ReadBufferSize:      64 << 10,
		WriteBufferSize:     64 << 10,
	},
}

// The formats that can be asked for.
var accepts = map[string]string{
	"text":        "text/plain;version=0.0.4",
	"openmetrics": "application/openmetrics-text;version=1.0.0",
}

// An answer is a scrape's.
type answer struct {
	took       time.Duration
	bytes      int64 // as they came
	compressed bool
	media      string
}

// scrape reads a body to its end and leaves it as it comes. With keep it is also
// written there.
func scrape(ctx context.Context, url, accept, encoding string, keep io.Writer) (a answer, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return a, err
	}
	r.Header.Set("Accept", accept)
	if encoding == gzipped {
		r.Header.Set("Accept-Encoding", "gzip")
	}
	start := time.Now()
	response, err := client.Do(r)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	if a.bytes, err = io.CopyBuffer(onlyWriter{keep}, response.Body, make([]byte, 256<<10)); err != nil {
		return a, err
	}
	a.took = time.Since(start)
	if response.StatusCode != http.StatusOK {
		return a, fmt.Errorf("%s: %s", url, response.Status)
	}
	a.compressed = response.Header.Get("Content-Encoding") == "gzip"
	a.media, _, _ = strings.Cut(response.Header.Get("Content-Type"), ";")
	return a, nil
}

// onlyWriter hides that io.Discard would rather read by itself, in small pieces.
type onlyWriter struct{ io.Writer }

// post sends a body, and returns what was answered if it is a success.
func post(ctx context.Context, url, contentType string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", contentType)
	return do(r)
}

// errBusy is 503.
var errBusy = errors.New("busy")

func get(ctx context.Context, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	return do(r)
}

func do(r *http.Request) ([]byte, error) {
	response, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusServiceUnavailable {
		return nil, fmt.Errorf("%w: %.300s", errBusy, page)
	}
	if response.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s: %s: %.300s", r.URL, response.Status, page)
	}
	return page, nil
}
