package seal

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// noteCosignature is the signature type of timestamped Ed25519 cosignatures
// (C2SP tlog-cosignature, cosignature/v1).
const noteCosignature = 4

// WitnessKey is the public key of a witness. A witness vouches that it saw a
// log's head at a time and that the head extends every one that it saw before.
type WitnessKey struct {
	Name   string // as in a note signature: no spaces, no plus sign
	Public ed25519.PublicKey
}

// Hash is the key id of its cosignatures: the first four bytes of the SHA-256 of
// name, LF, signature type and public key.
func (k WitnessKey) Hash() uint32 {
	h := sha256.New()
	h.Write([]byte(k.Name + "\n"))
	h.Write([]byte{noteCosignature})
	h.Write(k.Public)
	return binary.BigEndian.Uint32(h.Sum(nil))
}

// ID returns Hash as eight hex digits, as in the names of cosignature files.
func (k WitnessKey) ID() string { return fmt.Sprintf("%08x", k.Hash()) }

// String returns the C2SP verifier key.
func (k WitnessKey) String() string {
	raw := append([]byte{noteCosignature}, k.Public...)
	return fmt.Sprintf("%s+%s+%s", k.Name, k.ID(), base64.StdEncoding.EncodeToString(raw))
}

// ParseWitnessKey parses a C2SP verifier key of type cosignature/v1.
func ParseWitnessKey(vkey string) (WitnessKey, error) {
	name, rest, _ := strings.Cut(vkey, "+")
	id, encoded, _ := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(raw) != 1+ed25519.PublicKeySize {
		return WitnessKey{}, fmt.Errorf("witness key %q is not a C2SP verifier key (name+hash+base64)", vkey)
	}
	if raw[0] != noteCosignature {
		return WitnessKey{}, fmt.Errorf("witness key %q has signature type %d, a witness has %d (cosignature/v1)", vkey, raw[0], noteCosignature)
	}
	k := WitnessKey{Name: name, Public: raw[1:]}
	if err := CheckPublicKey(k.Public); err != nil {
		return WitnessKey{}, fmt.Errorf("witness key %q: %w", vkey, err)
	}
	if !validKeyName(name) {
		return WitnessKey{}, fmt.Errorf("witness key %q: the name is empty, or has a space or a plus sign", vkey)
	}
	if k.ID() != id {
		return WitnessKey{}, fmt.Errorf("witness key %q: the hash in it is not that of its name and key, which is %s", vkey, k.ID())
	}
	return k, nil
}

// validKeyName holds the rule of C2SP signed-note for key names, in ASCII.
func validKeyName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == '+' })
}

// CosignaturePath is where the cosignature of a witness over the checkpoint of
// the given size stands in the archive.
func (o Origin) CosignaturePath(size uint64, witness WitnessKey) string {
	return o.CosignatureFile(size, witness.ID())
}

// CosignatureFile is CosignaturePath of the witness with a key id.
func (o Origin) CosignatureFile(size uint64, id string) string {
	return o.SealsPath() + "/cosignature/" + seq12(size) + "-" + id
}

// Cosignature is what a witness signed: a file of the archive.
type Cosignature struct {
	Origin  Origin
	Size    uint64 // of the log
	Witness WitnessKey
	Line    []byte // the signature line, with LF
}

// Path is where the cosignature stands in the archive.
func (c *Cosignature) Path() string { return c.Origin.CosignaturePath(c.Size, c.Witness) }

// Cosign returns the signature line of a witness over a checkpoint, with LF, as
// the answer to add-checkpoint and as the file in the archive have it: behind
// the checkpoint's file it makes a cosigned checkpoint. The time counts in whole
// seconds.
func Cosign(c *Checkpoint, name string, witness crypto.Signer, at time.Time) ([]byte, error) {
	public, ok := witness.Public().(ed25519.PublicKey)
	if !ok || !validKeyName(name) {
		return nil, fmt.Errorf("cosign as %q: the key is no Ed25519 key, or the name is none", name)
	}
	seconds := at.Unix()
	if seconds < 0 {
		return nil, fmt.Errorf("cosign as %q: the time %s is before 1970", name, formatTime(at))
	}
	signature, err := witness.Sign(nil, cosigned(c.text(), uint64(seconds)), crypto.Hash(0))
	if err != nil {
		return nil, fmt.Errorf("cosign checkpoint %d of %s: %w", c.Size, c.Origin, err)
	}
	raw := binary.BigEndian.AppendUint32(nil, WitnessKey{Name: name, Public: public}.Hash())
	raw = binary.BigEndian.AppendUint64(raw, uint64(seconds))
	raw = append(raw, signature...)
	return []byte("— " + name + " " + base64.StdEncoding.EncodeToString(raw) + "\n"), nil
}

// cosigned is the message of a cosignature/v1 over the text of a checkpoint.
func cosigned(text string, seconds uint64) []byte {
	return fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", seconds, text)
}

// ErrCosignature tells that a line is not the cosignature of a witness over a checkpoint.
var ErrCosignature = errors.New("cosignature does not verify")

// VerifyCosignature verifies a line that Cosign made and returns when the
// witness says that it signed. It takes exactly one line.
func VerifyCosignature(line []byte, c *Checkpoint, witness WitnessKey) (time.Time, error) {
	encoded, ok := strings.CutPrefix(string(line), "— "+witness.Name+" ")
	encoded, ended := strings.CutSuffix(encoded, "\n")
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !ok || !ended || err != nil || strings.ContainsAny(encoded, "\r\n") || len(raw) != 4+8+ed25519.SignatureSize {
		return time.Time{}, fmt.Errorf("%w: it is not one signature line of %s", ErrCosignature, witness.Name)
	}
	if binary.BigEndian.Uint32(raw) != witness.Hash() {
		return time.Time{}, fmt.Errorf("%w: it was made with another key than %s", ErrCosignature, witness.ID())
	}
	seconds := binary.BigEndian.Uint64(raw[4:])
	if seconds > math.MaxInt64 || !ed25519.Verify(witness.Public, cosigned(c.text(), seconds), raw[12:]) {
		return time.Time{}, fmt.Errorf("%w: %s did not sign this checkpoint of %d batches", ErrCosignature, witness.Name, c.Size)
	}
	return time.Unix(int64(seconds), 0).UTC(), nil
}

// SplitCosignatures cuts the answer to add-checkpoint into its lines, each with
// LF, and refuses what is none.
func SplitCosignatures(body []byte) ([][]byte, error) {
	var lines [][]byte
	for line := range strings.Lines(string(body)) {
		if !strings.HasPrefix(line, "— ") || !strings.HasSuffix(line, "\n") {
			return nil, fmt.Errorf("%w: %.80q is no signature line", ErrCosignature, line)
		}
		lines = append(lines, []byte(line))
	}
	if len(lines) == 0 {
		return nil, fmt.Errorf("%w: there is no signature line", ErrCosignature)
	}
	return lines, nil
}

// cosignatureVerifier lets package note check cosignatures in a cosigned checkpoint.
type cosignatureVerifier struct{ key WitnessKey }

func (v cosignatureVerifier) Name() string    { return v.key.Name }
func (v cosignatureVerifier) KeyHash() uint32 { return v.key.Hash() }

func (v cosignatureVerifier) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	return ed25519.Verify(v.key.Public, cosigned(string(text), binary.BigEndian.Uint64(signature)), signature[8:])
}

// Verifier returns the key as a verifier of package note, for cosigned
// checkpoints in one file.
func (k WitnessKey) Verifier() note.Verifier { return cosignatureVerifier{key: k} }
