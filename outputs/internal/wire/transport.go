package httpoutput

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// errStalled ends an attempt in which nothing moved.
var errStalled = errors.New("nothing moved for the whole timeout")

// transport makes one attempt: with the certificates and the token of now, and
// not for longer than something moves.
type transport struct {
	token   func() ([]byte, error)
	timeout time.Duration
	fixed   http.RoundTripper // for tests
	files   tlsFiles

	mu      sync.Mutex
	current *http.Transport
	stamp   tlsStamp // of the files that current was made from
}

func newTransport(c Config, fixed http.RoundTripper) (*transport, error) {
	if (c.CertFile == "") != (c.KeyFile == "") {
		return nil, errors.New("a client certificate needs both cert_file and key_file")
	}
	t := &transport{
		token: c.Token, timeout: c.Timeout, fixed: fixed,
		files: tlsFiles{ca: c.CAFile, certificate: c.CertFile, key: c.KeyFile},
	}
	_, err := t.connections()
	return t, err
}

// connections returns the pool of connections made with the files as they are.
func (t *transport) connections() (http.RoundTripper, error) {
	if t.fixed != nil {
		return t.fixed, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	stamp, err := t.files.stamp()
	if err != nil {
		return nil, err
	}
	if t.current != nil && stamp == t.stamp {
		return t.current, nil
	}
	config, err := t.files.load()
	if err != nil {
		return nil, err
	}
	if t.current != nil {
		t.current.CloseIdleConnections()
	}
	t.current, t.stamp = pool(config), stamp
	return t.current, nil
}

func pool(config *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    15 * time.Second,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConns:           4,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // what is read back is compared byte by byte
	}
}

// CloseIdleConnections is called by http.Client.
func (t *transport) CloseIdleConnections() {
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
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	through, err := t.connections()
	if err != nil {
		return nil, errors.Join(&localError{kind: "tls files", err: err}, closeBody(request))
	}
	token, err := t.bearer()
	if err != nil {
		return nil, errors.Join(&localError{kind: "token", err: err}, closeBody(request))
	}
	ctx, cancel := context.WithCancelCause(request.Context())
	watch := &watch{timeout: t.timeout, cancel: cancel}
	watch.timer = time.AfterFunc(t.timeout, func() { cancel(errStalled) })
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
		stalled := errors.Is(context.Cause(ctx), errStalled)
		watch.stop()
		if stalled {
			return nil, errStalled
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
func (t *transport) bearer() (string, error) {
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

// tlsFiles are the names of the PEM files; each may be empty.
type tlsFiles struct{ ca, certificate, key string }

// tlsStamp tells whether one of the files was replaced or changed.
type tlsStamp [3]struct {
	size     int64
	modified time.Time
}

func (f tlsFiles) stamp() (s tlsStamp, err error) {
	for i, name := range [3]string{f.ca, f.certificate, f.key} {
		if name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return s, fmt.Errorf("look at TLS file: %w", err)
		}
		s[i].size, s[i].modified = info.Size(), info.ModTime()
	}
	return s, nil
}

func (f tlsFiles) load() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.ca != "" {
		roots, err := x509.SystemCertPool()
		if err != nil {
			return nil, fmt.Errorf("load the system's certificates: %w", err)
		}
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, fmt.Errorf("load ca_file: %w", err)
		}
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("load ca_file: %s has no certificate in PEM form", f.ca)
		}
		config.RootCAs = roots
	}
	if f.certificate != "" {
		pair, err := tls.LoadX509KeyPair(f.certificate, f.key)
		if err != nil {
			return nil, fmt.Errorf("load client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
