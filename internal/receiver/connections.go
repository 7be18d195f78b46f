package receiver

import (
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultMaxConnections is more than the number of a company's pods that end in the same second. Each
// connection costs about 10 to 20 kB.
const DefaultMaxConnections = 8192

const (
	// spareFiles are file descriptors that connections leave to the ledger and the rest.
	spareFiles = 64
	// purgePause is how often idle connections are closed at most.
	purgePause = 5 * time.Millisecond
)

// connections bounds the number of open connections. At the limit, a new client is still served, and
// connections that wait for their next request are closed instead: their clients open new ones when
// they need them. New connections are refused only if a quarter more than the limit are in the middle
// of a request.
type connections struct {
	server  *http.Server
	limit   int64
	refused func()
	open    atomic.Int64
	purged  atomic.Int64 // when idle ones were closed, Unix nanoseconds
}

// limitConnections limits the server's connections. The limit is lower if the system allows the process
// fewer open files.
func limitConnections(server *http.Server, limit int, refused func(), logger *slog.Logger) *connections {
	c := &connections{server: server, limit: int64(limit), refused: refused}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err == nil && files.Cur < 1<<32 {
		c.limit = max(1, min(c.limit, (int64(files.Cur)-spareFiles)*4/5))
		if c.limit < int64(limit) {
			logger.Warn("The limit of open files allows fewer connections than --web.max-connections: raise it (ulimit -n, LimitNOFILE=)",
				"files", files.Cur, "connections", c.limit, "asked_for", limit)
		}
	}
	server.ConnState = c.changed
	return c
}

func (c *connections) changed(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		n := c.open.Add(1)
		if n > c.limit {
			c.closeIdle()
		}
		if n > c.limit+c.limit/4 {
			c.refused()
			_ = conn.Close() // an error changes nothing
		}
	case http.StateClosed, http.StateHijacked:
		c.open.Add(-1)
	case http.StateActive, http.StateIdle:
	}
}

// closeIdle closes the connections that wait for their next request. net/http does this when keep-alive
// is switched off. Requests that are being answered at this moment lose their connections too.
func (c *connections) closeIdle() {
	last, now := c.purged.Load(), time.Now().UnixNano()
	if time.Duration(now-last) < purgePause || !c.purged.CompareAndSwap(last, now) {
		return
	}
	c.server.SetKeepAlivesEnabled(false)
	c.server.SetKeepAlivesEnabled(true)
}
