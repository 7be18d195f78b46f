// Package client sends finished jobs to a receiver: the other end of the wire
// that package steps serves.
//
// JSON objects come in through [Client.Send], go out as one POST of an array, and
// what became of them comes back as a [steps.Answer]. Each call is one attempt;
// its error says whether another one can help ([Error.Final]) and when
// ([Error.RetryAfter]). Whoever sends (the exporter) decides about retries, for
// which every item should carry an id.
//
// Only an answer in the receiver's own words counts as delivered: a 200 from a
// login page or another service behind the name is an error. The environment's
// HTTP_PROXY is not looked at; it belongs to the job whose pod this runs in.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"ci-jobs-metrics/internal/steps"
)

// Limits of one attempt.
const (
	attemptTimeout = 10 * time.Second // from dialling to the end of the answer
	dialTimeout    = 5 * time.Second  // shared by the addresses behind the name
	maxRedirects   = 5
	maxAnswer      = 4 << 20 // bytes; the most problems that an answer lists fit
)

// Options say how a Client sends. The zero value is usable.
type Options struct {
	Proxy     *url.URL      // http, https or socks5; nil: none
	Timeout   time.Duration // of one attempt; 0: 10 s
	UserAgent string        // empty: Go's own
}

// A Client sends to one receiver. Its methods may be called from several
// goroutines.
type Client struct {
	target    string
	timeout   time.Duration
	userAgent string
	http      http.Client
}

// New returns a Client for a receiver, which is a host, host:port, IPv6 literal or
// URL; see [ParseTarget]. It does not connect.
func New(target string, o Options) (*Client, error) {
	u, err := ParseTarget(target)
	if err != nil {
		return nil, err
	}
	if o.Timeout == 0 {
		o.Timeout = attemptTimeout
	}
	c := &Client{target: u.String(), timeout: o.Timeout, userAgent: o.UserAgent}
	c.http = http.Client{Transport: newTransport(o.Proxy), CheckRedirect: checkRedirect}
	return c, nil
}

// newTransport connects over HTTP/1.1 only, which needs the least memory. TCP
// keep-alive probes are off and an idle connection goes soon: a waiting sender
// must not wake up.
func newTransport(proxy *url.URL) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: -1}
	t := &http.Transport{
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConns:        1,
		IdleConnTimeout:     30 * time.Second,
		WriteBufferSize:     4 << 10,
		ReadBufferSize:      4 << 10,
		DisableCompression:  true,
	}
	if proxy != nil {
		t.Proxy = http.ProxyURL(proxy)
	}
	return t
}

// checkRedirect follows only what keeps method and body.
func checkRedirect(r *http.Request, via []*http.Request) error {
	keeps := r.Response.StatusCode == http.StatusTemporaryRedirect ||
		r.Response.StatusCode == http.StatusPermanentRedirect
	if !keeps || len(via) > maxRedirects {
		return http.ErrUseLastResponse
	}
	return nil
}

// Target is the address that items are sent to, without a password.
func (c *Client) Target() string {
	u, err := url.Parse(c.target)
	if err != nil { // can't be: New made it
		return ""
	}
	return u.Redacted()
}

// Close closes connections that are kept for the next attempt.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Send makes one attempt to deliver items, each a JSON object. When it returns
// without an error, the receiver has recorded durably all items but those that the
// Answer lists as rejected, by their index in items. A refusal is an [*Error]; any
// other error means that there was no whole answer, and the items may or may not
// have been recorded.
func (c *Client) Send(ctx context.Context, items []json.RawMessage) (steps.Answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("no answer within %v", c.timeout))
	defer cancel()
	request, err := c.request(ctx, items)
	if err != nil {
		return steps.Answer{}, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return steps.Answer{}, explain(ctx, err)
	}
	defer response.Body.Close()
	answer, err := readAnswer(response)
	if err != nil {
		return steps.Answer{}, explain(ctx, err)
	}
	return answer, nil
}

func (c *Client) request(ctx context.Context, items []json.RawMessage) (*http.Request, error) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // six times as long
	if err := encoder.Encode(items); err != nil {
		return nil, fmt.Errorf("encode items: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.target, bytes.NewReader(bytes.TrimSpace(body.Bytes())))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", steps.TypeJSON)
	request.Header.Set("Accept", steps.TypeJSON)
	if c.userAgent != "" {
		request.Header.Set("User-Agent", c.userAgent)
	}
	// Present and empty: the transport may repeat the request when a kept
	// connection turns out to be closed, and sends no header.
	request.Header["Idempotency-Key"] = nil
	return request, nil
}

// explain puts the cause of a timeout in place of "context deadline exceeded", and
// leaves out the address, which the sender's log names once.
func explain(ctx context.Context, err error) error {
	var refused *Error
	if errors.As(err, &refused) {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var at *url.Error
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
