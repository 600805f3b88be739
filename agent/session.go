package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/inputs"
)

// A session is the life of one buffer with its pipelines and shippers. A buffer
// that fails (an error of the disk, a sync that was lost) ends it; the next one
// begins as after a restart, by recovery, and the inputs go on from the positions
// that it finds. What was not durable is read again, what was is not.

const (
	// A disk that failed so often in so short a time is not tried again.
	reopenLimit  = 5
	reopenWindow = 10 * time.Minute
	// reopenPause lies before each try; a full disk is tried without limit.
	reopenPause = time.Second
	// confirmPause lies between two questions for a head that does not fit.
	confirmPause = time.Second
	// settleTime is what the shippers get to end what they have begun, when the
	// epoch ends: what an output took but could not acknowledge is sealed twice.
	settleTime = 5 * time.Second
	// copyTime is what copies get behind the evidence, when the agent stops.
	copyTime = 2 * time.Second
	// stopTime is what a stop takes at most: with what follows less than 10 s.
	stopTime = 9 * time.Second
	// sealTime is what of it the seals of the end may take on a full disk; the
	// rest is for the outputs.
	sealTime = 3 * time.Second
)

// passes tells whether what keeps the buffer from being opened is waited for
// without limit: a full disk, one that the kernel made read-only, and a signing key
// that does not sign.
func passes(err error) bool {
	return buffer.NoSpace(err) || buffer.ReadOnly(err) || buffer.Unsigned(err)
}

// openBuffer opens the buffer of the start. A disk that can not be written for
// now is waited for, and so is a signing key.
func (a *Agent) openBuffer(ctx context.Context, cfg buffer.Config, deps buffer.Deps) (*buffer.Buffer, error) {
	waited := false
	for {
		b, err := buffer.Open(cfg, deps)
		if err == nil && waited {
			a.log.InfoContext(ctx, "the buffer can be opened now: the agent starts", "path", cfg.Dir)
		}
		if err == nil || !passes(err) {
			return b, err
		}
		if !waited {
			if buffer.Unsigned(err) {
				a.log.ErrorContext(ctx, "ALARM: the signing key does not sign: the agent starts when it does", "error", err)
			} else {
				a.log.ErrorContext(ctx, "the disk is full or read-only: the agent starts when that has passed", "path", cfg.Dir, "error", err)
			}
		}
		waited = true
		if !pause(ctx, reopenPause) {
			return nil, err
		}
	}
}

// persist runs work, and again over the next buffer when the buffer has failed.
// shipping ends when the shippers are to.
func (a *Agent) persist(ctx, shipping context.Context, work func(ctx context.Context) error) error {
	a.shipping = a.startShippers(shipping)
	for {
		err := work(ctx)
		failure := a.buffer.Err()
		if failure == nil || ctx.Err() != nil {
			return err
		}
		if planned(failure) {
			a.shipping.settle(settleTime)
		}
		a.shipping.stop()
		if err := a.reopen(ctx, failure); err != nil {
			return err
		}
		a.shipping = a.startShippers(shipping)
	}
}

// reopen ends the session of a buffer that failed and begins the next one. It
// returns why there is none.
func (a *Agent) reopen(ctx context.Context, failure error) error {
	_ = a.buffer.Shut(ctx, false) // returns the failure
	for told := false; ; {
		switch {
		case planned(failure), buffer.NoSpace(failure): // who caused it has said so
		case buffer.Unsigned(failure):
			if !told {
				a.log.ErrorContext(ctx, "ALARM: the signing key does not sign: reading stops until it does", "error", failure)
			}
			told = true
		case buffer.ReadOnly(failure):
			if !told {
				a.log.ErrorContext(ctx, "the disk is read-only: reading stops until it can be written; mend it and mount it again",
					"path", a.cfg.Buffer.Dir, "error", failure)
			}
			told = true
		default:
			if a.failures.tooMany(a.deps.Now()) {
				return fmt.Errorf("the buffer failed %d times within %s, mend the disk of %s: %w", reopenLimit, reopenWindow, a.cfg.Buffer.Dir, failure)
			}
			a.log.ErrorContext(ctx, "the buffer failed and is opened again; what was not durable is read again", "error", failure)
		}
		if !planned(failure) && !pause(ctx, reopenPause) {
			return failure
		}
		b, err := a.buffer.Reopen()
		if err == nil {
			if told {
				a.log.InfoContext(ctx, "the buffer can be opened again: reading goes on", "path", a.cfg.Buffer.Dir)
			}
			a.useBuffer(b)
			a.adopted = false
			a.noteReopened()
			return a.makePipelines()
		}
		failure = err
	}
}

// planned tells whether a buffer ended to be opened again in another way.
func planned(failure error) bool {
	return errors.Is(failure, buffer.ErrSuperseded) || errors.Is(failure, buffer.ErrRenewed)
}

// makePipelines prepares the inputs' way into the buffer at hand, and what the
// catalog knew when its last events were durable there.
func (a *Agent) makePipelines() error {
	a.restoreCatalog()
	a.pipelines = a.pipelines[:0]
	for i := range a.cfg.Inputs {
		p, err := newPipeline(a, &a.cfg.Inputs[i])
		if err != nil {
			return err
		}
		a.pipelines = append(a.pipelines, p)
	}
	return nil
}

// recentFailures are the times at which buffers failed.
type recentFailures []time.Time

func (f *recentFailures) tooMany(now time.Time) bool {
	*f = append(slices.DeleteFunc(*f, func(t time.Time) bool { return now.Sub(t) > reopenWindow }), now)
	return len(*f) >= reopenLimit
}

// shippers are those of one session. They outlive its inputs.
type shippers struct {
	running  sync.WaitGroup // all, and who asks the witnesses
	evidence sync.WaitGroup // those that are waited for
	cancel   context.CancelFunc
	copies   context.CancelFunc // interrupts the copies alone
}

func (a *Agent) startShippers(ctx context.Context) *shippers {
	ctx, cancel := context.WithCancel(ctx)
	copying, cancelCopies := context.WithCancel(ctx)
	s := &shippers{cancel: cancel, copies: cancelCopies}
	from, round, ended := a.buffer, newRounds(), make(chan struct{})
	for _, one := range a.outputs {
		if one.output.BestEffort {
			s.running.Go(func() { one.run(copying, from, round) })
		} else {
			s.evidence.Go(func() { one.run(ctx, from, round) })
		}
	}
	s.running.Go(func() {
		s.evidence.Wait()
		close(ended)
	})
	if len(a.cfg.Witnesses) > 0 {
		s.running.Go(func() { a.cosign(ctx, from, round, ended) })
	}
	return s
}

// finish waits for the shippers of a buffer that is shut: for the evidence as
// long as it takes, for the copies a moment more.
func (s *shippers) finish() {
	s.evidence.Wait()
	timer := time.AfterFunc(copyTime, s.copies)
	defer timer.Stop()
	s.running.Wait()
}

// settle waits a while for shippers that end by themselves.
func (s *shippers) settle(d time.Duration) {
	timer := time.AfterFunc(d, s.cancel)
	defer timer.Stop()
	s.running.Wait()
}

// stop interrupts the shippers.
func (s *shippers) stop() {
	s.cancel()
	s.running.Wait()
}

// seal seals what is open and ends the log with close, unless the buffer failed:
// a log that ends without close is a finding, and an agent that lost its buffer
// is one. When ctx ends before all is sealed, the rest is at the next start.
func (a *Agent) seal(ctx context.Context) error {
	select {
	case <-a.buffer.Failed():
		_ = a.buffer.Shut(ctx, false) // returns what ended the session
		return nil
	default:
	}
	err := errors.Join(a.buffer.Append(ctx, a.own.stopped()), a.buffer.Shut(ctx, true))
	if planned(err) {
		return nil // what is open is sealed at the next start
	}
	if err != nil {
		return fmt.Errorf("seal what was read: %w", err)
	}
	return nil
}

// linger returns a context that ends d after ctx has, or d from now when ctx has
// not ended and last is called.
func linger(ctx context.Context, d time.Duration) (late context.Context, last, cancel context.CancelFunc) {
	late, cancel = context.WithCancel(context.WithoutCancel(ctx))
	last = sync.OnceFunc(func() {
		timer := time.AfterFunc(d, cancel)
		context.AfterFunc(late, func() { timer.Stop() })
	})
	context.AfterFunc(ctx, last)
	return late, last, cancel
}

// pause returns false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// reread is buffer.Deps.Reread.
func (a *Agent) reread(input string, moved []buffer.Moved) ([]buffer.Position, error) {
	for i := range a.cfg.Inputs {
		if a.cfg.Inputs[i].Name != input {
			continue
		}
		reader, ok := a.cfg.Inputs[i].Input.(inputs.Rereader)
		if !ok {
			return nil, errors.New("its source can not be read twice")
		}
		list := make([]inputs.Moved, len(moved))
		for n, m := range moved {
			list[n] = inputs.Moved(m)
		}
		positions, err := reader.Reread(list)
		back := make([]buffer.Position, len(positions))
		for n, at := range positions {
			back[n] = buffer.Position(at)
		}
		return back, err
	}
	return nil, errors.New("it is not in the configuration any more")
}
