// Package keyed makes the keyed hashes (HMAC-SHA-256) of prompts, answers, user
// ids and API keys that records carry.
//
// A keyed hash lets an auditor who holds the key test whether a given text is the
// one behind a record, and tells nothing to anyone else. For what users can have
// hashed at will, prompts, and for what it must not be matched with, user ids and
// API keys, there are separate keys, made from the one that is kept.
package keyed

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Key is a secret of the keyed hashes. Its id stands in front of each hash, so
// that a rotated key's hashes are told from its successor's.
type Key struct {
	ID     string
	Secret []byte
}

// Keys are all keys that ever were in use, oldest first. New hashes are made
// with the last one; the others are kept for auditors.
type Keys []Key

const minSecret = 16

var keyIDForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,31}$`)

// New makes a key whose id is the month of its making.
func New(now time.Time) Key {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	return Key{ID: now.UTC().Format("2006-01"), Secret: secret}
}

// Marshal returns the form in which a key is kept: id, colon, base64, LF.
func (k Key) Marshal() []byte {
	return []byte(k.ID + ":" + base64.StdEncoding.EncodeToString(k.Secret) + "\n")
}

// Parse parses one key a line, as Marshal returns them. Empty lines and
// those that begin with # say nothing. Its errors show no secret.
func Parse(data []byte) (Keys, error) {
	var keys Keys
	for line := range bytes.Lines(data) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		key, err := parseKey(string(line))
		if err != nil {
			return nil, err
		}
		if _, there := keys.Find(key.ID); there {
			return nil, fmt.Errorf("there are two capture keys %s: give each an id of its own", key.ID)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no capture key")
	}
	return keys, nil
}

func parseKey(line string) (Key, error) {
	id, encoded, ok := strings.Cut(line, ":")
	if !ok || !keyIDForm.MatchString(id) {
		return Key{}, errors.New("a capture key is not <id>:<base64>, such as 2026-11:…")
	}
	secret, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(secret) < minSecret {
		return Key{}, fmt.Errorf("the capture key %s is not the base64 of at least %d bytes", id, minSecret)
	}
	return Key{ID: id, Secret: secret}, nil
}

// Marshal returns all keys, one a line.
func (k Keys) Marshal() []byte {
	var text []byte
	for _, key := range k {
		text = append(text, key.Marshal()...)
	}
	return text
}

// Current returns the key of new hashes.
func (k Keys) Current() Key { return k[len(k)-1] }

// Find returns the key with an id.
func (k Keys) Find(id string) (Key, bool) {
	i := slices.IndexFunc(k, func(key Key) bool { return key.ID == id })
	if i < 0 {
		return Key{}, false
	}
	return k[i], true
}

// Rotate returns the keys with a new one at their end.
func (k Keys) Rotate(now time.Time) Keys {
	made := New(now)
	month := made.ID
	for n := 2; ; n++ {
		if _, taken := k.Find(made.ID); !taken {
			return append(slices.Clone(k), made)
		}
		made.ID = fmt.Sprintf("%s.%d", month, n)
	}
}

// Hasher makes keyed hashes. It is not safe for concurrent use.
type Hasher struct {
	prefix string
	mac    hash.Hash
	sum    []byte
}

// hashPrefix stands in front of the key's id.
const hashPrefix = "hmac-sha256:"

// NewHasher returns a hasher with the key.
func NewHasher(k Key) *Hasher {
	return &Hasher{prefix: hashPrefix + k.ID + ":", mac: hmac.New(sha256.New, k.Secret)}
}

// NewPseudonymizer returns the hasher of user ids. It has a key of its own, made
// from k: a user who can read records must not learn whose pseudonym is whose by
// sending names as prompts.
func NewPseudonymizer(k Key) *Hasher {
	mac := hmac.New(sha256.New, k.Secret)
	mac.Write([]byte("auditail pseudonym v1"))
	return NewHasher(Key{ID: k.ID, Secret: mac.Sum(nil)})
}

// Reset begins another hash.
func (h *Hasher) Reset() { h.mac.Reset() }

// Write adds bytes.
func (h *Hasher) Write(b []byte) { h.mac.Write(b) }

// Append appends the hash as records carry it: hmac-sha256:<key id>:<hex>.
func (h *Hasher) Append(dst []byte) []byte {
	h.sum = h.mac.Sum(h.sum[:0])
	return hex.AppendEncode(append(dst, h.prefix...), h.sum)
}

// Sum returns the bare hash of one text, valid until the next call.
func (h *Hasher) Sum(text []byte) []byte {
	h.Reset()
	h.Write(text)
	h.sum = h.mac.Sum(h.sum[:0])
	return h.sum
}

// Hash appends the hash of one text, as Append does.
func (h *Hasher) Hash(dst, text []byte) []byte {
	h.Reset()
	h.Write(text)
	return h.Append(dst)
}

// ID returns the id of the key that a record's hash was made with; "" when it
// is not such a hash.
func ID(hash string) string {
	rest, ok := strings.CutPrefix(hash, hashPrefix)
	id, digits, found := strings.Cut(rest, ":")
	if !ok || !found || len(digits) != hex.EncodedLen(sha256.Size) {
		return ""
	}
	return id
}
