package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/auditail/auditail/internal/archive"
)

// Server receives objects. Its handler may be used by any number of goroutines.
type Server struct {
	*places
	config   Config
	logger   *slog.Logger
	clock    func() time.Time
	witness  *witness
	journal  Journal
	metrics  *metrics
	refusals refusals
	logs     logs
	requests chan struct{} // one of its slots a request
	known    atomic.Pointer[knownHolds]
	checkers chan *archive.PayloadChecker // idle ones; there are as many as payloads may be checked at a time
}

// maxRequests is how many requests are served at a time; more are asked to come
// again. Each holds a connection's buffers and at most maxSeal bytes.
const maxRequests = 512

// New opens the store and proves that it can be written.
func New(ctx context.Context, c Config, d Deps) (*Server, error) {
	if c.MaxPayload <= 0 {
		return nil, fmt.Errorf("max payload must be more than %d bytes", c.MaxPayload)
	}
	p, err := openPlaces(ctx, c, d, true)
	if err != nil {
		return nil, err
	}
	if err := p.incoming.clean(); err != nil {
		return nil, err
	}
	if err := p.store.probe(ctx); err != nil {
		return nil, err
	}
	if _, err := p.registry.list(ctx); err != nil {
		return nil, err
	}
	w, err := loadWitness(ctx, c, d, p)
	if err != nil {
		return nil, err
	}
	s := &Server{
		places: p, config: c, logger: d.Logger, clock: d.Now, witness: w, journal: d.Journal, metrics: newMetrics(),
		logs:     logs{byAgent: make(map[string]*agentLog)},
		requests: make(chan struct{}, maxRequests),
		checkers: make(chan *archive.PayloadChecker, runtime.GOMAXPROCS(0)),
	}
	for range cap(s.checkers) {
		checker, err := archive.NewPayloadChecker()
		if err != nil {
			return nil, err
		}
		s.checkers <- checker
	}
	return s, nil
}

// Limits of time. A body has its own, by its length.
const (
	headerTimeout   = 10 * time.Second
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 10 * time.Second
	// maxHeader fits a manifest in base64 beside what clients and proxies add.
	maxHeader = 32 << 10
)

// Listen opens the configured address.
func Listen(ctx context.Context, c Config) (net.Listener, error) {
	if err := c.checkListen(); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return nil, listenError(c.Listen, err)
	}
	return l, nil
}

// Run serves until ctx ends, then lets running requests finish for at most 10
// seconds. It closes the listener.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	scheme := "http"
	if s.config.TLSCert != "" {
		scheme = "https"
		files := &certificateFiles{cert: s.config.TLSCert, key: s.config.TLSKey, logger: s.logger}
		err := s.config.checkFiles()
		if err == nil {
			err = files.load()
		}
		if err != nil {
			return errors.Join(err, l.Close())
		}
		srv.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: files.get}
	}
	done := make(chan error, 1)
	go func() {
		if srv.TLSConfig != nil {
			done <- srv.ServeTLS(l, "", "")
			return
		}
		done <- srv.Serve(l)
	}()
	watching, stopWatch := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { s.watch(watching) })
	defer watch.Wait()
	defer stopWatch()
	s.logger.InfoContext(ctx, "listening", "url", scheme+"://"+l.Addr().String(), "store", s.store.String())
	select {
	case err := <-done:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	s.logger.InfoContext(ctx, "stopping")
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := srv.Shutdown(deadline); err != nil {
		// What was cut off was not acknowledged; the agents send it again.
		s.logger.WarnContext(ctx, "requests were cut off", "error", err)
		if err := srv.Close(); err != nil {
			return fmt.Errorf("close server: %w", err)
		}
	}
	return nil
}
