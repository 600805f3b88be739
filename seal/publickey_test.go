package seal_test

import (
	"crypto/ed25519"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/auditail/auditail/seal"
	"github.com/auditail/auditail/seal/sealtest"
)

// smallOrder are all encodings of the points of order 1, 2, 4 and 8: both signs of x,
// and the coordinates beyond the field that come to the same ("Taming the many
// EdDSAs", Chalkias and others, 2020, table 5).
func smallOrder(t *testing.T) []ed25519.PublicKey {
	t.Helper()
	var keys []ed25519.PublicKey
	for _, spelled := range []string{
		"0100000000000000000000000000000000000000000000000000000000000000",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"0000000000000000000000000000000000000000000000000000000000000000",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // 0 + p
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // 1 + p
	} {
		raw, err := hex.DecodeString(spelled)
		if err != nil {
			t.Fatal(err)
		}
		other := slices.Clone(raw)
		other[31] |= 0x80
		keys = append(keys, raw, other)
	}
	return keys
}

// Under each of these keys crypto/ed25519 takes a signature that nobody made, which is
// why each is refused wherever a key comes from a file.
func TestKeysOfSmallOrder(t *testing.T) {
	keys := smallOrder(t)
	good := sealtest.Key("good").Public().(ed25519.PublicKey)
	if err := seal.CheckPublicKey(good); err != nil {
		t.Errorf("a good key: %v", err)
	}
	e := sealtest.New(t, sealtest.Config{})
	m := *e.Open().Manifest
	for _, key := range keys {
		forged := slices.ContainsFunc(keys, func(r ed25519.PublicKey) bool {
			for message := range byte(64) { // each has one of eight points that fits
				if ed25519.Verify(key, []byte{message}, append(slices.Clone(r), make([]byte, 32)...)) {
					return true
				}
			}
			return false
		})
		if !forged {
			t.Errorf("%x: no signature without a secret verifies: it does not belong into this test", key)
		}
		if seal.CheckPublicKey(key) == nil {
			t.Errorf("%x is taken", key)
		}
		if _, _, err := seal.ParseVKey(seal.VKey("acme/gpu-07", key)); err == nil {
			t.Errorf("%x is taken as a verifier key", key)
		}
		if _, err := seal.ParseWitnessKey(seal.WitnessKey{Name: "w", Public: key}.String()); err == nil {
			t.Errorf("%x is taken as the key of a witness", key)
		}
		next := m
		next.Ratchet = key
		if _, err := next.Text(); err == nil {
			t.Errorf("%x is taken as a one-time key", key)
		}
		next = m
		next.Kind, next.Reason, next.Batch, next.Successor = seal.Rotate, "", 1, key
		if _, err := next.Text(); err == nil {
			t.Errorf("%x is taken as the key that follows", key)
		}
	}
	// The largest coordinates of the field are none of these.
	for _, last := range []byte{0xeb, 0xea} {
		key := slices.Repeat([]byte{0xff}, 32)
		key[0], key[31] = last, 0x7f
		if err := seal.CheckPublicKey(key); err != nil {
			t.Errorf("%x: %v", key, err)
		}
	}
}
