package keys

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"time"
)

// ErrSigner is wrapped by every error of a Guard: the key did not sign, and may
// do so when it is asked again.
var ErrSigner = errors.New("the signing key does not sign")

// maxHanging bounds the calls of one signer that have not returned. One that hangs
// for ever (a connection that was cut) must not keep the next from being tried,
// and a signer that is gone must not cost memory for as long as it is.
const maxHanging = 8

// Guard is a crypto.Signer around another one that can hang, fail or err: a call
// over a network, a device. Sign returns within the time limit, and what it returns
// verifies with Public. Safe for concurrent use when the other one is.
type Guard struct {
	signer  crypto.Signer
	public  ed25519.PublicKey
	limit   time.Duration
	hurry   <-chan struct{}
	hanging chan struct{} // holds an element for each call that has not returned
}

// HurryTime is what a signature may still take once a Guard is told to hurry.
const HurryTime = time.Second

// NewGuard returns the guard of an Ed25519 key. Once hurry is closed, a signature
// takes at most HurryTime; it may be nil.
func NewGuard(signer crypto.Signer, limit time.Duration, hurry <-chan struct{}) (*Guard, error) {
	public, ok := signer.Public().(ed25519.PublicKey)
	if !ok || len(public) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("the signing key is not an Ed25519 key, but %T", signer.Public())
	}
	return &Guard{signer: signer, public: public, limit: limit, hurry: hurry, hanging: make(chan struct{}, maxHanging)}, nil
}

// Public returns the public key as it was when the guard was made.
func (g *Guard) Public() crypto.PublicKey { return g.public }

// Sign signs message, which is not hashed (RFC 8032, PureEdDSA); opts must say so.
// The signature was verified.
func (g *Guard) Sign(random io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	type answer struct {
		signature []byte
		err       error
	}
	timer := time.NewTimer(g.limit)
	defer timer.Stop()
	hurry := g.hurry
	called := make(chan answer, 1)
	room := g.hanging
	for {
		select {
		case room <- struct{}{}:
			room = nil
			go func() {
				signature, err := g.signer.Sign(random, message, opts)
				<-g.hanging
				called <- answer{signature, err}
			}()
		case a := <-called:
			if a.err != nil {
				return nil, fmt.Errorf("%w: %w", ErrSigner, a.err)
			}
			if !ed25519.Verify(g.public, message, a.signature) {
				return nil, fmt.Errorf("%w: what it returned is not its signature of what it was given", ErrSigner)
			}
			return a.signature, nil
		case <-hurry:
			hurry = nil
			timer.Reset(min(g.limit, HurryTime))
		case <-timer.C:
			return nil, fmt.Errorf("%w: no answer in time", ErrSigner)
		}
	}
}
