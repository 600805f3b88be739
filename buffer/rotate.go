package buffer

import (
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/auditail/auditail/seal"
)

// The state names the identity key that signs the next batch, so a start knows
// which of the keys on the disk that is, whatever crashed between the batch that
// signed the new one in and the moment at which its file took the old one's place.

// ErrRenewed is what a buffer fails with that is to be opened again, for an
// identity key that waits to be signed in.
var ErrRenewed = errors.New("the identity key is to be rotated")

// Renew fails the buffer with ErrRenewed.
func (b *Buffer) Renew() { b.fail(ErrRenewed) }

// Identity returns the public key that the buffer was opened with.
func (b *Buffer) Identity() ed25519.PublicKey { return publicKey(b.deps.Identity) }

// HasSuccessor tells whether the buffer was opened with a key that is to follow.
func (b *Buffer) HasSuccessor() bool { return b.deps.Successor != nil }

// Rotated tells whether Successor is the identity, and an output holds the batch
// that says so: the key before is not needed any more.
func (b *Buffer) Rotated() bool {
	if b.rotated == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, output := range b.current.Load().Outputs { // a copy is no evidence
		if b.cursors[output].compare(b.rotated) >= 0 {
			return true
		}
	}
	return false
}

func publicKey(s crypto.Signer) ed25519.PublicKey {
	if s == nil {
		return nil
	}
	key, _ := s.Public().(ed25519.PublicKey) // seal.NewSigner refuses another kind
	return key
}

func keyText(key ed25519.PublicKey) string { return base64.StdEncoding.EncodeToString(key) }

func parseKey(text string) ed25519.PublicKey {
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil
	}
	return key
}

// signer returns the key that a state names as the identity.
func (b *Buffer) signer(s *sealState) (crypto.Signer, error) {
	for _, key := range []crypto.Signer{b.signs.identity, b.signs.successor} {
		if key != nil && (s.Identity == "" || s.Identity == keyText(publicKey(key))) {
			return key, nil
		}
	}
	return nil, fmt.Errorf("the log %s was signed with the key %s, which is not here: restore the identity key; without it, begin anew with another agent id and an empty data_dir",
		b.cfg.Log, seal.VKey(b.cfg.Log.String(), parseKey(s.Identity)))
}

// rotate signs the successor in, unless that was done.
func (b *Buffer) rotate() error {
	next := publicKey(b.signs.successor)
	if next == nil {
		return nil
	}
	signer, err := b.signer(&b.state)
	if err != nil {
		return err
	}
	if !publicKey(signer).Equal(next) {
		m := b.manifest(seal.Rotate)
		m.Successor, m.Opened, m.Run, m.Root = next, m.Sealed, *b.run.Load(), seal.EmptyRoot()
		if err := b.finish(m, intent{}); err != nil {
			return fmt.Errorf("seal rotate batch %d: %w", m.Batch, err)
		}
		b.log.Warn("a new identity key was signed in; the one before is needed until an output holds that",
			"batch", m.Batch, "key", seal.VKey(b.cfg.Log.String(), next))
	}
	b.rotated = &cursor{Epoch: b.state.Epoch, Next: b.state.Rotated + 1}
	return nil
}
