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
	err = f.Repeat(ctx, object.Path, func(ctx context.Context) (err error) {
		stored, err = attempt(ctx)
		return err
	}, func(err error) (fault Fault, after time.Duration, passes bool) {
		if errors.Is(err, outputs.ErrFork) || errors.Is(err, outputs.ErrPermanent) {
			return Fault{}, 0, false
		}
		fault, after = explain(err)
		return fault, after, true
	})
	switch {
	case err == nil:
		return stored, nil
	case errors.Is(err, outputs.ErrFork) || errors.Is(err, outputs.ErrPermanent):
		return false, &outputs.ObjectError{Kind: object.Kind, Path: object.Path, Err: err}
	}
	return false, fmt.Errorf("ship %s: %w", object.Path, err)
}

// Repeat repeats an attempt until it succeeds, ctx ends, or explain says of its
// error that it does not pass; such an error is returned as it is. object is the
// path that the log names.
func (f *Faults) Repeat(
	ctx context.Context, object string, attempt func(context.Context) error,
	explain func(error) (fault Fault, after time.Duration, passes bool),
) error {
	delay := f.Delay(object)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := attempt(ctx)
		if err == nil {
			delay.Done(ctx)
			return nil
		}
		fault, asked, passes := explain(err)
		if !passes {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// On top of what the destination asks for: it asked others for the same.
		wait := asked + Backoff(delay.Attempts())
		delay.Failed(ctx, fault, wait)
		if Wait(ctx, wait) != nil {
			return fmt.Errorf("%w (last: %w)", ctx.Err(), fault.Err)
		}
	}
}
