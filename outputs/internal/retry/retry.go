// Package retry is the patience that outputs share: how long to wait before
// the next attempt, and how to say so without filling the log.
package retry

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/auditail/auditail/internal/wire"
	"github.com/auditail/auditail/outputs"
)

// Bounds of the wait before an attempt is repeated.
const (
	FirstWait = 500 * time.Millisecond
	MaxWait   = 60 * time.Second
)

// Backoff returns how long to wait after the given number of failed attempts
// (from 0): a random time up to a limit that doubles from FirstWait to MaxWait.
// The full range is random so that agents that failed together do not come back
// together.
func Backoff(failed int) time.Duration {
	limit := MaxWait
	for wait := FirstWait; wait < MaxWait; wait *= 2 {
		if failed == 0 {
			limit = wait
			break
		}
		failed--
	}
	return rand.N(limit) + 1 //nolint:gosec // spreads load, guards nothing
}

// Wait returns after the time has passed, or ctx's error when it ends first.
func Wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return ctx.Err()
	}
}

// repeatAfter is how long a fault of a kind that was logged stays silent.
const repeatAfter = time.Minute

// Faults logs what delays an output: the first fault of a kind at once, then
// at most one line a minute, and one when what was delayed came through. It is
// safe for concurrent use.
type Faults struct {
	log    *slog.Logger
	mu     sync.Mutex
	logged map[string]time.Time // by kind
	now    outputs.Trouble
}

// NewFaults returns a log of faults.
func NewFaults(log *slog.Logger) *Faults {
	return &Faults{log: log, logged: make(map[string]time.Time)}
}

// Fault is one failed attempt.
type Fault = wire.Fault

// Delay follows one thing to deliver from its first fault until it is through.
// It is not safe for concurrent use.
type Delay struct {
	faults *Faults
	object string
	since  time.Time
	failed int
	logged bool
}

// Delay begins to follow the object with the given archive path.
func (f *Faults) Delay(object string) *Delay {
	return &Delay{faults: f, object: object}
}

// Failed takes down a failed attempt and the wait that follows it.
func (d *Delay) Failed(ctx context.Context, fault Fault, wait time.Duration) {
	now := time.Now()
	if d.failed == 0 {
		d.since = now
	}
	d.failed++
	d.faults.note(fault.Err, d.since)
	if !d.faults.due(fault.Kind, now) {
		return
	}
	d.logged = true
	level := slog.LevelWarn
	if fault.Alarm {
		level = slog.LevelError
	}
	d.faults.log.LogAttrs(ctx, level, "delivery delayed, trying again",
		slog.String("object", d.object), slog.Any("error", fault.Err),
		slog.Int("failed", d.failed), slog.Duration("wait", wait.Round(time.Millisecond)))
}

// Attempts returns how many attempts failed so far.
func (d *Delay) Attempts() int { return d.failed }

// Done ends the delay. It logs a line when the log has one that it lasted.
func (d *Delay) Done(ctx context.Context) {
	d.faults.through()
	if !d.logged {
		return
	}
	d.faults.log.LogAttrs(ctx, slog.LevelInfo, "delivery works again",
		slog.String("object", d.object), slog.Int("failed", d.failed),
		slog.Duration("after", time.Since(d.since).Round(time.Millisecond)))
}

// Trouble returns why the newest delivery is delayed; see [outputs.Reporter].
func (f *Faults) Trouble() outputs.Trouble {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *Faults) note(err error, since time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now.Err, f.now.Since = err, since
	f.now.Failures++
}

func (f *Faults) through() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now.Err, f.now.Since = nil, time.Time{}
}

func (f *Faults) due(kind string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if last, ok := f.logged[kind]; ok && now.Sub(last) < repeatAfter {
		return false
	}
	f.logged[kind] = now
	return true
}
