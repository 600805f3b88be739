package parsers

import "bytes"

// IsRawKey recognises credentials, and masked ones, in the place of a key's
// name or fingerprint. They are never kept.
func IsRawKey(text []byte) bool {
	if _, credentials := cutScheme(text); credentials {
		return true
	}
	for _, prefix := range [...]string{
		"sk-", "sk_", "pk-", "rk-", "AIza", "AKIA", "ASIA", "eyJ", "gsk_", "ghp_", "gho_", "ghs_", "github_pat_", "glpat-",
		"hf_", "nvapi-", "pplx-", "r8_", "xai-", "xoxb-", "xoxp-", "ya29.",
	} {
		if len(text) > len(prefix) && string(text[:len(prefix)]) == prefix {
			return true
		}
	}
	return false
}

// minKey is the shortest text that is taken for a key.
const minKey = 8

// Fingerprint appends actor.key_id for a key as a line shows it: alone, or as
// the value of an Authorization header. ok is false, and nothing is appended, for
// what is no whole key: a masked one, whose fingerprint would make many keys look
// like one, or the name and password of Basic.
func (c *Config) Fingerprint(dst, value []byte) (id []byte, ok bool) {
	scheme, _, _ := bytes.Cut(value, []byte(" "))
	key, _ := cutScheme(value)
	key = bytes.TrimSpace(key)
	if c.KeyID == nil || len(key) < minKey || bytes.EqualFold(scheme, []byte("basic")) || bytes.IndexByte(key, ' ') >= 0 || isMasked(key) {
		return dst, false
	}
	return c.KeyID(dst, key), true
}

// isMasked recognises keys of which a part was left out.
func isMasked(key []byte) bool {
	for _, mark := range [...]string{"*", "...", "\u2026", "[REDACTED", "<redacted", "xxxx", "XXXX"} {
		if bytes.Contains(key, []byte(mark)) {
			return true
		}
	}
	return false
}

// cutScheme splits the value of an Authorization header (RFC 9110, 11.4) into
// its scheme, which is dropped, and the credentials. found is false without a
// scheme.
func cutScheme(text []byte) (credentials []byte, found bool) {
	scheme, credentials, ok := bytes.Cut(text, []byte(" "))
	if !ok {
		return text, false
	}
	for _, known := range [...]string{"bearer", "basic", "token", "apikey", "api-key", "digest", "negotiate", "key"} {
		if len(scheme) == len(known) && bytes.EqualFold(scheme, []byte(known)) {
			return credentials, true
		}
	}
	return text, false
}
