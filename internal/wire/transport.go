// Package wire is what all that sends evidence over a network shares: connections
// whose TLS files are read again when they change, attempts that end when nothing
// moves, and sentences for what went wrong.
//
// Its promise: an attempt ends. A peer that hangs, trickles, or answers without
// end costs at most the timeout and the memory of a few buffers.
package wire

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// ErrStalled ends an attempt in which nothing moved.
var ErrStalled = errors.New("nothing moved for the whole timeout")

// Config says how to connect.
type Config struct {
	// CAFile holds certificates (PEM) that are trusted beside the system's.
	CAFile string
	// CertFile and KeyFile are the client certificate (PEM).
	CertFile, KeyFile string
	// Token returns the bearer token of a request. Nil: none is sent.
	Token func() ([]byte, error)
	// Timeout ends an attempt in which nothing moved for so long.
	Timeout time.Duration
	// Connections is how many are kept open for the next request. Default: 4.
	Connections int
	// Fixed replaces connections, TLS and proxies, for tests.
	Fixed http.RoundTripper
}

// Transport makes one attempt: with the certificates and the token of now, and
// not for longer than something moves. It is safe for concurrent use.
type Transport struct {
	token   func() ([]byte, error)
	timeout time.Duration
	fixed   http.RoundTripper // for tests
	files   TLSFiles
	idle    int

	mu      sync.Mutex
	current *http.Transport
	stamp   TLSStamp // of the files that current was made from
}

// NewTransport reads the TLS files; it does not connect.
func NewTransport(c Config) (*Transport, error) {
	files, err := NewTLSFiles(c.CAFile, c.CertFile, c.KeyFile)
	if err != nil {
		return nil, err
	}
	t := &Transport{token: c.Token, timeout: c.Timeout, fixed: c.Fixed, files: files, idle: cmp.Or(c.Connections, 4)}
	_, err = t.connections()
	return t, err
}

// connections returns the pool of connections made with the files as they are.
func (t *Transport) connections() (http.RoundTripper, error) {
	if t.fixed != nil {
		return t.fixed, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	stamp, err := t.files.Stamp()
	if err != nil {
		return nil, err
	}
	if t.current != nil && stamp == t.stamp {
		return t.current, nil
	}
	config, err := t.files.Load()
	if err != nil {
		return nil, err
	}
	if t.current != nil {
		t.current.CloseIdleConnections()
	}
	t.current, t.stamp = t.pool(config), stamp
	return t.current, nil
}

func (t *Transport) pool(config *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    15 * time.Second,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConns:           t.idle,
		MaxIdleConnsPerHost:    t.idle,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // what is read back is compared byte by byte
	}
}

// CloseIdleConnections is called by http.Client.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.fixed.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current != nil {
		t.current.CloseIdleConnections()
	}
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	through, err := t.connections()
	if err != nil {
		return nil, errors.Join(&LocalError{Kind: "tls files", Err: err}, closeBody(request))
	}
	token, err := t.bearer()
	if err != nil {
		return nil, errors.Join(&LocalError{Kind: "token", Err: err}, closeBody(request))
	}
	ctx, cancel := context.WithCancelCause(request.Context())
	watch := &watch{timeout: t.timeout, cancel: cancel}
	watch.timer = time.AfterFunc(t.timeout, func() { cancel(ErrStalled) })
	attempt := request.Clone(ctx)
	if token != "" {
		attempt.Header.Set("Authorization", "Bearer "+token)
	}
	if request.Body != nil && request.Body != http.NoBody {
		attempt.Body = &moving{ReadCloser: request.Body, watch: watch}
		attempt.GetBody = func() (io.ReadCloser, error) {
			body, err := request.GetBody()
			return &moving{ReadCloser: body, watch: watch}, err
		}
	}
	response, err := through.RoundTrip(attempt)
	if err != nil {
		stalled := errors.Is(context.Cause(ctx), ErrStalled)
		watch.stop()
		if stalled {
			return nil, ErrStalled
		}
		return nil, err
	}
	response.Request = request // not the clone, which has the token
	response.Body = &watched{moving{ReadCloser: response.Body, watch: watch}}
	return response, nil
}

func closeBody(request *http.Request) error {
	if request.Body == nil {
		return nil
	}
	return request.Body.Close()
}

// bearer returns the token as of now, checked to be what a header may carry
// (RFC 6750, section 2.1). Errors never repeat it.
func (t *Transport) bearer() (string, error) {
	if t.token == nil {
		return "", nil
	}
	raw, err := t.token()
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return "", errors.New("read token: it is empty")
	}
	for _, c := range raw {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && bytes.IndexByte([]byte("-._~+/="), c) < 0 {
			return "", errors.New("read token: it has a character that no bearer token may have")
		}
	}
	return string(raw), nil
}

// watch ends an attempt when nothing moved for the timeout.
type watch struct {
	timeout time.Duration
	timer   *time.Timer
	cancel  context.CancelCauseFunc
}

func (w *watch) moved() { w.timer.Reset(w.timeout) }

func (w *watch) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// movesAtLeast is how many bytes must pass within the timeout: a peer that
// trickles has stalled too.
const movesAtLeast = 4 << 10

// moving is a body whose reads show that the attempt goes on.
type moving struct {
	io.ReadCloser
	watch *watch
	bytes int // since the watch was told
}

func (m *moving) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	if m.bytes += n; m.bytes >= movesAtLeast {
		m.bytes = 0
		m.watch.moved()
	}
	return n, err
}

// watched is the body of the answer; closing it ends the attempt.
type watched struct{ moving }

func (w *watched) Close() error {
	defer w.watch.stop()
	return w.ReadCloser.Close()
}
