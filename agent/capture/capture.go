// Package capture decides what of a prompt or an answer is kept.
//
// Its promise: nothing but what the policy keeps leaves this package, and it is
// asked before the first byte reaches the agent's disk. Keyed hashes let an
// auditor who holds the key test whether a given text is the one behind a
// record, and tell nothing to anyone else.
package capture

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/parsers"
)

// Mode says what of the content is kept.
type Mode string

// The modes.
const (
	None   Mode = "none"   // that there was content, nothing of it
	Hashed Mode = "hashed" // keyed hash and size
	Full   Mode = "full"   // the text as well
)

// MaxText is the most bytes a content's text takes in a record, encoded.
const MaxText = 384 << 10

// Key is the secret of the keyed hashes. Its id stands in front of each hash,
// so that a rotated key's hashes are told from its successor's.
type Key struct {
	ID     string
	Secret []byte
}

const minSecret = 16

var keyIDForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,31}$`)

// NewKey makes a key whose id is the month of its making.
func NewKey(now time.Time) Key {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	return Key{ID: now.UTC().Format("2006-01"), Secret: secret}
}

// Marshal returns the form in which a key is kept: id, colon, base64, LF.
func (k Key) Marshal() []byte {
	return []byte(k.ID + ":" + base64.StdEncoding.EncodeToString(k.Secret) + "\n")
}

// ParseKey parses what Marshal returns.
func ParseKey(data []byte) (Key, error) {
	id, encoded, ok := strings.Cut(strings.TrimSpace(string(data)), ":")
	if !ok || !keyIDForm.MatchString(id) {
		return Key{}, errors.New("the capture key is not <id>:<base64>, such as 2026-11:… ")
	}
	secret, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(secret) < minSecret {
		return Key{}, fmt.Errorf("the capture key %s is not the base64 of at least %d bytes", id, minSecret)
	}
	return Key{ID: id, Secret: secret}, nil
}

// Hasher makes keyed hashes. It is not safe for concurrent use.
type Hasher struct {
	prefix string
	mac    hash.Hash
	sum    []byte
}

// NewHasher returns a hasher with the key.
func NewHasher(k Key) *Hasher {
	return &Hasher{prefix: "hmac-sha256:" + k.ID + ":", mac: hmac.New(sha256.New, k.Secret)}
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

// Policy applies a mode. It is not safe for concurrent use: each input has its own.
type Policy struct {
	mode   Mode
	hasher *Hasher
	buf    []byte
	held   audit.Record
}

// New returns the policy of one input.
func New(mode Mode, key Key) (*Policy, error) {
	switch mode {
	case None, Hashed, Full:
		return &Policy{mode: mode, hasher: NewHasher(key)}, nil
	}
	return nil, fmt.Errorf("capture mode %q is not none, hashed or full", mode)
}

// fieldSet names the fields of one direction.
type fieldSet struct{ mode, hmac, bytes, parts, text, truncated audit.Field }

func fieldsOf(d parsers.Direction) fieldSet {
	if d == parsers.Returned {
		return fieldSet{
			audit.OutputMode, audit.OutputHMAC, audit.OutputBytes, audit.OutputParts, audit.OutputText, audit.OutputTruncated,
		}
	}
	return fieldSet{audit.InputMode, audit.InputHMAC, audit.InputBytes, audit.InputParts, audit.InputText, audit.InputTruncated}
}

// Apply writes into the record what the policy keeps of the content.
func (p *Policy) Apply(r *audit.Record, c *parsers.Content, d parsers.Direction) error {
	if len(c.Applied) > 0 {
		return restore(r, c.Applied, fieldsOf(d))
	}
	if c.Parts == 0 {
		return nil
	}
	f := fieldsOf(d)
	r.SetString(f.mode, string(p.mode))
	if p.mode == None {
		return nil
	}
	p.hasher.Reset()
	p.hasher.Write(c.Text)
	p.buf = p.hasher.Append(p.buf[:0])
	r.SetText(f.hmac, p.buf)
	r.SetInt(f.bytes, int64(len(c.Text)))
	r.SetInt(f.parts, int64(c.Parts))
	text := c.Text[:0]
	if p.mode == Full {
		text = cut(c.Text)
		r.SetText(f.text, text)
	}
	if c.Truncated || p.mode == Full && len(text) < len(c.Text) {
		r.SetBool(f.truncated, true)
		r.Flag(audit.Truncated)
	}
	return nil
}

// heldVersion opens what Hold makes.
const heldVersion = 1

// Hold is the Capture of parsers.Config: it appends what the policy keeps of
// content that waits for the rest of its record. The form is version, flags,
// bytes, parts (varints), then mode, hash and text, each behind its length.
func (p *Policy) Hold(dst []byte, c *parsers.Content, d parsers.Direction) []byte {
	r, f := &p.held, fieldsOf(d)
	r.Reset()
	_ = p.Apply(r, c, d) // only content that was held before can fail
	truncated := uint64(0)
	if r.Bool(f.truncated) {
		truncated = 1
	}
	dst = append(dst, heldVersion)
	dst = binary.AppendUvarint(dst, truncated)
	dst = binary.AppendVarint(dst, r.Int(f.bytes))
	dst = binary.AppendVarint(dst, r.Int(f.parts))
	for _, field := range [...]audit.Field{f.mode, f.hmac, f.text} {
		text := r.Text(field)
		dst = binary.AppendUvarint(dst, uint64(len(text)))
		dst = append(dst, text...)
	}
	return dst
}

var errHeld = errors.New("read held content: it is not what this version writes")

func restore(r *audit.Record, b []byte, f fieldSet) error {
	if b[0] != heldVersion {
		return errHeld
	}
	b = b[1:]
	truncated, n := binary.Uvarint(b)
	if n <= 0 {
		return errHeld
	}
	b = b[n:]
	var numbers [2]int64
	for i := range numbers {
		if numbers[i], n = binary.Varint(b); n <= 0 {
			return errHeld
		}
		b = b[n:]
	}
	for _, field := range [...]audit.Field{f.mode, f.hmac, f.text} {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return errHeld
		}
		r.SetText(field, b[n:n+int(size)]) //nolint:gosec // checked above
		b = b[n+int(size):]                //nolint:gosec // checked above
	}
	if r.Has(f.hmac) {
		r.SetInt(f.bytes, numbers[0])
		r.SetInt(f.parts, numbers[1])
	}
	if truncated == 1 {
		r.SetBool(f.truncated, true)
		r.Flag(audit.Truncated)
	}
	return nil
}

// cut returns the longest head of text whose encoding fits into MaxText, whole
// characters only.
func cut(text []byte) []byte {
	if len(text)*6 <= MaxText { // no byte takes more than six
		return text
	}
	size := 0
	for i := 0; i < len(text); {
		_, width := utf8.DecodeRune(text[i:])
		switch c := text[i]; {
		case c == '\n', c == '\r', c == '\t', c == '"' || c == '\\':
			size += 2
		case c < ' ':
			size += 6
		case width == 1 && c >= utf8.RuneSelf:
			size += 3 // U+FFFD
		default:
			size += width
		}
		if size > MaxText {
			return text[:i]
		}
		i += width
	}
	return text
}
