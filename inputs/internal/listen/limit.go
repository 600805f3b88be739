package listen

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// quiet is the least time between two messages about refused connections.
const quiet = time.Minute

// Limit returns a listener of at most n connections at a time. One more is
// closed at once: waiting for another to end, it could wait for an idle one.
func Limit(l net.Listener, n int, log *slog.Logger) net.Listener {
	return &limited{Listener: l, most: int64(n), log: log}
}

type limited struct {
	net.Listener
	most int64
	open atomic.Int64
	log  *slog.Logger

	refused int64 // since the last message
	told    time.Time
}

// Accept implements net.Listener. It is called by one goroutine.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.most {
			return &counted{Conn: c, open: &l.open}, nil
		}
		l.open.Add(-1)
		_ = c.Close()
		l.tell()
	}
}

func (l *limited) tell() {
	l.refused++
	if now := time.Now(); now.Sub(l.told) >= quiet {
		l.log.WarnContext(context.Background(), "connections are refused: too many are open", "most", l.most, "refused", l.refused)
		l.told, l.refused = now, 0
	}
}

// counted leaves the count when it is closed.
type counted struct {
	net.Conn
	open *atomic.Int64
	once sync.Once
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}
