package listen

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/auditail/auditail/internal/durable/access"
)

// TLS names the PEM files of a listener. The zero value is no TLS.
type TLS struct {
	Cert, Key string
	// ClientCA holds the authorities whose client certificates are accepted; a
	// connection without one is refused. Empty asks for none.
	ClientCA string
}

// Validate finds options that do not go together. It does not touch the disk.
func (t TLS) Validate() error {
	switch {
	case (t.Cert == "") != (t.Key == ""):
		return errors.New("tls_cert and tls_key go together: set both")
	case t.ClientCA != "" && t.Cert == "":
		return errors.New("client_ca needs tls_cert and tls_key")
	default:
		return nil
	}
}

// check is how often the files are looked at for renewed ones.
const check = time.Minute

// Server reads the files and returns what a listener needs; nil without TLS.
// Files that are replaced are read again within a minute, by the next
// connection; while they can not be read, the old ones stay in use.
func (t TLS) Server(log *slog.Logger, now func() time.Time) (*tls.Config, error) {
	if t.Cert == "" {
		return nil, nil
	}
	f := &files{TLS: t, log: log, now: now}
	if err := f.load(); err != nil {
		return nil, err
	}
	f.checked = now()
	return &tls.Config{
		MinVersion: tls.VersionTLS12, //nolint:gosec // DESIGN section 10: 1.2 and newer
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return f.get(), nil
		},
	}, nil
}

// files is the newest configuration that could be read.
type files struct {
	TLS
	log *slog.Logger
	now func() time.Time

	mu      sync.Mutex
	current *tls.Config
	changed []time.Time // modification times of the files when they were read
	checked time.Time
}

func (f *files) get() *tls.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.now(); now.Sub(f.checked) >= check {
		f.checked = now
		if err := f.load(); err != nil {
			f.log.Error("renewed TLS files can not be read; the old ones stay in use", "error", err)
		}
	}
	return f.current
}

// load reads the files when one of them changed.
func (f *files) load() error {
	var changed []time.Time
	for _, name := range []string{f.Cert, f.Key, f.ClientCA} {
		if name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return fmt.Errorf("read TLS files: %w", err)
		}
		if name == f.Key {
			if err := private(name, info); err != nil {
				return err
			}
		}
		changed = append(changed, info.ModTime())
	}
	if slices.EqualFunc(changed, f.changed, time.Time.Equal) {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return fmt.Errorf("read TLS certificate %s and key %s: %w", f.Cert, f.Key, err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}} //nolint:gosec // as above
	if f.ClientCA != "" {
		pem, err := os.ReadFile(f.ClientCA)
		if err != nil {
			return fmt.Errorf("read client authorities: %w", err)
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("read client authorities: %s holds no certificate", f.ClientCA)
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	f.current, f.changed = config, changed
	return nil
}

// private refuses a key that others can read or that somebody else could have
// written. Windows has access lists in place of such bits.
func private(name string, info fs.FileInfo) error {
	const othersReadGroupWrites = 0o026
	if runtime.GOOS != "windows" && info.Mode().Perm()&othersReadGroupWrites != 0 {
		return fmt.Errorf("%s: is readable by others or writable by its group; run chmod 600 %[1]s", name)
	}
	read, write, err := access.Others(name)
	if err == nil && (read || write) {
		err = fmt.Errorf("%s: can be read or written by others; run %s", name, access.Mend(name))
	}
	return err
}
