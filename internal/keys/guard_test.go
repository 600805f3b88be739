package keys_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditail/auditail/internal/keys"
)

// remote is a key somewhere else, which does what it is told.
type remote struct {
	ed25519.PrivateKey
	sign func(message []byte) ([]byte, error)
}

func (r remote) Sign(_ io.Reader, message []byte, _ crypto.SignerOpts) ([]byte, error) {
	return r.sign(message)
}

func TestGuard(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	message := []byte("manifest")
	forever := make(chan struct{})
	for name, test := range map[string]struct {
		sign func([]byte) ([]byte, error)
		want error
		took time.Duration
	}{
		"signs":          {sign: func(m []byte) ([]byte, error) { return ed25519.Sign(key, m), nil }},
		"signs slowly":   {sign: func(m []byte) ([]byte, error) { <-time.After(4 * time.Second); return ed25519.Sign(key, m), nil }, took: 4 * time.Second},
		"errs":           {sign: func([]byte) ([]byte, error) { return nil, io.ErrUnexpectedEOF }, want: io.ErrUnexpectedEOF},
		"hangs":          {sign: func([]byte) ([]byte, error) { <-forever; return nil, io.EOF }, want: keys.ErrSigner, took: 5 * time.Second},
		"signs another":  {sign: func([]byte) ([]byte, error) { return ed25519.Sign(key, []byte("x")), nil }, want: keys.ErrSigner},
		"returns little": {sign: func([]byte) ([]byte, error) { return []byte("x"), nil }, want: keys.ErrSigner},
		"returns none":   {sign: func([]byte) ([]byte, error) { return nil, nil }, want: keys.ErrSigner},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				forever = make(chan struct{})
				defer close(forever)
				guard, err := keys.NewGuard(remote{key, test.sign}, 5*time.Second, nil)
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				signature, err := guard.Sign(nil, message, crypto.Hash(0))
				if !errors.Is(err, test.want) || test.want != nil && !errors.Is(err, keys.ErrSigner) {
					t.Errorf("%v, want %v", err, test.want)
				}
				if good := ed25519.Verify(key.Public().(ed25519.PublicKey), message, signature); good != (test.want == nil) {
					t.Errorf("the signature verifies: %t", good)
				}
				if took := time.Since(start); took != test.took {
					t.Errorf("took %s, want %s", took, test.took)
				}
			})
		})
	}
}

// A key that hangs again and again keeps eight calls at most, is asked again when one
// of them returns, and is given a second when the agent stops.
func TestGuardOfAKeyThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
		calls, release, hurry := make(chan struct{}, 100), make(chan struct{}), make(chan struct{})
		guard, err := keys.NewGuard(remote{key, func(m []byte) ([]byte, error) {
			calls <- struct{}{}
			<-release
			return ed25519.Sign(key, m), nil
		}}, 5*time.Second, hurry)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if _, err := guard.Sign(nil, []byte("m"), crypto.Hash(0)); !errors.Is(err, keys.ErrSigner) {
				t.Fatal(err)
			}
		}
		if n := len(calls); n != 8 {
			t.Errorf("%d calls hang", n)
		}
		close(hurry)
		start := time.Now()
		if _, err := guard.Sign(nil, []byte("m"), crypto.Hash(0)); !errors.Is(err, keys.ErrSigner) || time.Since(start) != keys.HurryTime {
			t.Errorf("%v behind %s", err, time.Since(start))
		}
		close(release)
		if _, err := guard.Sign(nil, []byte("m"), crypto.Hash(0)); err != nil {
			t.Errorf("the key is back: %v", err)
		}
	})
}

func TestGuardRefusesOtherKeys(t *testing.T) {
	if _, err := keys.NewGuard(otherKey{}, time.Second, nil); err == nil {
		t.Error("a key of another kind is taken")
	}
}

type otherKey struct{ remote }

func (otherKey) Public() crypto.PublicKey { return []byte("p256") }
