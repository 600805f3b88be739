package keyed_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/auditail/auditail/agent/capture/keyed"
)

// TestKeyIDs computes an id as an auditor would, who holds the capture key.
func TestKeyIDs(t *testing.T) {
	key := keyed.Key{ID: "2026-11", Secret: []byte("0123456789abcdef0123456789abcdef")}
	hashed := func(secret []byte, text string) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	want := "k_" + hex.EncodeToString(hashed(hashed(key.Secret, "auditail key id v1"), "sk-test-alice"))[:8]
	ids := keyed.NewKeyIDs(key)
	for range 2 {
		if got := string(ids.Append(nil, []byte("sk-test-alice"))); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if other := string(ids.Append(nil, []byte("sk-test-bob"))); other == want {
		t.Error("two keys have the same id")
	}
	var dst []byte
	alice := []byte("sk-test-alice")
	if n := testing.AllocsPerRun(100, func() { dst = ids.Append(dst[:0], alice) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
