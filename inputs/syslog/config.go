package syslog

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/internal/listen"
)

// DefaultListen is where messages are taken when nothing else is configured.
const DefaultListen = "unixgram:/run/auditail/syslog.sock"

// DefaultIdleTimeout closes a connection over which nothing came for so long.
// It is long because of what closing costs: a sender notices only with its
// second write, and the first is lost.
const DefaultIdleTimeout = 24 * time.Hour

// Limits of MaxLine in bytes.
const (
	minMaxLine = 1 << 10 // RFC 5424, section 6.1: receivers take 480 at least
	maxMaxLine = 1 << 30
)

// Config is what users say about a syslog input.
type Config struct {
	// Name is the input's name; it becomes Line.Source.
	Name string
	// Listen is "unixgram:/path", "unix:/path", "udp:host:port" or
	// "tcp:host:port"; "" is DefaultListen.
	Listen string
	// Keep hands over messages as they were received. Otherwise what a syslog
	// daemon puts in front is taken off: priority, time, host, tag, structured
	// data. A message whose header does not parse is handed over whole.
	Keep bool
	// MaxLine is the most bytes of one message handed over whole; 0 is 4 MiB.
	MaxLine int64
	// IdleTimeout closes connections; 0 is DefaultIdleTimeout.
	IdleTimeout time.Duration
	// TLS is for tcp.
	TLS listen.TLS
	// Open allows an address that other hosts reach without proving who they
	// are: udp, or tcp without client_ca.
	Open bool
}

// Deps is what code gives to a syslog input.
type Deps struct {
	Logger *slog.Logger
	Now    func() time.Time // nil is time.Now
	// Memory is shared by the inputs of an agent; nil: the input has its own.
	Memory *inputs.Memory
}

// Validate returns nil or an error that says in full what is wrong.
func (c *Config) Validate() error {
	var problems []error
	if c.Name == "" {
		problems = append(problems, errors.New("name is missing"))
	}
	address, err := c.address()
	problems = append(problems, err, c.TLS.Validate())
	if err == nil && c.TLS.Cert != "" && address.Network != "tcp" {
		problems = append(problems, fmt.Errorf("listen = %q: TLS is for tcp", c.Listen))
	}
	if err == nil && !address.Local() && c.TLS.ClientCA == "" && !c.Open {
		problems = append(problems, fmt.Errorf("listen = %q can be reached from other hosts, and anybody could write records: "+
			"listen on tcp with tls_cert, tls_key and client_ca, or set open = true if the network is trusted", c.Listen))
	}
	if c.MaxLine != 0 && (c.MaxLine < minMaxLine || c.MaxLine > maxMaxLine) {
		problems = append(problems, fmt.Errorf("max_line is %d bytes: must be from %d bytes to 1 GiB", c.MaxLine, minMaxLine))
	}
	if c.IdleTimeout < 0 {
		problems = append(problems, fmt.Errorf("idle_timeout is %s: must not be negative", c.IdleTimeout))
	}
	return errors.Join(problems...)
}

func (c *Config) address() (listen.Address, error) {
	text := c.Listen
	if text == "" {
		text = DefaultListen
	}
	return listen.Parse(text, "tcp", "udp", "unix", "unixgram")
}
