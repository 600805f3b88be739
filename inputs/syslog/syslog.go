// Package syslog takes syslog messages, RFC 5424 and RFC 3164, over unix
// sockets, UDP, TCP and TLS.
//
// Syslog has no acknowledgements, so its promise is smaller than that of other
// inputs: every message that was read from a socket becomes durable unless the
// agent is killed first, and while the buffer is full nothing is read, so that
// senders over a unix socket or TCP wait. UDP senders can not wait: what the
// kernel drops there is a gap of cause socket_overflow, where it says so.
package syslog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/internal/listen"
	"github.com/auditail/auditail/inputs/internal/pushed"
)

// limits are the waits and sizes that no user needs to know.
type limits struct {
	handshake   time.Duration
	frame       time.Duration // from the first byte of a message to its last
	drain       time.Duration // for what lies in the sockets when the input stops
	grace       time.Duration // for the buffer to take what was read then
	connections int
	waiting     int64 // bytes of datagrams that wait for the buffer
}

func defaultLimits() limits {
	return limits{
		handshake: 10 * time.Second, frame: time.Minute, drain: 200 * time.Millisecond, grace: 5 * time.Second,
		connections: 128, waiting: 4 << 20,
	}
}

// Input takes messages until its context ends. Run may be called once at a time.
type Input struct {
	memory  *inputs.Memory
	config  Config
	address listen.Address
	log     *slog.Logger
	now     func() time.Time
	limits  limits
	ready   func(net.Addr) // told when messages can come; may be nil
}

var _ inputs.Input = (*Input)(nil)

// New checks the configuration. It opens nothing.
func New(config Config, deps Deps) (*Input, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	address, err := config.address()
	if err != nil {
		return nil, err
	}
	if config.MaxLine == 0 {
		config.MaxLine = pushed.DefaultMaxLine
	}
	if config.IdleTimeout == 0 {
		config.IdleTimeout = DefaultIdleTimeout
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Memory == nil {
		deps.Memory = inputs.NewMemory(config.MaxLine)
	}
	return &Input{
		config: config, address: address, log: deps.Logger.With("input", config.Name), now: deps.Now, memory: deps.Memory,
		limits: defaultLimits(),
	}, nil
}

// run is one call of Run.
type run struct {
	*Input
	feed *pushed.Feed
	late context.Context //nolint:containedctx // outlives ctx by limits.grace, for what was read already
	path string          // Line.Path
}

// Run implements inputs.Input. When ctx ends it takes what lies in the sockets
// and makes it durable.
func (in *Input) Run(ctx context.Context, resume []inputs.Position, to inputs.Appender) error {
	feed, err := pushed.Open(pushed.Config{Name: in.config.Name, MaxLine: in.config.MaxLine, Memory: in.memory, Now: in.now}, resume, to)
	if err != nil {
		return err
	}
	late, cancel := pushed.Linger(ctx, in.limits.grace)
	defer cancel()
	r := &run{Input: in, feed: feed, late: late, path: in.address.String()}
	receive, err := r.open(ctx)
	if err != nil {
		return err
	}
	receiving, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		ended <- feed.Run(late)
		stop()
	}()
	err = receive(receiving)
	cancel()
	return errors.Join(<-ended, err)
}

// open opens the socket and returns what receives from it until its context ends.
func (r *run) open(ctx context.Context) (receive func(context.Context) error, err error) {
	switch r.address.Network {
	case "udp", "unixgram":
		socket, err := listen.Packets(ctx, r.address)
		if err != nil {
			return nil, err
		}
		r.listening(ctx, socket.LocalAddr())
		return func(ctx context.Context) error { return r.datagrams(ctx, socket) }, nil
	default:
		config, err := r.config.TLS.Server(r.log, r.now)
		if err != nil {
			return nil, err
		}
		listener, err := listen.Stream(ctx, r.address)
		if err != nil {
			return nil, err
		}
		address := listener.Addr()
		listener = listen.Limit(listener, r.limits.connections, r.log)
		if config != nil {
			listener = tls.NewListener(listener, config)
		}
		r.listening(ctx, address)
		return func(ctx context.Context) error { return r.connections(ctx, listener) }, nil
	}
}

func (r *run) listening(ctx context.Context, address net.Addr) {
	r.log.InfoContext(ctx, "listening", "address", address.Network()+":"+address.String())
	if r.ready != nil {
		r.ready(address)
	}
}

// connections serves connections until ctx ends and all of them are read out.
func (r *run) connections(ctx context.Context, listener net.Listener) error {
	var open sync.WaitGroup
	defer open.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() }) // Accept tells
	defer stop()
	for {
		conn, err := listener.Accept()
		switch {
		case err == nil:
			open.Go(func() { r.connection(ctx, conn) })
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept connections on %s: %w", r.address, err)
		default: // such as too many open files: it passes
			r.log.WarnContext(ctx, "connection can not be accepted", "error", err)
			if !wait(ctx, time.Second) {
				return nil
			}
		}
	}
}

// wait returns false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// connection reads one connection to its end. What is wrong with it is said
// once and ends it alone.
func (r *run) connection(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	log := r.log.With("peer", conn.RemoteAddr().String())
	if secure, ok := conn.(*tls.Conn); ok {
		limit, cancel := context.WithTimeout(ctx, r.limits.handshake)
		defer cancel()
		if err := secure.HandshakeContext(limit); err != nil {
			log.WarnContext(ctx, "connection is closed: TLS handshake", "error", err)
			return
		}
	}
	paced := &pacedConn{Conn: conn, ctx: ctx, idle: r.config.IdleTimeout, frame: r.limits.frame, drain: r.limits.drain}
	stop := context.AfterFunc(ctx, paced.wake)
	defer stop()
	s := newStream(paced, connBuffer, r.config.MaxLine, r.memory)
	for {
		err := r.batch(s)
		switch {
		case err == nil:
			continue
		case ctx.Err() != nil, errors.Is(err, errEnd), errors.Is(err, pushed.ErrStopped):
		case errors.Is(err, os.ErrDeadlineExceeded):
			log.InfoContext(ctx, "connection is closed: nothing came for too long")
		default:
			log.WarnContext(ctx, "connection is closed", "error", err)
		}
		return
	}
}

// batch hands over the next message with those that are there already. It
// returns when they are durable.
func (r *run) batch(s *stream) error {
	defer s.release()
	lines := s.lines[:0]
	var err error
	for more := true; more; more = len(lines) < maxBatch && s.ready() {
		var m frame
		if m, err = s.next(r.late); err != nil {
			break
		}
		lines = append(lines, pushed.Line{Path: r.path, Data: r.text(m), Cut: m.cut})
		if m.long {
			break
		}
	}
	s.lines = lines
	if len(lines) > 0 {
		if failed := r.feed.Append(r.late, pushed.Delivery{Lines: lines}); failed != nil {
			return failed
		}
	}
	return err
}

// maxBatch is how many messages of a connection are handed over together.
const maxBatch = 1000

// text returns what parsers get of a message. A cut one stays as it was
// received, because length and digest are of the whole.
func (r *run) text(m frame) []byte {
	if r.config.Keep || m.cut != nil {
		return m.data
	}
	return Content(m.data)
}
