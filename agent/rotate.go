package agent

import (
	"context"
	"crypto"
	"time"
)

// keyCheck is how often a running agent looks for an identity key that waits to
// be signed in, and whether the one before can be erased.
const keyCheck = 15 * time.Second

// loadKeys is buffer.Deps.Keys.
func (a *Agent) loadKeys() func() (identity, successor crypto.Signer, err error) {
	if a.deps.Keys == nil {
		return nil
	}
	return a.deps.Keys.Load
}

// watchKeys ends the session when a new identity key waits: the next one begins
// by signing it in.
func (a *Agent) watchKeys(ctx context.Context) {
	tick := time.NewTicker(keyCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		a.adoptKey(ctx)
		if a.deps.Keys.Waiting() && (a.adopted || !a.buffer.HasSuccessor()) {
			a.log.InfoContext(ctx, "a new identity key waits: it is signed in")
			a.buffer.Renew()
			return
		}
	}
}

// adoptKey erases the identity key that was rotated out, once an output holds the
// manifest that says so.
func (a *Agent) adoptKey(ctx context.Context) {
	if a.deps.Keys == nil || a.adopted || !a.buffer.Rotated() {
		return
	}
	told, err := a.deps.Keys.Adopt()
	if err != nil {
		a.log.ErrorContext(ctx, "the identity key that was rotated out is still there; trying again", "error", err)
		return
	}
	a.adopted = true
	a.log.InfoContext(ctx, "the identity key was rotated", "note", told)
}
