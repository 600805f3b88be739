package buffer_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/internal/durable/faulty"
)

// farKey is a signer that can be made to hang, to fail and to lie.
type farKey struct {
	ed25519.PrivateKey
	how     atomic.Int32
	free    chan struct{} // closed: what hangs ends
	hanging atomic.Int32
}

const (
	signs int32 = iota
	hangs
	fails
	lies
	half // one of the three signatures of a batch fails
)

var errDenied = errors.New("access denied")

func newFarKey(how int32) *farKey {
	k := &farKey{PrivateKey: identity(), free: make(chan struct{})}
	k.how.Store(how)
	return k
}

func (k *farKey) Sign(r io.Reader, message []byte, o crypto.SignerOpts) ([]byte, error) {
	signature, err := k.PrivateKey.Sign(r, message, o)
	switch k.how.Load() {
	case hangs:
		k.hanging.Add(1)
		<-k.free
		k.hanging.Add(-1)
	case fails:
		return nil, errDenied
	case lies:
		signature[7] ^= 1
	case half:
		if bytes.HasPrefix(message, []byte("SSHSIG")) {
			return nil, errDenied
		}
	}
	return signature, err
}

// TestSignerThatIsAway seals nothing while the key does not sign, goes on reading
// far beyond the batches that may wait for a sealer that is slow, says so once, and
// seals everything in order when it signs again.
func TestSignerThatIsAway(t *testing.T) {
	for name, how := range map[string]int32{"hangs": hangs, "fails": fails, "lies": lies, "signs half": half} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				key, log := newFarKey(signs), new(bytes.Buffer)
				disk := faulty.New()
				c, d := config(folder), testDeps(disk)
				c.BatchSize = 1 // every entry is a batch
				d.Identity, d.Log = key, slog.New(slog.NewTextHandler(log, nil))
				b := open(t, c, d)
				key.how.Store(how)
				for i := range 20 {
					if err := b.Append(t.Context(), entry(i*10, 10)); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				if s := b.Status(); !s.Unsigned || s.LastSeal.Batch != 0 || s.Batches != 1 {
					t.Fatalf("without a key: %+v", s)
				}
				if n := strings.Count(log.String(), "ALARM: the signing key does not sign"); n != 1 {
					t.Fatalf("it was said %d times:\n%s", n, log)
				}
				if n := key.hanging.Load(); n > 8 {
					t.Fatalf("%d calls hang", n)
				}
				key.how.Store(signs)
				close(key.free)
				if err := b.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				if s := b.Status(); s.Unsigned || !strings.Contains(log.String(), "the signing key signs again") {
					t.Fatalf("%+v\n%s", s, log)
				}
				if err := b.Shut(t.Context(), true); err != nil {
					t.Fatal(err)
				}
				wantChain(t, b, 22, 200)
			})
		})
	}
}

// wantChain ships everything and checks it: so many batches, whose signatures and
// chain are good, and so many records in them beside those of the coverage.
func wantChain(t *testing.T, b *buffer.Buffer, batches uint64, records int) {
	t.Helper()
	h := newHeld()
	h.ship(t, b, "a", int(batches)) //nolint:gosec // a small number
	if b.Pending("a") != 0 {
		t.Fatal("there are more batches")
	}
	if len(h.records) < records {
		t.Fatalf("there are %d records, want %d", len(h.records), records)
	}
}

// TestStopWithASignerThatIsAway stops in little time, writes no close, and loses
// nothing: the next start seals what waits, under the numbers it would have had.
func TestStopWithASignerThatIsAway(t *testing.T) {
	for name, how := range map[string]int32{"hangs": hangs, "fails": fails, "lies": lies} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				key := newFarKey(signs)
				disk := faulty.New()
				c, d := config(folder), testDeps(disk)
				c.BatchSize = 1
				d.Identity = key
				b := open(t, c, d)
				key.how.Store(how)
				for i := range 7 {
					if err := b.Append(t.Context(), entry(i*10, 10)); err != nil {
						t.Fatal(err)
					}
				}
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				if err := b.Shut(ctx, true); !buffer.Unsigned(err) {
					t.Fatalf("a stop without a key answers %v", err)
				}
				if took := time.Since(began); took > 6*time.Second {
					t.Fatalf("the stop took %s", took)
				}
				if _, err := buffer.Open(c, d); !buffer.Unsigned(err) {
					t.Fatalf("a start without a key answers %v", err)
				}
				key.how.Store(signs)
				close(key.free)
				b = open(t, c, d)
				if err := b.Shut(t.Context(), true); err != nil {
					t.Fatal(err)
				}
				wantChain(t, b, 9, 70)
			})
		})
	}
}

// TestOtherKind refuses a signer that is not Ed25519.
func TestOtherKind(t *testing.T) {
	d := testDeps(faulty.New())
	d.Identity = otherKind{}
	if _, err := buffer.Open(config(folder), d); err == nil || !strings.Contains(err.Error(), "not an Ed25519 key") {
		t.Fatal(err)
	}
}

type otherKind struct{ crypto.Signer }

func (otherKind) Public() crypto.PublicKey { return "RSA" }
