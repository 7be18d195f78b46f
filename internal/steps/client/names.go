package client

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// Limits of looking up.
const (
	lookUpTimeout   = attemptTimeout
	firstNameServer = time.Second // that a name server has to answer; the next two look-ups after one in vain wait 2 s and 4 s
)

// names looks up names. A name server that is silent is left for the next one sooner
// than by Go's resolver, which waits five seconds, for each domain that is searched.
type names struct {
	resolver net.Resolver
	connect  func(ctx context.Context, network, server string) (net.Conn, error)
	late     atomic.Uint32 // look-ups in a row that ended because no name server answered
}

func newNames() *names {
	n := &names{connect: (&net.Dialer{}).DialContext}
	n.resolver = net.Resolver{PreferGo: true, Dial: n.dial}
	return n
}

// lookUp is (*net.Resolver).LookupNetIP. The wait goes round, for all servers may be
// slow, but a long wait for the first would leave no time to ask the others.
func (n *names) lookUp(ctx context.Context, network, host string) ([]netip.Addr, error) {
	ips, err := n.resolver.LookupNetIP(ctx, network, host)
	var failure *net.DNSError
	if errors.As(err, &failure) && failure.IsTimeout {
		n.late.Add(1)
	} else {
		n.late.Store(0)
	}
	return ips, err
}

// dial is for net.Resolver, which asks the next server when the connection times out.
func (n *names) dial(ctx context.Context, network, server string) (net.Conn, error) {
	until := time.Now().Add(firstNameServer << (n.late.Load() % 3))
	ctx, cancel := context.WithDeadline(untraced{ctx}, until)
	defer cancel()
	conn, err := n.connect(ctx, network, server)
	if err != nil {
		return nil, err
	}
	if packets, ok := conn.(*net.UDPConn); ok {
		return impatientPackets{packets, until}, nil
	}
	return impatient{conn, until}, nil
}

// untraced hides that the connection to a name server belongs to a request: it isn't
// the receiver that answered.
type untraced struct{ context.Context }

func (untraced) Value(any) any { return nil }

// An impatient connection has a deadline that can't be put off.
type impatient struct {
	net.Conn
	until time.Time
}

func (c impatient) SetDeadline(t time.Time) error { return c.Conn.SetDeadline(earlier(t, c.until)) }

// impatientPackets tells the resolver that it is packets what goes through it.
type impatientPackets struct {
	*net.UDPConn
	until time.Time
}

func (c impatientPackets) SetDeadline(t time.Time) error {
	return c.UDPConn.SetDeadline(earlier(t, c.until))
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
