package client

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Limits of connecting.
const (
	dialTimeout  = 5 * time.Second        // for all addresses behind the name, once they are known
	stagger      = 250 * time.Millisecond // that an address has before the next one is tried beside it
	maxAddresses = 64                     // that are tried
)

// A dialer connects to whichever address behind a name answers first. One that is
// dead holds nobody up: the next is tried beside it after a moment, and at once when
// it refuses. Those that failed lately come last.
type dialer struct {
	net.Dialer
	names  *names
	lookUp func(ctx context.Context, network, host string) ([]netip.Addr, error)

	mu      sync.Mutex
	current string // the address of the latest connection
	several bool   // there was more than one to choose from
	failed  []string
}

// TCP keep-alive probes are off: a waiting sender must not wake up.
func newDialer() *dialer {
	n := newNames()
	return &dialer{Dialer: net.Dialer{KeepAlive: -1}, names: n, lookUp: n.lookUp}
}

// blame puts the address of the latest connection behind all others, because what
// it leads to did not deliver. It reports whether there are others.
func (d *dialer) blame() (others bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current != "" && d.several {
		d.fail(d.current)
	}
	return d.several
}

// others reports whether there is more than one address to choose from.
func (d *dialer) others() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.several
}

// fail notes that an address failed just now. d.mu is held.
func (d *dialer) fail(address string) {
	d.failed = append(slices.DeleteFunc(d.failed, func(a string) bool { return a == address }), address)
	d.failed = d.failed[max(0, len(d.failed)-maxAddresses):]
}

// dial is for http.Transport, which doesn't hand on when the attempt must be over.
func (d *dialer) dial(ctx context.Context, network, hostport string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, lookUpTimeout)
	defer cancel()
	ips, err := d.lookUp(limited, "ip", host)
	if err != nil {
		return nil, err
	}
	var addresses []string
	for _, ip := range alternate(ips) {
		addresses = append(addresses, net.JoinHostPort(ip.Unmap().String(), port))
	}
	return d.race(ctx, network, d.order(addresses))
}

// alternate mixes the families, so that one that leads nowhere costs one wait.
func alternate(ips []netip.Addr) []netip.Addr {
	var families [2][]netip.Addr
	for _, ip := range ips {
		family := 0
		if ip.Unmap().Is4() != ips[0].Unmap().Is4() {
			family = 1
		}
		families[family] = append(families[family], ip)
	}
	mixed := make([]netip.Addr, 0, len(ips))
	for i := range ips {
		for _, family := range families {
			if i < len(family) {
				mixed = append(mixed, family[i])
			}
		}
	}
	return mixed
}

// order puts addresses that failed lately last, the latest at the very end.
func (d *dialer) order(addresses []string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.several, d.current = len(addresses) > 1, ""
	slices.SortStableFunc(addresses, func(a, b string) int {
		return slices.Index(d.failed, a) - slices.Index(d.failed, b) // -1: not failed
	})
	return addresses[:min(len(addresses), maxAddresses)]
}

type dialed struct {
	conn    net.Conn
	address string
	err     error
}

// race returns the first connection that is made. Its error is that of the address
// that failed first: those that are only late were not waited for. When the time is
// over no more are tried.
func (d *dialer) race(ctx context.Context, network string, addresses []string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	results := make(chan dialed, len(addresses)) // so that nobody waits for a reader
	started, ended := 0, 0
	next := func() {
		address := addresses[started]
		started++
		go func() {
			conn, err := d.DialContext(ctx, network, address)
			results <- dialed{conn, address, err}
		}()
	}
	pause := min(stagger, dialTimeout/time.Duration(2*max(len(addresses), 1)))
	var failure error
	for ended < len(addresses) {
		var late <-chan time.Time
		var timer *time.Timer
		if ended == started {
			if ctx.Err() != nil {
				break
			}
			next()
		}
		if started < len(addresses) && ctx.Err() == nil {
			timer = time.NewTimer(pause)
			late = timer.C
		}
		select {
		case <-late:
			if ctx.Err() == nil {
				next()
			}
		case r := <-results:
			ended++
			if r.err == nil {
				cancel()
				d.won(r.address, addresses[:slices.Index(addresses, r.address)])
				go closeLate(results, started-ended)
				return r.conn, nil
			}
			if failure == nil {
				failure = r.err
			}
			d.mu.Lock()
			d.fail(r.address)
			d.mu.Unlock()
		}
		if timer != nil {
			timer.Stop()
		}
	}
	if failure == nil {
		failure = ctx.Err()
	}
	if failure == nil {
		failure = errors.New("the name has no addresses")
	}
	return nil, failure
}

// won notes who answered, and that those that were tried before it did not.
func (d *dialer) won(address string, before []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, late := range before {
		d.fail(late)
	}
	d.failed = slices.DeleteFunc(d.failed, func(a string) bool { return a == address })
	d.current = address
}

// closeLate closes the connections that came too late.
func closeLate(results <-chan dialed, n int) {
	for range n {
		if r := <-results; r.conn != nil {
			_ = r.conn.Close()
		}
	}
}
