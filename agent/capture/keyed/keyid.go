package keyed

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
)

// KeyIDs makes actor.key_id from API keys. It is not safe for concurrent use.
type KeyIDs struct {
	mac hash.Hash
	sum []byte
}

// NewKeyIDs returns a maker of key ids. It has a key of its own, made from k:
// whoever can read records must not learn that a guessed key is right by sending
// it as a prompt.
func NewKeyIDs(k Key) *KeyIDs {
	own := hmac.New(sha256.New, k.Secret)
	own.Write([]byte("auditail key id v1"))
	return &KeyIDs{mac: hmac.New(sha256.New, own.Sum(nil))}
}

// Append appends the id of an API key: "k_" and the first 8 hexadecimal digits
// of its keyed hash. That tells a site's keys apart and gives none of them away.
func (k *KeyIDs) Append(dst, key []byte) []byte {
	k.mac.Reset()
	k.mac.Write(key)
	k.sum = k.mac.Sum(k.sum[:0])
	return hex.AppendEncode(append(dst, "k_"...), k.sum[:4])
}
