package server

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/auditail/auditail/seal"
)

// LaterKey is a key that the operator added behind the one an agent was enrolled
// with. A log that is received here says itself, with a rotate manifest, which key
// follows; of one that is only witnessed here nothing but its heads is seen.
type LaterKey struct {
	Key   string    `json:"key"` // C2SP verifier key under the name of the log
	Added time.Time `json:"added"`
	// Behind is how far the log was stored when the key was added, and later the
	// first head that was signed with it. Once more than that is stored, the stored
	// manifests say which key the log has, and this one counts no more.
	Behind Anchor `json:"behind"`
	// Seen tells that a head was signed with it: the keys before it are rotated out.
	Seen bool `json:"seen,omitempty"`
}

// before tells whether a place in the log comes before another.
func (a Anchor) before(b Anchor) bool {
	return a.Epoch < b.Epoch || a.Epoch == b.Epoch && a.Batch < b.Batch
}

// headKey is a key that may sign the next head of a log.
type headKey struct {
	key    ed25519.PublicKey
	unseen bool // added by the operator, and no head was signed with it yet
}

// headKeys returns the keys that may sign a head of size manifests, the oldest
// first. The stored manifests decide as far as they go. Beyond, a key that was
// added may follow on theirs, and from the first head that is signed with it on
// the keys before it sign nothing any more, in no epoch.
func (s *Server) headKeys(ctx context.Context, a *agentLog, e *epoch, size uint64) ([]headKey, error) {
	keys := []headKey{{key: e.keyAt(size)}}
	if next := e.chain.Next(); next > 0 && size <= next || len(a.enrolment.Later) == 0 {
		return keys, nil
	}
	stored, err := s.storedBehind(ctx, a.enrolment)
	if err != nil {
		return nil, err
	}
	for _, k := range a.enrolment.Later {
		if k.Behind.before(stored) {
			continue
		}
		_, key, err := ParseKey(k.Key)
		if err != nil {
			return nil, err
		}
		if k.Seen {
			keys = keys[:0]
		}
		keys = append(keys, headKey{key: key, unseen: !k.Seen})
	}
	return keys, nil
}

// storedBehind returns the place behind the newest manifest stored of an agent's
// log, which is zero when none is.
func (p *places) storedBehind(ctx context.Context, e *Enrolment) (Anchor, error) {
	var found AgentStatus
	err := p.status(ctx, e, &found, time.Time{})
	return Anchor{Epoch: found.Epoch, Batch: found.NextBatch}, err
}

// signedWith takes note of the first head that is signed with a key that was added:
// from then on the keys before it are rotated out. The caller holds the log's turn.
func (s *Server) signedWith(ctx context.Context, a *agentLog, key headKey, c *seal.Checkpoint) error {
	if !key.unseen {
		return nil
	}
	vkey, at := seal.VKey(a.log.String(), key.key), Anchor{Epoch: c.Origin.Epoch, Batch: c.Size}
	changed, err := s.registry.change(ctx, a.log.Agent, func(e *Enrolment) error {
		for i := range e.Later {
			if k := &e.Later[i]; k.Key == vkey && !k.Seen { // else another server was first
				k.Seen, k.Behind = true, at
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	a.enrolment = changed
	s.logger.InfoContext(ctx, "the log is signed with a key that was added; those before it are refused", "log", a.log.String(), "key", vkey, "at", at.String())
	return nil
}

// AddKey lets heads of an enrolled agent's log be signed with a further key, for a
// server that only witnesses the log: one that receives it follows by itself. From
// the first such head on the keys before it are refused. Tokens do not change.
func AddKey(ctx context.Context, c Config, d Deps, log seal.Log, key ed25519.PublicKey) error {
	p, err := openPlaces(ctx, c, d, false)
	if err != nil {
		return err
	}
	if err := p.othersKey(ctx, log, key); err != nil {
		return err
	}
	vkey := seal.VKey(log.String(), key)
	return p.changeEnrolment(ctx, d, log.Agent, "the operator added the key "+vkey, func(e *Enrolment) error {
		switch {
		case e.Log != log:
			return fmt.Errorf("the agent id %q belongs to %s: the key of %s is another agent's", log.Agent, e.Log, log)
		case e.revoked():
			return fmt.Errorf("%s was revoked on %s; auditail-server agents restore %s takes that back", log, e.Revoked.Format("2006-01-02"), log.Agent)
		case e.hasKey(vkey):
			return fmt.Errorf("%s was enrolled with this key already; a key that was rotated out does not come back", log)
		}
		behind, err := p.storedBehind(ctx, e)
		if err != nil {
			return err
		}
		e.Later = append(slices.Clone(e.Later), LaterKey{Key: vkey, Added: d.Now().UTC().Truncate(time.Second), Behind: behind})
		return nil
	})
}

// hasKey tells whether a key is or was one of the agent's.
func (e *Enrolment) hasKey(vkey string) bool {
	return seal.VKey(e.Log.String(), e.Key) == vkey || slices.ContainsFunc(e.Later, func(k LaterKey) bool { return k.Key == vkey })
}

// othersKey refuses a key that is one of another agent's, under whatever name.
func (p *places) othersKey(ctx context.Context, log seal.Log, key ed25519.PublicKey) error {
	all, err := p.registry.list(ctx)
	if err != nil {
		return err
	}
	for _, other := range all {
		if other.Log != log && other.hasKey(seal.VKey(other.Log.String(), key)) {
			return fmt.Errorf("this is the key of %s, not of %s", other.Log, log)
		}
	}
	return nil
}

// openCheckpoint verifies the log's signature with a key that the log may have at
// the checkpoint's size, and returns that key.
func (s *Server) openCheckpoint(ctx context.Context, a *agentLog, number int, file []byte) (c seal.Checkpoint, e *epoch, key headKey, err error) {
	if c, err = seal.ReadCheckpoint(file); err != nil {
		return c, nil, key, err
	}
	if e, err = s.epoch(ctx, a, number); err != nil {
		return c, nil, key, err
	}
	keys, err := s.headKeys(ctx, a, e, c.Size)
	if err != nil {
		return c, nil, key, err
	}
	var refused []error
	for _, key = range keys {
		if c, err = seal.OpenCheckpoint(file, key.key); err == nil {
			return c, e, key, nil
		}
		refused = append(refused, err)
	}
	return c, nil, key, refuse(http.StatusForbidden, "%s", errors.Join(refused...))
}
