package buffer_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/auditail/auditail/buffer"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/durable/faulty"
	"github.com/auditail/auditail/seal"
)

func successor() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize))
}

// rotating are the dependencies of a start with a key that waits.
func rotating(fsys durable.FS) buffer.Deps {
	d := epochDeps(fsys)
	d.Successor = successor()
	d.KeyRotated = func(from, to ed25519.PublicKey) *buffer.Entry {
		return ownEntry(fmt.Sprintf("key %x to %x", from[:2], to[:2]))
	}
	return d
}

func mustOpen(t *testing.T, d buffer.Deps) *buffer.Buffer {
	t.Helper()
	b, err := buffer.Open(config(folder), d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wantRotated checks what an output got over the whole life of a rotation.
func wantRotated(t *testing.T, h *held, kinds string) {
	t.Helper()
	if strings.Join(h.kinds, " ") != kinds {
		t.Fatalf("shipped %s, want %s", h.kinds, kinds)
	}
	told := 0
	for record := range h.records {
		if strings.Contains(record, `"key `) {
			told++
		}
	}
	if told != 1 {
		t.Errorf("%d records of the rotation", told)
	}
}

// TestRotate cuts the power behind every operation of a start that signs a new
// identity key in. Whatever is left, there is one rotate batch and one record.
func TestRotate(t *testing.T) {
	type moment struct {
		op    faulty.Operation
		image *faulty.Image
	}
	reference := faulty.New()
	b := openEpochs(t, reference)
	before := newHeld()
	before.ship(t, b, "a", -1)
	if err := b.Shut(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	var moments []moment
	reference.Observe(func(op faulty.Operation, image *faulty.Image) { moments = append(moments, moment{op, image}) })
	b = mustOpen(t, rotating(reference))
	reference.Observe(nil)
	if b.Rotated() {
		t.Fatal("the old key is not needed any more, but no output knows the new one")
	}
	if err := b.Shut(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	for i, m := range moments {
		for _, how := range []crash{kill, cutAll, cutSome} {
			disk := how.of(m.image, rand.New(rand.NewPCG(uint64(i), 2))) //nolint:gosec // a test's dice
			b := mustOpen(t, rotating(disk))
			h := before.clone()
			h.ship(t, b, "a", 2) // close of the first run, rotate
			if !b.Rotated() {
				t.Fatal("an output holds the rotation, but the old key is kept")
			}
			if err := b.Shut(context.Background(), false); err != nil {
				t.Fatal(err)
			}
			// From here on the successor is the identity for good.
			d := rotating(disk)
			d.Identity, d.Successor = successor(), nil
			b = mustOpen(t, d)
			if err := b.Shut(context.Background(), true); err != nil {
				t.Fatal(err)
			}
			h.ship(t, b, "a", -1)
			wantRotated(t, h, "1:open 1:close 1:rotate 1:data 1:close")
			if t.Failed() {
				t.Fatalf("%s behind operation %d on %s", how, i, m.op.Name)
			}
		}
	}
	// The old key signs nothing any more.
	d := epochDeps(reference)
	if _, err := buffer.Open(config(folder), d); err == nil || !strings.Contains(err.Error(), "restore the identity key") {
		t.Errorf("opened with the old key: %v", err)
	}
}

// TestRotationThatNobodyWasToldOf leaves the epoch of a rotation that no output
// acknowledged: the next one opens with the key that auditors know.
func TestRotationThatNobodyWasToldOf(t *testing.T) {
	disk := faulty.New()
	b := openEpochs(t, disk)
	newHeld().ship(t, b, "a", -1)
	if err := b.Shut(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	b = mustOpen(t, rotating(disk))
	at := b.Standing("a")
	if err := b.Supersede(buffer.Fork{Cause: seal.SuccessionFork, Previous: 1, Size: at.Size, Root: at.Root, Found: "a"}); err != nil {
		t.Fatal(err)
	}
	_ = b.Shut(context.Background(), false)
	b, err := b.Reopen()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Shut(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	h := newHeld()
	h.ship(t, b, "a", -1)
	wantRotated(t, h, "2:open 2:data 2:rotate 2:data 2:close")
}

// TestRotationBeforeTheFirstStart signs the new key in right behind the open, also
// when the first start ended between that and its first segment.
func TestRotationBeforeTheFirstStart(t *testing.T) {
	disk := faulty.New()
	d := rotating(disk)
	d.Successor = successor()
	b := mustOpen(t, d)
	if err := b.Shut(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	entries, err := disk.ReadDir(filepath.Join(folder, "segments"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := disk.Remove(filepath.Join(folder, "segments", e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	b = mustOpen(t, d)
	if err := b.Shut(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	h := newHeld()
	h.ship(t, b, "a", -1)
	if got := strings.Join(h.kinds, " "); got != "1:open 1:rotate 1:close" {
		t.Fatal(got)
	}
}
