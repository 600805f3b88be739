package server

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/auditail/auditail/seal"
)

// headEvery is how many manifests come between two heads that are kept, and so how
// many a start reads again of a log.
const headEvery = 64

// keptHead is how far an epoch had come when it was kept: what a server that starts
// needs in the place of all manifests before. It is a short cut and no evidence: one
// that does not fit what is stored is not used.
type keptHead struct {
	Chain seal.ChainState `json:"chain"`
	Keys  []keptKey       `json:"keys"`
	Keep  time.Time       `json:"keep,omitzero"` // of the payload that is kept longest
	// Before is the tree at the head before this one: a checkpoint that is on its
	// way during a restart lies behind it.
	Before *keptTree `json:"before,omitempty"`
}

type keptKey struct {
	From uint64 `json:"from"`
	Key  string `json:"key"`
}

type keptTree struct {
	Size     uint64      `json:"size"`
	Frontier []seal.Hash `json:"frontier"`
}

func headName(o seal.Origin) string {
	return fmt.Sprintf("heads/%s/%04d%s", o.Agent, o.Epoch, registrySuffix)
}

// noteHead keeps the head of an epoch that has come far enough behind the last one.
// Without it a later start only reads more, so a failure is no refusal.
func (s *Server) noteHead(ctx context.Context, e *epoch) {
	size := e.chain.Next()
	if size < e.noted+headEvery {
		return
	}
	log := e.chain.Origin.Log.String()
	h := keptHead{Chain: e.chain.State(), Keep: e.keep}
	for _, k := range e.keys {
		h.Keys = append(h.Keys, keptKey{From: k.from, Key: seal.VKey(log, k.key)})
	}
	if before := e.kept; before.Size() > 0 {
		h.Before = &keptTree{Size: before.Size(), Frontier: before.Frontier()}
	}
	data, err := json.Marshal(h)
	if err == nil {
		err = set(ctx, s.state, headName(e.chain.Origin), data)
	}
	if err != nil {
		s.logger.WarnContext(ctx, "the head of a log could not be kept", "log", log, "size", size, "error", err)
		return
	}
	e.noted = size
	if e.chain.Whole() {
		e.before, e.kept = e.kept, e.chain.Tree()
	}
}

// loadHead returns an epoch as far as its head was kept; from its beginning when
// none was, or one that does not fit.
func (s *Server) loadHead(ctx context.Context, origin seal.Origin, identity ed25519.PublicKey) (*epoch, error) {
	text, _, err := s.state.read(ctx, headName(origin))
	if errors.Is(err, fs.ErrNotExist) {
		return newEpoch(origin, identity), nil
	}
	if err != nil {
		return nil, err
	}
	var h keptHead
	var file []byte
	misfit := strictJSON(text, &h)
	if misfit == nil && h.Chain.Next > 0 {
		if file, _, err = s.store.read(ctx, origin.ManifestPath(h.Chain.Next-1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	var e *epoch
	if misfit == nil {
		e, misfit = h.epoch(origin, identity, file)
	}
	if misfit != nil {
		s.logger.WarnContext(ctx, "the head that was kept of a log does not fit what is stored: all of the log is read",
			"log", origin.Log.String(), "epoch", origin.Epoch, "error", misfit)
		return newEpoch(origin, identity), nil
	}
	return e, nil
}

// epoch is the inverse of what noteHead keeps.
func (h *keptHead) epoch(origin seal.Origin, identity ed25519.PublicKey, file []byte) (*epoch, error) {
	e := newEpoch(origin, identity)
	chain, err := seal.RestoreChain(origin, h.Chain, file)
	if err != nil {
		return nil, err
	}
	e.chain, e.keep, e.noted = chain, h.Keep, chain.Next()
	e.keys = nil
	for _, k := range h.Keys {
		log, key, err := ParseKey(k.Key)
		if err != nil || log != origin.Log {
			return nil, fmt.Errorf("key %q is none of %s", k.Key, origin.Log)
		}
		e.keys = append(e.keys, signedFrom{from: k.From, key: key})
	}
	if len(e.keys) == 0 || !e.keys[0].key.Equal(identity) || !e.keys[len(e.keys)-1].key.Equal(chain.Identity()) {
		return nil, errors.New("its keys do not lead from the key that opened the epoch to the one of now")
	}
	if !chain.Whole() {
		return e, nil
	}
	if e.kept = chain.Tree(); h.Before != nil {
		if e.before, err = seal.NewTree(h.Before.Size, h.Before.Frontier); err != nil {
			return nil, err
		}
	}
	return e, nil
}
