package seal_test

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

func cosignedCheckpoint(t *testing.T) (seal.Checkpoint, ed25519.PublicKey) {
	t.Helper()
	e := sealtest.New(t, sealtest.Config{})
	e.Open()
	e.Heartbeat()
	return e.Checkpoint(), e.PublicKey()
}

// TestCosign: what a witness signs verifies, alone and behind the checkpoint,
// where package note reads it; every changed byte shows.
func TestCosign(t *testing.T) {
	c, identity := cosignedCheckpoint(t)
	key := sealtest.Key("witness")
	witness := seal.WitnessKey{Name: "witness.example.com/w1", Public: key.Public().(ed25519.PublicKey)}
	at := time.Date(2026, 11, 21, 9, 6, 34, 500, time.UTC)
	line, err := seal.Cosign(&c, witness.Name, key, at)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := seal.VerifyCosignature(line, &c, witness); err != nil || !got.Equal(at.Truncate(time.Second)) {
		t.Fatalf("%s, %v", got, err)
	}

	vkey, err := seal.ParseWitnessKey(witness.String())
	if err != nil || !vkey.Public.Equal(witness.Public) || vkey.Name != witness.Name {
		t.Fatalf("%+v, %v", vkey, err)
	}
	log, err := note.NewVerifier(seal.VKey(c.Origin.String(), identity))
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(append(bytes.Clone(c.File), line...), note.VerifierList(log, witness.Verifier()))
	if err != nil || len(n.Sigs) != 2 || len(n.UnverifiedSigs) != 0 {
		t.Fatalf("%+v, %v", n, err)
	}

	for i := range line {
		changed := bytes.Clone(line)
		changed[i] ^= 1
		if _, err := seal.VerifyCosignature(changed, &c, witness); err == nil {
			t.Errorf("byte %d changed: still verifies", i)
		}
	}
	for _, changed := range [][]byte{nil, line[:len(line)-1], append(bytes.Clone(line), '\n'), append(bytes.Clone(line), line...)} {
		if _, err := seal.VerifyCosignature(changed, &c, witness); err == nil {
			t.Errorf("%q verifies", changed)
		}
	}
	other := c
	other.Size++
	if _, err := seal.VerifyCosignature(line, &other, witness); err == nil {
		t.Error("verifies for another checkpoint")
	}
}

func TestParseWitnessKey(t *testing.T) {
	key := seal.WitnessKey{Name: "w", Public: sealtest.Key("witness").Public().(ed25519.PublicKey)}
	for vkey, want := range map[string]string{
		"":                                "not a C2SP verifier key",
		"w+00000000+" + key.String()[11:]: "the hash in it",
		seal.VKey("w", key.Public):        "has signature type 1",
		strings.Replace(key.String(), "w", "", 1): "the name is empty",
	} {
		if _, err := seal.ParseWitnessKey(vkey); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", vkey, err, want)
		}
	}
}

func FuzzCosignature(f *testing.F) {
	f.Add([]byte("— w AAAA\n"))
	e := seal.Checkpoint{Origin: seal.Origin{Log: seal.Log{Organization: "o", Agent: "a"}, Epoch: 1}, Size: 1}
	key := sealtest.Key("witness")
	witness := seal.WitnessKey{Name: "w", Public: key.Public().(ed25519.PublicKey)}
	line, err := seal.Cosign(&e, "w", key, time.Unix(1, 0))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := seal.VerifyCosignature(data, &e, witness); err == nil {
			if again, err := seal.SplitCosignatures(data); err != nil || len(again) != 1 || !bytes.Equal(again[0], data) {
				t.Errorf("%q verifies, but is not one line: %v", data, err)
			}
		}
	})
}
