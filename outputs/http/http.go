// Package httpoutput ships sealed batches over HTTP to auditail-server, or to
// any plain HTTP server that takes conditional PUTs.
//
// Its promise: Ship returns nil only after the server said that it stored the
// object now (201), or that it holds the same bytes under this name, which for
// a server that can only say "taken" (412) is proven by reading back. No other
// answer, timeout or broken connection ends the attempts; no answer discards.
package httpoutput

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/auditail/auditail/internal/wire"
	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/outputs/internal/retry"
	"github.com/auditail/auditail/seal"
)

// DefaultTimeout is the Timeout of a Config that has none.
const DefaultTimeout = time.Minute

// Config is what users choose.
type Config struct {
	Name string // of the output, for logs
	URL  string // base, to which /v1/objects/… is added; https unless the host is this one
	// Token returns the bearer token. It is asked for every request, so that a
	// rotated token is used at once. Nil: no token.
	Token func() ([]byte, error)
	// CAFile holds certificates (PEM) that are trusted beside the system's.
	CAFile string
	// CertFile and KeyFile are the client certificate (PEM). All three files
	// are read again when they change.
	CertFile, KeyFile string
	// Timeout ends an attempt in which nothing moved for so long. A slow upload
	// that goes on is no fault. Default: DefaultTimeout.
	Timeout time.Duration
}

// Deps is what the program provides.
type Deps struct {
	Log     *slog.Logger // default: nothing is logged
	Agent   string       // whose log is shipped; Probe asks for its identity key
	Version string       // of the agent, for User-Agent
	// Transport replaces connections, TLS and proxies, for tests.
	Transport http.RoundTripper
}

// Output ships to one server. Its methods are safe for concurrent use.
type Output struct {
	name      string
	agent     string
	userAgent string
	base      *url.URL
	client    *http.Client
	faults    *retry.Faults
}

var (
	_ outputs.Output      = (*Output)(nil)
	_ outputs.Publisher   = (*Output)(nil)
	_ outputs.HeadReader  = (*Output)(nil)
	_ outputs.OrderKeeper = (*Output)(nil)
	_ outputs.Prober      = (*Output)(nil)
)

// New returns the output. It reads the TLS files but does not connect.
func New(c Config, d Deps) (*Output, error) {
	base, err := parseBase(c.URL)
	if err != nil {
		return nil, fmt.Errorf("output %s: %w", c.Name, err)
	}
	if !seal.ValidName(d.Agent) {
		return nil, fmt.Errorf("output %s: %q is not the name of an agent", c.Name, d.Agent)
	}
	if c.Timeout < 0 {
		return nil, fmt.Errorf("output %s: timeout %s is negative", c.Name, c.Timeout)
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	transport, err := wire.NewTransport(wire.Config{
		CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile, Token: c.Token, Timeout: c.Timeout, Fixed: d.Transport,
	})
	if err != nil {
		return nil, fmt.Errorf("output %s: %w", c.Name, err)
	}
	return &Output{
		name:      c.Name,
		agent:     d.Agent,
		userAgent: "auditail/" + d.Version,
		base:      base,
		client: &http.Client{
			Transport: transport,
			// The token would travel along; and evidence goes where the
			// configuration says, not where a server says.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		faults: retry.NewFaults(d.Log.With(slog.String("output", c.Name))),
	}, nil
}

func parseBase(text string) (*url.URL, error) {
	base, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("url is not valid") // url.Error would repeat a password in it
	case base.User != nil:
		return nil, errors.New("url must not contain a user or password: use token")
	case base.Hostname() == "" || base.RawQuery != "" || base.Fragment != "":
		return nil, fmt.Errorf("url %q is not of the form https://host[:port][/path]", text)
	case base.Scheme == "https", base.Scheme == "http" && loopback(base.Hostname()):
		return base, nil
	case base.Scheme == "http":
		return nil, fmt.Errorf("url %q: plain http is allowed to this host only; use https", text)
	}
	return nil, fmt.Errorf("url %q must begin with https://", text)
}

func loopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// Ship implements outputs.Output.
func (o *Output) Ship(ctx context.Context, b seal.Batch) (seal.Receipt, error) {
	return outputs.ShipEach(b, func(object seal.Object) (bool, error) { return o.deliver(ctx, object, b.ManifestFile) })
}

// Publish implements outputs.Publisher.
func (o *Output) Publish(ctx context.Context, c seal.Checkpoint) error {
	_, err := o.deliver(ctx, outputs.CheckpointObject(c), nil)
	return err
}

// PublishCosignature implements outputs.CosignaturePublisher.
func (o *Output) PublishCosignature(ctx context.Context, c seal.Cosignature) error {
	_, err := o.deliver(ctx, outputs.CosignatureObject(c), nil)
	return err
}

// Trouble implements [outputs.Reporter].
func (o *Output) Trouble() outputs.Trouble { return o.faults.Trouble() }

// Close implements outputs.Output. It drops idle connections.
func (o *Output) Close() error {
	o.client.CloseIdleConnections()
	return nil
}

func (o *Output) objectURL(path string) string {
	return o.base.JoinPath("v1/objects", path).String()
}
