// Package s3output ships sealed batches to a bucket that can not be rewritten:
// S3, or a store that speaks its protocol, with Object Lock.
//
// Its promise: Ship returns nil only when every object of the batch is stored
// under its archive name, locked until its term, and with the sealed bytes: the
// store checked their SHA-256, or they were read back where the name was taken.
// Nothing is shipped before the bucket has proven that it locks (see package internal/bucket).
// A refusal, an outage or a wrong clock delays; it discards nothing.
package s3output

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/auditail/auditail/internal/bucket"
	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/outputs/internal/retry"
	"github.com/auditail/auditail/seal"
)

// Config is what users choose.
type Config struct {
	Name string // of the output, for logs
	bucket.Config
	// SealTerm is how long seals and checkpoints are locked: the longest
	// retention term, so that no payload outlives what proves it.
	SealTerm time.Duration
}

// Deps is what the program provides.
type Deps struct {
	Log     *slog.Logger     // default: nothing is logged
	Now     func() time.Time // default: time.Now
	Agent   string           // whose log is shipped: names its probes
	Version string           // of the agent, for User-Agent
	// Transport replaces connections, TLS and proxies, for tests.
	Transport http.RoundTripper
}

// Output ships to one bucket. Its methods are safe for concurrent use.
type Output struct {
	config Config
	now    func() time.Time
	bucket *bucket.Bucket
	faults *retry.Faults
}

var (
	_ outputs.Output     = (*Output)(nil)
	_ outputs.Publisher  = (*Output)(nil)
	_ outputs.HeadReader = (*Output)(nil)
	_ outputs.Prober     = (*Output)(nil)
)

// New returns the output. It reads credentials' files and TLS files but does not
// connect to the bucket.
func New(ctx context.Context, c Config, d Deps) (*Output, error) {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	b, err := bucket.Open(ctx, c.Config, bucket.Deps{Now: d.Now, Prober: d.Agent, Version: d.Version, Transport: d.Transport})
	if err == nil && b.Locks() && c.SealTerm <= 0 {
		err = errors.New("the term of seals is missing")
	}
	if err != nil {
		return nil, fmt.Errorf("output %s: %w", c.Name, err)
	}
	return &Output{config: c, now: d.Now, bucket: b, faults: retry.NewFaults(d.Log.With(slog.String("output", c.Name)))}, nil
}

// Trouble implements [outputs.Reporter].
func (o *Output) Trouble() outputs.Trouble { return o.faults.Trouble() }

// Probe implements outputs.Prober; see [bucket.Bucket.Probe].
func (o *Output) Probe(ctx context.Context) error { return o.bucket.Probe(ctx) }

// Ship implements outputs.Output.
func (o *Output) Ship(ctx context.Context, b seal.Batch) (seal.Receipt, error) {
	return outputs.ShipEach(b, func(object seal.Object) (bool, error) {
		until := b.Manifest.Sealed.Add(o.config.SealTerm)
		if object.Kind == seal.PayloadObject {
			until = b.Manifest.KeepUntil
		}
		return o.deliver(ctx, object, until)
	})
}

// Publish implements outputs.Publisher.
func (o *Output) Publish(ctx context.Context, c seal.Checkpoint) error {
	_, err := o.deliver(ctx, outputs.CheckpointObject(c), o.now().Add(o.config.SealTerm))
	return err
}

// PublishCosignature implements outputs.CosignaturePublisher.
func (o *Output) PublishCosignature(ctx context.Context, c seal.Cosignature) error {
	_, err := o.deliver(ctx, outputs.CosignatureObject(c), o.now().Add(o.config.SealTerm))
	return err
}

// Close implements outputs.Output. It drops idle connections.
func (o *Output) Close() error {
	o.bucket.CloseIdleConnections()
	return nil
}
