package wire

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"
)

// TLSFiles are the names of PEM files; each may be empty.
type TLSFiles struct{ ca, certificate, key string }

// NewTLSFiles names the certificates that are trusted beside the system's, and
// the client certificate.
func NewTLSFiles(ca, certificate, key string) (TLSFiles, error) {
	if (certificate == "") != (key == "") {
		return TLSFiles{}, errors.New("a client certificate needs both cert_file and key_file")
	}
	return TLSFiles{ca: ca, certificate: certificate, key: key}, nil
}

// TLSStamp tells whether one of the files was replaced or changed.
type TLSStamp [3]struct {
	size     int64
	modified time.Time
}

// Stamp returns what the files look like now.
func (f TLSFiles) Stamp() (s TLSStamp, err error) {
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

// Load reads the files.
func (f TLSFiles) Load() (*tls.Config, error) {
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
