// Package syslogoutput copies the records of sealed batches to a syslog receiver
// over TLS: RFC 5424 messages, octet-counted as RFC 5425 asks.
//
// A copy is no evidence: it proves nothing, and nothing is verified from it.
// Syslog has no acknowledgement. The promise is what TLS can give: each batch is
// one connection, and Ship returns nil when the receiver has ended its side
// after ours, behind all messages. What breaks before that is sent again, and
// the receiver may have records twice; their id is the same then.
package syslogoutput

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/auditail/auditail/internal/wire"
	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/outputs/internal/records"
	"github.com/auditail/auditail/outputs/internal/retry"
	"github.com/auditail/auditail/seal"
)

// What a Config without these has.
const (
	DefaultTimeout    = time.Minute
	DefaultMaxMessage = 8 << 10 // what a receiver should take at least (RFC 5425, section 4.3.1)
	DefaultPort       = "6514"
)

// Format is how a record becomes a message.
type Format string

// The formats.
const (
	FormatJSON       Format = "json"       // the record as it was sealed is the message
	FormatStructured Format = "structured" // each field is structured data
)

// sdID is the SD-ID. 32473 is the enterprise number of examples (RFC 5612):
// auditail has none of its own.
const sdID = "auditail@32473"

const (
	// goodbye is how long the receiver has to end its side when ours has ended.
	goodbye = 5 * time.Second
	// A receiver may look at the client certificate when the handshake is over for
	// this side, and end the connection without a word. It has greeting and three
	// times what the handshake took for that, before anything is sent; at a probe,
	// which sends nothing, probeGreeting.
	greeting      = 250 * time.Millisecond
	probeGreeting = 3 * time.Second
)

var limits = records.Limits{Records: 500, Bytes: 256 << 10}

// Config is what users choose.
type Config struct {
	Name       string
	Address    string // host:port, or host: then port 6514
	Format     Format // empty: FormatJSON
	MaxMessage int    // bytes; a longer message goes without its record
	// CAFile is trusted beside the system's roots; CertFile and KeyFile are a
	// client certificate. They are read again for each batch.
	CAFile, CertFile, KeyFile string
	Timeout                   time.Duration // of an attempt in which nothing moves
}

// Deps come from code.
type Deps struct {
	Log  *slog.Logger
	Dial func(ctx context.Context, network, address string) (net.Conn, error) // for tests; nil: the network
}

// Output copies records. It is safe for concurrent use.
type Output struct {
	address string
	host    string
	form    form
	files   wire.TLSFiles
	timeout time.Duration
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	log     *slog.Logger
	faults  *retry.Faults
	silent  atomic.Bool // it was said that the receiver does not end its side
}

// New reads the TLS files; it does not connect.
func New(c Config, d Deps) (*Output, error) {
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil {
		host, c.Address = c.Address, net.JoinHostPort(c.Address, DefaultPort)
	}
	if host == "" {
		return nil, fmt.Errorf("output %s: address %q is not of the form host:port", c.Name, c.Address)
	}
	files, err := wire.NewTLSFiles(c.CAFile, c.CertFile, c.KeyFile)
	if err == nil {
		_, err = files.Load()
	}
	if err != nil {
		return nil, fmt.Errorf("output %s: %w", c.Name, err)
	}
	o := &Output{
		address: c.Address, host: host, files: files, timeout: c.Timeout, dial: d.Dial,
		form: form{format: c.Format, most: c.MaxMessage, id: sdID},
		log:  d.Log.With(slog.String("output", c.Name)),
	}
	if o.form.most <= 0 {
		o.form.most = DefaultMaxMessage
	}
	if o.timeout <= 0 {
		o.timeout = DefaultTimeout
	}
	if o.dial == nil {
		o.dial = (&net.Dialer{Timeout: 30 * time.Second}).DialContext
	}
	o.faults = retry.NewFaults(o.log)
	return o, nil
}

// Ship implements outputs.Output. Batches without a payload are not copied.
func (o *Output) Ship(ctx context.Context, b seal.Batch) (seal.Receipt, error) {
	receipt := seal.Receipt{Origin: b.Manifest.Origin, Batch: b.Manifest.Batch}
	payload, ok := records.Payload(b)
	if !ok {
		return receipt, ctx.Err()
	}
	stored, err := o.faults.Deliver(ctx, payload, func(ctx context.Context) (bool, error) {
		err := o.attempt(ctx, payload, b.Manifest.Plain)
		return err == nil, err
	}, explain)
	if stored {
		receipt.Stored = 1
	}
	return receipt, err
}

// attempt sends a payload over one connection and returns nil when the receiver
// has ended its side behind it.
func (o *Output) attempt(ctx context.Context, payload seal.Object, plain int64) error {
	c, err := o.connect(ctx)
	if err != nil {
		return err
	}
	defer c.end()
	if err := c.welcome(ctx, greeting+3*c.handshake); err != nil {
		return err
	}
	var frames []byte
	err = records.Each(payload, plain, 0, limits, func(lines [][]byte) error {
		frames = frames[:0]
		for _, line := range lines {
			frames = o.form.frame(frames, line)
		}
		return c.write(frames)
	})
	if err != nil {
		return err
	}
	return o.finish(c)
}

// finish ends our side and waits for the receiver's end: it has read everything
// then (RFC 5425, section 4.4).
func (o *Output) finish(c *connection) error {
	if err := c.tls.CloseWrite(); err != nil {
		return c.why(err)
	}
	timer := time.NewTimer(goodbye)
	defer timer.Stop()
	select {
	case err := <-c.ended:
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		return err
	case <-timer.C:
		if !o.silent.Swap(true) {
			o.log.Warn("the receiver does not end a connection that this side has ended; whether it read everything is not known", "address", o.address)
		}
		return nil
	}
}

// connection reads all the time: a receiver says what it does not like, such as
// the client certificate of a TLS 1.3 handshake that is over for this side, to
// those who read.
type connection struct {
	tls       *tls.Conn
	handshake time.Duration // what it took
	timeout   time.Duration
	ended     chan error // what ended reading, once
	stop      func() bool
}

func (o *Output) connect(ctx context.Context) (*connection, error) {
	config, err := o.files.Load()
	if err != nil {
		return nil, &wire.LocalError{Kind: "tls files", Err: err}
	}
	config.ServerName = o.host
	raw, err := o.dial(ctx, "tcp", o.address)
	if err != nil {
		return nil, err
	}
	c := &connection{tls: tls.Client(raw, config), timeout: o.timeout, ended: make(chan error, 1)}
	began := time.Now()
	handshake, cancel := context.WithTimeout(ctx, min(o.timeout, 15*time.Second))
	defer cancel()
	if err := c.tls.HandshakeContext(handshake); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	c.handshake = time.Since(began)
	c.stop = context.AfterFunc(ctx, func() { raw.Close() })
	go func() {
		_, err := io.Copy(io.Discard, c.tls)
		if err == nil {
			err = io.EOF
		}
		c.ended <- err
	}()
	return c, nil
}

// welcome waits for a receiver that ends the connection at once.
func (c *connection) welcome(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case err := <-c.ended:
		return refusal(err)
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *connection) write(frames []byte) error {
	if err := c.tls.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return c.why(err)
	}
	if _, err := c.tls.Write(frames); err != nil {
		return c.why(err)
	}
	select {
	case err := <-c.ended:
		return refusal(err)
	default:
		return nil
	}
}

// why returns what the receiver said before it ended the connection, which tells
// more than that writing failed.
func (c *connection) why(writing error) error {
	select {
	case err := <-c.ended:
		if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			return refusal(err)
		}
	case <-time.After(time.Second):
	}
	return writing
}

// errEnded says that the receiver went before it had everything.
var errEnded = errors.New("the receiver ended the connection before everything was sent")

func refusal(err error) error {
	if errors.Is(err, io.EOF) {
		return errEnded
	}
	return err
}

func (c *connection) end() {
	c.stop()
	_ = c.tls.NetConn().Close() // what matters has been reported
}

// explain says what an error means.
func explain(err error) (retry.Fault, time.Duration) {
	if operation, ok := errors.AsType[*net.OpError](err); ok && operation.Op == "remote error" {
		return retry.Fault{Kind: "certificate", Err: fmt.Errorf("%w: the receiver refuses the connection; is the client certificate (cert_file, key_file) the right one?", err), Alarm: true}, 0
	}
	fault := wire.ConnectionFault(err)
	if errors.Is(err, errEnded) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		fault.Err = fmt.Errorf("%w; receivers do so too when they want another client certificate", err)
	}
	return fault, 0
}

// Probe implements outputs.Prober: it connects, and ends the connection.
func (o *Output) Probe(ctx context.Context) error {
	c, err := o.connect(ctx)
	if err == nil {
		defer c.end()
		if err = c.welcome(ctx, probeGreeting); err == nil {
			err = o.finish(c)
		}
	}
	if err != nil {
		fault, _ := explain(err)
		return fault.Err
	}
	return nil
}

// Trouble implements outputs.Reporter.
func (o *Output) Trouble() outputs.Trouble { return o.faults.Trouble() }

// Close implements outputs.Output.
func (o *Output) Close() error { return nil }
