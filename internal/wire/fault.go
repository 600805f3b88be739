package wire

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

// maxRetryAfter caps what a server may ask for.
const maxRetryAfter = 10 * time.Minute

// LocalError is a fault on this side that may pass: a token or certificate that
// is being replaced, a file that can not be read just now.
type LocalError struct {
	Kind string // of its Fault
	Err  error
}

// Error implements error.
func (e *LocalError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *LocalError) Unwrap() error { return e.Err }

// Quote makes text from outside safe to show: escaped, at most 200 characters.
func Quote(s string) string {
	const most = 200
	runes := []rune(s[:min(len(s), 4*most)])
	if len(runes) > most {
		runes = append(runes[:most], '…')
	}
	return strconv.Quote(string(runes))
}

// Fault is one failed attempt.
type Fault struct {
	// Kind groups faults that have one cause; it comes from a small fixed set,
	// never from what a destination sent.
	Kind string
	Err  error
	// Alarm marks faults that do not end until somebody changes something.
	Alarm bool
}

// ConnectionFault says why there was no answer.
func ConnectionFault(err error) Fault {
	var (
		local       *LocalError
		certificate *tls.CertificateVerificationError
		authority   x509.UnknownAuthorityError
		name        *net.DNSError
		timeout     net.Error
	)
	const most = 500
	text := err
	if s := err.Error(); len(s) > most {
		text = errors.New(Quote(s)) // a server can put much into a malformed answer
	}
	switch {
	case errors.As(err, &local):
		return Fault{Kind: local.Kind, Err: text, Alarm: true}
	case errors.As(err, &authority):
		return Fault{Kind: "certificate", Err: fmt.Errorf("%w; set ca_file if the server has a certificate of your own authority", text), Alarm: true}
	case errors.As(err, &certificate):
		return Fault{Kind: "certificate", Err: text, Alarm: true}
	case errors.As(err, &name):
		return Fault{Kind: "name resolution", Err: fmt.Errorf("%w; look at the name, and at the DNS of this host", text)}
	case errors.Is(err, ErrStalled), errors.As(err, &timeout) && timeout.Timeout():
		return Fault{Kind: "timeout", Err: text}
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		text = fmt.Errorf("%w; nothing listens there: look at the address, and whether the server runs", text)
	}
	return Fault{Kind: "connection", Err: text}
}

// Passes tells whether a status says that the server, or what stands before it, is
// busy or broken for now, and nothing about what it was asked.
func Passes(status int) bool {
	return status == http.StatusTooManyRequests || status >= http.StatusInternalServerError && status != http.StatusNotImplemented
}

// RetryAfter returns the wait that the server asks for (RFC 9110, section
// 10.2.3), capped; a date is taken relative to the server's own clock.
func RetryAfter(r *http.Response) time.Duration {
	if r == nil {
		return 0
	}
	value := r.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter) //nolint:gosec // 31 bits
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(r.Header.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(until.Sub(now), 0), maxRetryAfter)
}

// Plain returns a word from outside as it is when it is one, else quoted.
func Plain(s string) string {
	for _, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
		if !letter {
			return Quote(s)
		}
	}
	if len(s) > 100 {
		return Quote(s)
	}
	return s
}
