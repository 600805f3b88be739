// Package outputs is the contract between sealed batches and the places that keep them.
//
// An output keeps one promise: Ship returns nil only when the batch is durable
// at the destination under its name, exactly as sealed. It retries transient
// faults without limit; it never discards.
package outputs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/auditail/auditail/seal"
)

// Output delivers sealed batches. Ship is called for one batch after the other,
// in the order of their numbers; Close may be called once no Ship runs.
type Output interface {
	// Ship returns nil when the batch is durable at the destination. Repeating
	// a batch is harmless. It blocks as long as the destination is away, and
	// returns early only when ctx ends (the error is ctx's) or with an
	// [*ObjectError] that errors.Is ErrPermanent or ErrFork.
	//
	// Objects go out in the order of b.Objects, each after the one before is
	// durable. A caller that has put a refused payload into quarantine ships
	// the batch again with the payload left out of Objects.
	Ship(ctx context.Context, b seal.Batch) (seal.Receipt, error)
	Close() error
}

// ShipEach is Ship for outputs that deliver one object after the other.
func ShipEach(b seal.Batch, deliver func(seal.Object) (stored bool, err error)) (seal.Receipt, error) {
	receipt := seal.Receipt{Origin: b.Manifest.Origin, Batch: b.Manifest.Batch}
	for _, object := range b.Objects {
		stored, err := deliver(object)
		if err != nil {
			return receipt, err
		}
		if stored {
			receipt.Stored++
		}
	}
	return receipt, nil
}

// Publisher is implemented by outputs that keep checkpoints. Publish is called
// at least once per ship round, after the batches it covers; it may run at the
// same time as Ship and as itself. A stored checkpoint with the same text is
// success; it fails as Ship does.
type Publisher interface {
	Publish(ctx context.Context, c seal.Checkpoint) error
}

// CosignaturePublisher is implemented by outputs that keep what witnesses signed
// beside the checkpoints. A cosignature of the same witness over the same size
// that is there already is success: it differs in its time alone. It is called
// behind the batches that it vouches for, and fails as Ship does.
type CosignaturePublisher interface {
	PublishCosignature(ctx context.Context, c seal.Cosignature) error
}

// HeadReader is implemented by outputs that can say how much of a log they
// hold. The answer is the destination's claim and proves nothing. The root is
// zero when the destination holds the end of the log but can not tell its root,
// because it was added after the log began. An unknown log has size 0.
//
// Head waits for a destination that is away as Ship does: nothing is to be shipped
// before it has said what it holds. It returns early when ctx ends (the error is
// ctx's), or when the destination does not say; where it has no words for that the
// error wraps [errors.ErrUnsupported].
type HeadReader interface {
	Head(ctx context.Context, origin string) (seal.Head, error)
}

// OrderKeeper is implemented by outputs whose destination refuses a batch that does
// not follow on what it holds, until an operator has brought back what it lost or
// says that the log may go on without. A log that lost batches there need not be left.
type OrderKeeper interface{ KeepsOrder() }

// Prober is implemented by outputs that can tell, without shipping anything,
// whether they would accept a batch; `auditail check` calls it. It tries once
// and returns one sentence that says what to change.
type Prober interface {
	Probe(ctx context.Context) error
}

// Trouble is why what is under way is not delivered yet.
type Trouble struct {
	Err      error     // of the last attempt; nil: it goes well
	Since    time.Time // of the first attempt that failed
	Failures int64     // attempts that failed since the output was made
	Rejected int64     // records that the destination of a copy took no notice of, since then
}

// Reporter is implemented by outputs that can say why a Ship takes so long.
// Safe for concurrent use with everything else.
type Reporter interface{ Trouble() Trouble }

var (
	// ErrPermanent says that the object can not be delivered for good, because
	// the destination refuses it or because its own bytes are gone or not those
	// that were sealed. A payload is quarantined and its manifest still ships; a manifest
	// stops the output.
	ErrPermanent = errors.New("refused for good")
	// ErrFork says that other bytes are stored under the same name. The output stops.
	ErrFork = errors.New("other bytes are stored under this name")
)

// ObjectError names the file that could not be delivered.
type ObjectError struct {
	Kind seal.ObjectKind
	Path string // in the archive
	Err  error  // wraps ErrPermanent or ErrFork
}

// Error implements error.
func (e *ObjectError) Error() string { return fmt.Sprintf("ship %s: %v", e.Path, e.Err) }

// Unwrap returns Err.
func (e *ObjectError) Unwrap() error { return e.Err }
