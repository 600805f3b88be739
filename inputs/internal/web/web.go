// Package web is what the inputs share that are sent to over HTTP: a server
// with bounds on everything that a client decides, and the bookkeeping that
// makes 200 mean durable.
//
// The promise: a request is answered with success when all its lines are
// durable, and with an error when none of them is. The one exception is a
// request that is cut off by the end of the agent while its lines are written:
// it gets no answer or 503, and a repeat makes new records.
package web

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/internal/listen"
	"github.com/auditail/auditail/inputs/internal/pushed"
	"github.com/auditail/auditail/internal/memory"
)

// DefaultMaxBody is the largest body, in bytes and decompressed, when nothing
// else is configured.
const DefaultMaxBody = 16 << 20

// Config is what users say about an input over HTTP.
type Config struct {
	// Name is the input's name; it becomes Line.Source.
	Name string
	// Listen is "host:port" or "unix:/path".
	Listen string
	// Path is the one path that is served.
	Path string
	// MaxLine is the most bytes of one line handed over whole; 0 is 4 MiB.
	MaxLine int64
	// MaxBody is the most bytes of one request, decompressed; 0 is DefaultMaxBody.
	MaxBody int64
	// Token returns the bearer token that requests must carry. It is asked for
	// every request, so that a new one needs no restart. nil asks for none.
	Token func() ([]byte, error)
	TLS   listen.TLS
}

// Deps is what code gives.
type Deps struct {
	Logger *slog.Logger
	Now    func() time.Time // nil is time.Now
	// Memory is shared by the inputs of an agent; nil: the input has its own.
	Memory *inputs.Memory
}

// Limits of MaxLine and MaxBody in bytes.
const (
	minMaxLine = 256
	minMaxBody = 1 << 10
	maxMaxBody = 1 << 30
)

// Validate returns nil or an error that says in full what is wrong.
func (c *Config) Validate() error {
	var problems []error
	if c.Name == "" {
		problems = append(problems, errors.New("name is missing"))
	}
	address, err := listen.Parse(c.Listen, "tcp", "unix")
	problems = append(problems, err, c.TLS.Validate())
	if err == nil && !address.Local() && (c.TLS.Cert == "" || c.Token == nil && c.TLS.ClientCA == "") {
		problems = append(problems, fmt.Errorf("listen = %q can be reached from other hosts: that needs tls_cert, tls_key, and token or client_ca; "+
			`or listen on a loopback address or a unix socket, such as "unix:/run/auditail/in.sock"`, c.Listen))
	}
	if len(c.Path) == 0 || c.Path[0] != '/' {
		problems = append(problems, fmt.Errorf("path = %q: must begin with a slash", c.Path))
	}
	if c.MaxBody != 0 && (c.MaxBody < minMaxBody || c.MaxBody > maxMaxBody) {
		problems = append(problems, fmt.Errorf("max_body is %d bytes: must be from %d bytes to 1 GiB", c.MaxBody, minMaxBody))
	}
	if c.MaxLine != 0 && (c.MaxLine < minMaxLine || c.MaxLine > maxMaxBody) {
		problems = append(problems, fmt.Errorf("max_line is %d bytes: must be from %d bytes to 1 GiB", c.MaxLine, minMaxLine))
	}
	return errors.Join(problems...)
}

// Kind is what one kind of input over HTTP is: where it listens when nothing
// else is configured, and what it makes of requests.
type Kind struct {
	Listen, Path string
	Format
}

// Format is what one kind of input makes of requests.
type Format interface {
	// Accepts tells whether the media type of a request is one of the format's,
	// and names those that are.
	Accepts(media string) (bool, string)
	// Convert makes the lines of a body, each but the last followed by LF.
	// media is one that Accepts took; share is asked before memory is taken.
	// body may be changed. An error is a *RefusalError.
	Convert(media string, body []byte, share *Share) (Lines, error)
	// Success encodes the answer to a request whose lines are durable.
	Success(media string, lines Lines) (contentType string, body []byte)
	// Failure encodes the answer to a request that is refused. media is what
	// the request said, whatever it is.
	Failure(media string, r *RefusalError) (contentType string, body []byte)
}

// Lines is what a request holds.
type Lines struct {
	Data  []byte // lines, each but the last followed by LF
	Count int64  // lines in Data; 0 when there are none, because Data can not tell
	// Rejected counts what was left out for good, Reason says why.
	Rejected int64
	Reason   string
}

// Limits are the waits and counts that no user needs to know.
type Limits struct {
	Header      time.Duration // until the headers of a request are there
	Idle        time.Duration // of a connection between two requests
	Pause       time.Duration // between two pieces of a body
	Body        time.Duration // until a body is there
	Answer      time.Duration // until an answer was taken
	Patience    time.Duration // until a request that waits for the buffer is asked to come again
	Grace       time.Duration // for requests in flight when the input stops
	Connections int
	Waiting     int64 // bytes that all requests may take together where Deps.Memory is not given
}

// DefaultLimits fit a body of maxBody bytes and as much for its lines.
func DefaultLimits(maxBody int64) Limits {
	return Limits{
		Header: 10 * time.Second, Idle: time.Minute, Pause: 10 * time.Second, Body: 2 * time.Minute, Answer: 10 * time.Second,
		Patience: 10 * time.Second, Grace: 5 * time.Second, Connections: 256, Waiting: 2 * max(maxBody, DefaultMaxBody),
	}
}

// maxHeader bounds the headers of a request.
const maxHeader = 16 << 10

// Server is one input. Run may be called once at a time.
type Server struct {
	memory  *inputs.Memory
	config  Config
	address listen.Address
	log     *slog.Logger
	now     func() time.Time
	format  Format
	limits  Limits
	ready   func(net.Addr)
}

// New checks the configuration. It opens nothing. ready, when not nil, is told
// the address when requests can come.
func New(config Config, deps Deps, kind Kind, limits Limits, ready func(net.Addr)) (*Server, error) {
	config.Listen = cmp.Or(config.Listen, kind.Listen)
	config.Path = cmp.Or(config.Path, kind.Path)
	if err := config.Validate(); err != nil {
		return nil, err
	}
	address, err := listen.Parse(config.Listen, "tcp", "unix")
	if err != nil {
		return nil, err
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Memory == nil {
		deps.Memory = &inputs.Memory{Budget: memory.New(limits.Waiting), Long: memory.New(limits.Waiting)}
	}
	config.MaxBody = cmp.Or(config.MaxBody, DefaultMaxBody)
	return &Server{
		config: config, address: address, log: deps.Logger.With("input", config.Name), now: deps.Now,
		format: kind.Format, limits: limits, ready: ready, memory: deps.Memory,
	}, nil
}

// Run implements inputs.Input. When ctx ends it stops accepting, and waits for
// the requests in flight.
func (s *Server) Run(ctx context.Context, resume []inputs.Position, to inputs.Appender) error {
	feed, err := pushed.Open(pushed.Config{
		Name: s.config.Name, MaxLine: s.config.MaxLine, MaxWaiting: s.memory.Size() + s.memory.Long.Size(), Now: s.now,
	}, resume, to)
	if err != nil {
		return err
	}
	tlsConfig, err := s.config.TLS.Server(s.log, s.now)
	if err != nil {
		return err
	}
	listener, err := listen.Stream(ctx, s.address)
	if err != nil {
		return err
	}
	address := listener.Addr()
	listener = listen.Limit(listener, s.limits.Connections, s.log)
	if tlsConfig != nil {
		listener = tls.NewListener(listener, tlsConfig)
	}

	late, cancel := pushed.Linger(ctx, s.limits.Grace)
	defer cancel()
	serving, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		ended <- feed.Run(late)
		stop()
	}()
	if s.ready != nil {
		s.ready(address)
	}
	s.log.InfoContext(ctx, "listening", "address", address.String())
	err = s.serve(serving, listener, s.handler(feed))
	cancel()
	return errors.Join(<-ended, err)
}

// serve answers requests until ctx ends and those in flight are answered.
func (s *Server) serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: s.limits.Header,
		IdleTimeout:       s.limits.Idle,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve %s: %w", s.address, err)
	case <-ctx.Done():
	}
	// The feed ends after Grace and with it what waits for it; what is left then
	// are clients that do not send or take.
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.limits.Grace+time.Second)
	defer cancel()
	err := server.Shutdown(limit)
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.WarnContext(ctx, "requests were cut off; their senders have no answer")
		err = server.Close()
	}
	if ended := <-done; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	if err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close %s: %w", s.address, err)
	}
	return nil
}
