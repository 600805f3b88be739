package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// checkListen refuses to send tokens and records over a network in the clear.
func (c Config) checkListen() error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("listen address %q is not host:port: %w", c.Listen, err)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("a TLS certificate and its key go together: set both tls-cert and tls-key")
	}
	ip := net.ParseIP(host)
	if c.TLSCert == "" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("plain HTTP is for loopback addresses only: set tls-cert and tls-key to listen on %s", c.Listen)
	}
	return nil
}

// listenError says what is in the way in words that lead to the mending.
func listenError(address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen on %s: the port is in use by another program; stop it or choose another address with --listen", address)
	case errors.Is(err, syscall.EACCES), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("listen on %s: not permitted; ports below 1024 need CAP_NET_BIND_SERVICE, or choose another address with --listen", address)
	}
	return fmt.Errorf("listen on %s: %w", address, err)
}

// certificateCheck is how often the files are looked at for a renewed certificate.
const certificateCheck = time.Minute

// certificateFiles is a certificate that is read again when its file changed,
// so that a renewal needs no restart.
type certificateFiles struct {
	cert, key string
	logger    *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	changed time.Time // modification time of cert when it was read
	checked time.Time
}

// load reads the files.
func (f *certificateFiles) load() error {
	info, err := os.Stat(f.cert)
	if err != nil {
		return fmt.Errorf("read TLS certificate: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return fmt.Errorf("read TLS certificate %s and key %s: %w", f.cert, f.key, err)
	}
	f.current, f.changed, f.checked = &pair, info.ModTime(), time.Now()
	return nil
}

// get is the tls.Config's GetCertificate. While new files can not be read the
// server goes on with the old certificate.
func (f *certificateFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.checked) < certificateCheck {
		return f.current, nil
	}
	f.checked = time.Now()
	info, err := os.Stat(f.cert)
	if err == nil && !info.ModTime().Equal(f.changed) {
		err = f.load()
	}
	if err != nil {
		f.logger.Error("renewed TLS certificate can not be read", "error", err)
	}
	return f.current, nil
}
