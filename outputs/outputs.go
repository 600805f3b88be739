// Package outputs is the contract between sealed batches and the places that keep them.
//
// An output keeps one promise: Ship returns nil only when the batch is durable
// at the destination under its name, exactly as sealed. It retries transient
// faults without limit; it never discards.
package outputs

import (
	"context"
	"errors"

	"github.com/auditail/auditail/seal"
)

// Output delivers sealed batches. Ship is called for one batch after the other,
// in the order of their numbers; Close may be called once no Ship runs.
type Output interface {
	// Ship returns nil when the batch is durable at the destination. Repeating
	// a batch is harmless. It blocks as long as the destination is away, and
	// returns early only when ctx ends or with an error that errors.Is
	// ErrPermanent or ErrFork.
	Ship(ctx context.Context, b seal.Batch) (seal.Receipt, error)
	Close() error
}

// Publisher is implemented by outputs that keep checkpoints. Publish is called
// at least once per ship round, after the batches it covers.
type Publisher interface {
	Publish(ctx context.Context, c seal.Checkpoint) error
}

// HeadReader is implemented by outputs that can say how much of a log they hold.
type HeadReader interface {
	Head(ctx context.Context, origin string) (seal.Head, error)
}

// Prober is implemented by outputs that can tell, without shipping anything,
// whether they would accept a batch; `auditail check` calls it.
type Prober interface {
	Probe(ctx context.Context) error
}

var (
	// ErrPermanent: the destination refuses this object for good. A payload is
	// quarantined and its manifest still ships; a manifest stops the output.
	ErrPermanent = errors.New("refused for good")
	// ErrFork: other bytes are stored under the same name. The output stops.
	ErrFork = errors.New("other bytes are stored under this name")
)
