package retry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/seal"
)

// Deliver repeats the attempt to store an object until it succeeds, ctx ends, or
// an error says that no repetition helps: outputs.ErrFork, outputs.ErrPermanent.
// A path that is not of the archive layout is never attempted. explain says what
// an attempt's error means and how long the destination asks to be left alone.
func (f *Faults) Deliver(
	ctx context.Context, object seal.Object, attempt func(context.Context) (stored bool, err error),
	explain func(error) (Fault, time.Duration),
) (stored bool, err error) {
	if _, err = seal.ParsePath(object.Path); err != nil {
		return false, &outputs.ObjectError{Kind: object.Kind, Path: object.Path, Err: fmt.Errorf("%w: %w", outputs.ErrPermanent, err)}
	}
	delay := f.Delay(object.Path)
	for {
		if err = ctx.Err(); err != nil {
			return false, fmt.Errorf("ship %s: %w", object.Path, err)
		}
		stored, err = attempt(ctx)
		switch {
		case err == nil:
			delay.Done(ctx)
			return stored, nil
		case errors.Is(err, outputs.ErrFork) || errors.Is(err, outputs.ErrPermanent):
			return false, &outputs.ObjectError{Kind: object.Kind, Path: object.Path, Err: err}
		case ctx.Err() != nil:
			return false, fmt.Errorf("ship %s: %w", object.Path, ctx.Err())
		}
		fault, asked := explain(err)
		// On top of what the destination asks for: it asked others for the same.
		wait := asked + Backoff(delay.Attempts())
		delay.Failed(ctx, fault, wait)
		if Wait(ctx, wait) != nil {
			return false, fmt.Errorf("ship %s: %w (last: %w)", object.Path, ctx.Err(), fault.Err)
		}
	}
}
