package server

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"

	"github.com/auditail/auditail/seal"
)

// A token is "<prefix>.<name>.<secret>". The name in it leads to the one entry
// whose digest is compared, in constant time. Only the digest is ever stored.
const (
	agentToken   = "auditail"
	accountToken = "auditail-account"
	oneTimeToken = "auditail-enroll"
)

const tokenSecretBytes = 32

func newToken(prefix, name string) string {
	secret := make([]byte, tokenSecretBytes)
	rand.Read(secret)
	return prefix + "." + name + "." + base64.RawURLEncoding.EncodeToString(secret)
}

// tokenName returns the name in a token of the given prefix.
func tokenName(prefix, token string) (name string, ok bool) {
	rest, ok := strings.CutPrefix(token, prefix+".")
	at := strings.LastIndexByte(rest, '.')
	if !ok || at < 0 || !seal.ValidName(rest[:at]) {
		return "", false
	}
	return rest[:at], true
}

func tokenDigest(token string) seal.Digest { return sha256.Sum256([]byte(token)) }

func sameToken(token string, digest seal.Digest) bool {
	got := tokenDigest(token)
	return subtle.ConstantTimeCompare(got[:], digest[:]) == 1
}
