package s3output

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/auditail/auditail/internal/bucket"
	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/outputs/internal/retry"
	"github.com/auditail/auditail/seal"
)

// deliver returns when the object is stored and locked, however long that takes.
func (o *Output) deliver(ctx context.Context, object seal.Object, until time.Time) (stored bool, err error) {
	return o.faults.Deliver(ctx, object, func(ctx context.Context) (bool, error) {
		if err := o.bucket.Prove(ctx); err != nil {
			return false, err
		}
		return o.store(ctx, object, until)
	}, o.explain)
}

// store is one attempt: put, and where the name is taken look who took it.
func (o *Output) store(ctx context.Context, object seal.Object, until time.Time) (stored bool, err error) {
	body := &retry.Body{Object: object}
	defer body.Close() // when no request was made of it
	put := bucket.Object{
		Path: object.Path, Body: body, Size: object.Size, SHA256: object.SHA256, Type: "text/plain; charset=utf-8", Keep: until,
	}
	if object.Kind == seal.PayloadObject {
		put.Type = "application/zstd"
	}
	_, err = o.bucket.Put(ctx, put)
	switch {
	case err == nil:
		return true, nil
	case bucket.IsTaken(err):
		return false, o.readBack(ctx, object)
	}
	return false, err
}

// readBack compares what is stored under the object's name. Only a complete
// answer may raise a fork.
func (o *Output) readBack(ctx context.Context, object seal.Object) error {
	found, err := o.bucket.Get(ctx, object.Path, 0)
	if bucket.IsMissing(err) {
		return errNothingStored
	}
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	defer found.Close()
	same, err := outputs.SameObject(object, found)
	switch {
	case err != nil:
		return fmt.Errorf("read back: %w", err)
	case same:
		return nil
	case found.Size < 0:
		return errors.New("read back: the store does not say how long its answer is, so it may be cut off")
	}
	return outputs.ErrFork
}

var errNothingStored = errors.New("the store refuses the name as taken, but has nothing stored there")

// explain says what an attempt's error means for the operator, and how long the
// store asks to be left alone.
func (o *Output) explain(err error) (retry.Fault, time.Duration) {
	if errors.Is(err, errNothingStored) {
		return retry.Fault{Kind: "nothing stored", Err: err, Alarm: true}, 0
	}
	return o.bucket.Explain(err)
}
