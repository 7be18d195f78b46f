// Package client sends finished jobs to a receiver: the other end of the wire
// that package steps serves.
//
// JSON objects come in through [Client.Send], go out as one POST of an array, and
// what became of them comes back as a [wire.Answer]. Each call is one attempt;
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
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"

	"ci-jobs-metrics/internal/steps/wire"
)

// Limits of one attempt.
const (
	attemptTimeout = 10 * time.Second // from dialling to the end of the answer
	firstChance    = time.Second      // that one of several addresses has from connecting to answering a small request; doubled each time
	smallRequest   = 16 << 10         // bytes
	maxRedirects   = 5
	maxAnswer      = 4 << 20 // bytes; the most problems that an answer lists fit
)

// Options say how a Client sends. The zero value is usable.
type Options struct {
	Proxy     *url.URL      // http, https or socks5; nil: none
	Timeout   time.Duration // of one attempt; 0: 10 s
	UserAgent string        // empty: Go's own
	// CAFile holds the certificates in PEM that are trusted in place of the system's.
	// It may be replaced at any time, and need not be there yet.
	CAFile string
	// TokenFile holds a token that is sent as Authorization: Bearer. It may be
	// replaced at any time, and need not be there yet.
	TokenFile string
	// PlainToken allows the token without TLS, where anybody on the way can read it.
	PlainToken bool
}

// A Client sends to one receiver. Its methods may be called from several
// goroutines.
type Client struct {
	target    string
	timeout   time.Duration
	userAgent string
	proxy     *url.URL
	dialer    *dialer

	mu          sync.Mutex
	authorities *authorities // nil: the system's
	token       *token       // nil: none
	http        *http.Client // nil: not known yet whom to trust
	late        int          // attempts in a row that ended because an address didn't answer in its chance
}

// ErrPlainToken says that a token is given, but neither TLS nor Options.PlainToken.
var ErrPlainToken = errors.New("the token would be sent in plain text; write https://")

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
	c := &Client{target: u.String(), timeout: o.Timeout, userAgent: o.UserAgent, proxy: o.Proxy, dialer: newDialer()}
	if o.CAFile != "" {
		if u.Scheme != "https" {
			return nil, fmt.Errorf("receiver %q: a CA is given, but TLS isn't spoken; write https://", u.Redacted())
		}
		c.authorities = &authorities{path: o.CAFile}
	} else {
		c.http = c.newHTTP(nil)
	}
	if o.TokenFile != "" {
		switch {
		case u.User != nil:
			return nil, fmt.Errorf("receiver %q: give a token or a password, not both", u.Redacted())
		case u.Scheme != "https" && !o.PlainToken:
			return nil, fmt.Errorf("receiver %q: %w", u.Redacted(), ErrPlainToken)
		}
		c.token = &token{path: o.TokenFile}
	}
	return c, nil
}

// newHTTP connects over HTTP/1.1 only, which needs the least memory. An idle
// connection goes soon.
func (c *Client) newHTTP(trusted *x509.CertPool) *http.Client {
	t := &http.Transport{
		DialContext:         c.dialer.dial,
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConns:        1,
		IdleConnTimeout:     30 * time.Second,
		WriteBufferSize:     4 << 10,
		ReadBufferSize:      4 << 10,
		DisableCompression:  true,
	}
	if trusted != nil {
		t.TLSClientConfig = &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}
	}
	if c.proxy != nil {
		t.Proxy = http.ProxyURL(c.proxy)
	}
	return &http.Client{Transport: t, CheckRedirect: c.checkRedirect}
}

// refresh reads what may have been replaced. It returns what the next attempt goes
// with.
func (c *Client) refresh() (by *http.Client, authorization string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.authorities != nil {
		trusted, err := c.authorities.read()
		if err != nil {
			return nil, "", err
		}
		if trusted != nil {
			if c.http != nil {
				c.http.CloseIdleConnections()
			}
			c.http = c.newHTTP(trusted)
		}
	}
	if c.token != nil {
		token, err := c.token.read()
		if err != nil {
			return nil, "", err
		}
		authorization = "Bearer " + token
	}
	return c.http, authorization, nil
}

// checkRedirect follows only what keeps method and body, and not where a token would
// be readable on the way. To another host the token doesn't go along.
func (c *Client) checkRedirect(r *http.Request, via []*http.Request) error {
	keeps := r.Response.StatusCode == http.StatusTemporaryRedirect ||
		r.Response.StatusCode == http.StatusPermanentRedirect
	exposed := r.Header.Get("Authorization") != "" && r.URL.Scheme != "https" && via[0].URL.Scheme == "https"
	if !keeps || exposed || len(via) > maxRedirects {
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
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
}

// Send makes one attempt to deliver items, each a JSON object. When it returns
// without an error, the receiver has recorded durably all items but those that the
// Answer lists as rejected, by their index in items. A refusal is an [*Error]; any
// other error means that there was no whole answer, and the items may or may not
// have been recorded.
func (c *Client) Send(ctx context.Context, items []json.RawMessage) (wire.Answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("no answer within %v", c.timeout))
	defer cancel()
	ctx, over := c.chance(ctx, items)
	defer over()
	by, authorization, err := c.refresh()
	if err != nil {
		return wire.Answer{}, err
	}
	request, err := c.request(ctx, items)
	if err != nil {
		return wire.Answer{}, err
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	answer, err := attempt(ctx, by, request)
	if err != nil {
		c.elsewhere(by, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.late++; !errors.Is(err, errLate) {
		c.late = 0
	}
	return answer, err
}

// errLate is why an attempt is ended early.
var errLate = errors.New("no answer in a while: another address behind the name is tried")

// chance ends an attempt early if another address behind the name may answer sooner: a
// receiver that hangs takes connections, and would hold up the job for as long as an
// attempt may take. The time doubles with each attempt that ended so, for all may be
// slow; ids make it harmless that several have the request.
func (c *Client) chance(ctx context.Context, items []json.RawMessage) (attempt context.Context, over func()) {
	size := 0
	for _, item := range items {
		size += len(item)
	}
	if size > smallRequest {
		return ctx, func() {}
	}
	c.mu.Lock()
	limit := firstChance << min(c.late, 10)
	c.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	var once sync.Once
	connected := func() {
		if c.dialer.others() {
			once.Do(func() {
				timer := time.AfterFunc(limit, func() { cancel(errLate) })
				context.AfterFunc(ctx, func() { timer.Stop() })
			})
		}
	}
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		ConnectDone: func(_, _ string, err error) {
			if err == nil { // TLS, and a proxy's answer, are still to come
				connected()
			}
		},
		GotConn: func(httptrace.GotConnInfo) { connected() },
	})
	return traced, func() { cancel(nil) }
}

func attempt(ctx context.Context, by *http.Client, request *http.Request) (wire.Answer, error) {
	response, err := by.Do(request)
	if err != nil {
		return wire.Answer{}, explain(ctx, err)
	}
	defer response.Body.Close()
	answer, err := readAnswer(response)
	if err != nil {
		return wire.Answer{}, explain(ctx, err)
	}
	return answer, nil
}

// elsewhere makes the next attempt go to another address behind the name, if there
// is one, after an attempt that another one can make good.
func (c *Client) elsewhere(by *http.Client, err error) {
	var refusal *Error
	if errors.As(err, &refusal) && refusal.Final() {
		return
	}
	if c.dialer.blame() {
		by.CloseIdleConnections()
	}
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
	request.Header.Set("Content-Type", wire.TypeJSON)
	request.Header.Set("Accept", wire.TypeJSON)
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
