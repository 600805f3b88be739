// Package admin is the way in for those who operate an agent: status, metrics,
// health, the live view of records, reload.
//
// Its promises: it answers on a unix socket (on Windows a named pipe) that only the
// agent's user may open, and, where the configuration says so, on a loopback address. What can change
// the agent or shows records (reload, tap, profiles) is on the socket alone.
// Nobody who asks, however often or slowly, delays a log line: an answer is made
// from one snapshot, and a tap that does not keep up loses lines of its own view
// and is told how many.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Settings come from the user.
type Settings struct {
	Socket string // path of the unix socket or named pipe; empty: none
	Listen string // loopback host:port; empty: none
	// ReadyAge is how old the oldest unacknowledged record may be before
	// /readyz says no; 0: as old as it likes.
	ReadyAge time.Duration
}

// Deps come from code.
type Deps struct {
	Log *slog.Logger
	// Status returns a snapshot. Safe for concurrent use.
	Status func() Status
	// Reload loads the configuration again and returns the generation that runs
	// then; nil: this agent can not.
	Reload func(ctx context.Context) (generation int, err error)
	// Tap has records of the input (empty: all) sent to view until the returned
	// function is called.
	Tap *Taps
	// SelfLog returns the newest lines of the agent's own log, as JSON; nil: none
	// are kept.
	SelfLog func() []byte
}

// Server answers until Close.
type Server struct {
	settings  Settings
	deps      Deps
	listeners []net.Listener
	servers   []*http.Server
	running   sync.WaitGroup
}

// Limits of a request. A tap is written for as long as it is read.
const (
	headerTime = 5 * time.Second
	idleTime   = time.Minute
	maxHeader  = 16 << 10
	closeTime  = time.Second
)

// Listen begins to answer. A socket that a killed agent left is taken over: the
// caller holds the lock of the data_dir it lies in. The server answers on what
// could be opened; the error says what could not.
func Listen(ctx context.Context, settings Settings, deps Deps) (*Server, error) {
	s := &Server{settings: settings, deps: deps}
	var all []error
	if settings.Socket != "" {
		l, err := listenSocket(ctx, settings.Socket)
		if err != nil {
			all = append(all, err)
		} else {
			s.serve(l, s.socketHandler())
		}
	}
	if settings.Listen != "" {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", settings.Listen)
		if err != nil {
			all = append(all, fmt.Errorf("listen on admin.listen %s, choose a port that is free: %w", settings.Listen, err))
		} else {
			s.serve(l, loopbackOnly(s.openHandler()))
		}
	}
	return s, errors.Join(all...)
}

func (s *Server) serve(l net.Listener, handler http.Handler) {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(s.deps.Log.Handler(), slog.LevelDebug),
	}
	s.listeners = append(s.listeners, l)
	s.servers = append(s.servers, server)
	s.running.Go(func() {
		if err := server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.deps.Log.Error("the admin endpoint ended; status and metrics are not to be had until the next start", "address", l.Addr().String(), "error", err)
		}
	})
}

// Addresses returns where it answers, for logs.
func (s *Server) Addresses() (list []string) {
	for _, l := range s.listeners {
		if network := l.Addr().Network(); network != "tcp" {
			list = append(list, network+":"+s.settings.Socket)
			continue
		}
		list = append(list, "http://"+l.Addr().String())
	}
	return list
}

// Close ends all requests, taps too, and takes the socket away.
func (s *Server) Close() error {
	var all []error
	for _, server := range s.servers {
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		err := server.Shutdown(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		all = append(all, err)
	}
	s.running.Wait()
	return errors.Join(all...)
}

// loopbackOnly refuses requests that a page of another origin talked a browser
// into (DNS rebinding): their Host is a name of that page.
func loopbackOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !loopbackHost(r.Host) {
			http.Error(w, "this endpoint answers to the loopback address it listens on only", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func loopbackHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}
