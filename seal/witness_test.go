package seal_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

func TestAddCheckpointRoundTrip(t *testing.T) {
	c, identity := cosignedCheckpoint(t)
	want := seal.AddCheckpoint{Old: 1, Proof: []seal.Hash{{1}, {2}}, Note: c.File}
	got, err := seal.ParseAddCheckpoint(want.Text())
	if err != nil || got.Old != 1 || len(got.Proof) != 2 || got.Proof[1] != want.Proof[1] || !bytes.Equal(got.Note, c.File) {
		t.Fatalf("%+v, %v", got, err)
	}
	opened, err := seal.OpenCheckpoint(append(bytes.Clone(c.File), "— somebody/else AAAAAAAA\n"...), identity)
	if err != nil || !bytes.Equal(opened.File, c.File) || opened.Root != c.Root {
		t.Errorf("%+v, %v", opened, err)
	}
	if _, err := seal.OpenCheckpoint(c.File, sealtest.Key("other").Public().(ed25519.PublicKey)); err == nil {
		t.Error("another key verifies")
	}
}

func TestWitnessSecret(t *testing.T) {
	key := sealtest.Key("witness")
	text, err := seal.WitnessSecret("audit.example.com/witness", key)
	if err != nil {
		t.Fatal(err)
	}
	public, got, err := seal.ParseWitnessSecret(text)
	if err != nil || !got.Equal(key) || public.Name != "audit.example.com/witness" {
		t.Fatalf("%v, %v", public, err)
	}
	for _, wrong := range []string{"", text + "A", text[1:], "PRIVATE+KEY+a b+00000000+AAAA"} {
		if _, _, err := seal.ParseWitnessSecret(wrong); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
	if _, err := seal.WitnessSecret("a b", key); err == nil {
		t.Error("a name with a space is taken")
	}
}

func FuzzParseAddCheckpoint(f *testing.F) {
	f.Add([]byte("old 0\n\nlog\n1\nroot\n\n— log AAAA\n"))
	f.Add([]byte("old 12\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := seal.ParseAddCheckpoint(body)
		if err != nil {
			return
		}
		if !bytes.Equal(a.Text(), body) {
			t.Errorf("%q becomes %q", body, a.Text())
		}
		if err := a.CheckExtends(seal.Head{}, &seal.Checkpoint{Size: 1}); err != nil && !errors.Is(err, seal.ErrInconsistent) {
			t.Error(err)
		}
	})
}
