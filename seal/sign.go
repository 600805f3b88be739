package seal

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// noteEd25519 is the algorithm byte of Ed25519 in note keys and key hashes.
const noteEd25519 = 1

// keyHash is the key id of a note signature: the first four bytes of the
// SHA-256 of name, LF, algorithm byte and public key.
func keyHash(name string, key ed25519.PublicKey) uint32 {
	h := sha256.New()
	h.Write([]byte(name + "\n"))
	h.Write([]byte{noteEd25519})
	h.Write(key)
	return binary.BigEndian.Uint32(h.Sum(nil))
}

// VKey returns the C2SP verifier key of an Ed25519 key under a name.
func VKey(name string, key ed25519.PublicKey) string {
	raw := append([]byte{noteEd25519}, key...)
	return fmt.Sprintf("%s+%08x+%s", name, keyHash(name, key), base64.StdEncoding.EncodeToString(raw))
}

// ParseVKey returns name and key of a C2SP verifier key.
func ParseVKey(vkey string) (string, ed25519.PublicKey, error) {
	verifier, err := note.NewVerifier(vkey) // checks the form and the key hash
	if err != nil {
		return "", nil, fmt.Errorf("key %q is not a C2SP verifier key (name+hash+base64): %w", vkey, err)
	}
	raw, err := base64.StdEncoding.DecodeString(vkey[strings.LastIndexByte(vkey[:len(verifier.Name())+10], '+')+1:])
	if err != nil || len(raw) != 1+ed25519.PublicKeySize || raw[0] != noteEd25519 {
		return "", nil, fmt.Errorf("key %q is not an Ed25519 key", vkey)
	}
	if err := CheckPublicKey(raw[1:]); err != nil {
		return "", nil, fmt.Errorf("key %q: %w", vkey, err)
	}
	return verifier.Name(), ed25519.PublicKey(raw[1:]), nil
}

// signer signs notes with any Ed25519 crypto.Signer: a key in memory, a KMS, a TPM.
type signer struct {
	name string
	hash uint32
	key  crypto.Signer
}

// NewSigner returns the note signer of an Ed25519 key under a name.
func NewSigner(name string, key crypto.Signer) (note.Signer, error) {
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("signer %s: the key is not an Ed25519 key", name)
	}
	return &signer{name: name, hash: keyHash(name, public), key: key}, nil
}

func (s *signer) Name() string    { return s.name }
func (s *signer) KeyHash() uint32 { return s.hash }

func (s *signer) Sign(message []byte) ([]byte, error) {
	return s.key.Sign(nil, message, crypto.Hash(0))
}

func newVerifier(name string, key ed25519.PublicKey) (note.Verifier, error) {
	return note.NewVerifier(VKey(name, key))
}

// SignManifest returns the manifest file: the text as a note signed by the
// identity key and, unless the manifest opens an epoch, by the ratchet key that
// the previous manifest named. Ed25519 is deterministic, so the same arguments
// always give the same bytes. Kind rotate is for [SignRotation].
func SignManifest(m *Manifest, identity crypto.Signer, ratchet ed25519.PrivateKey) ([]byte, error) {
	if m.Kind == Rotate {
		return nil, fmt.Errorf("sign manifest %d of %s: the key that follows has to sign too", m.Batch, m.Origin)
	}
	return signManifest(m, identity, ratchet, nil)
}

// SignRotation returns the manifest file of kind rotate, which the identity key
// that follows signs as well: nobody can name a key that he does not hold.
func SignRotation(m *Manifest, identity crypto.Signer, ratchet ed25519.PrivateKey, successor crypto.Signer) ([]byte, error) {
	public, ok := successor.Public().(ed25519.PublicKey)
	if m.Kind != Rotate || !ok || !public.Equal(m.Successor) {
		return nil, fmt.Errorf("sign manifest %d of %s: it does not name this key as the one that follows", m.Batch, m.Origin)
	}
	return signManifest(m, identity, ratchet, successor)
}

func signManifest(m *Manifest, identity crypto.Signer, ratchet ed25519.PrivateKey, successor crypto.Signer) ([]byte, error) {
	text, err := m.Text()
	if err != nil {
		return nil, err
	}
	names, keys := m.signedBy(), []crypto.Signer{identity, ratchet, successor}
	signers := make([]note.Signer, len(names))
	for i, name := range names {
		if signers[i], err = NewSigner(name, keys[i]); err != nil {
			return nil, err
		}
	}
	file, err := note.Sign(&note.Note{Text: string(text)}, signers...)
	if err != nil {
		return nil, fmt.Errorf("sign manifest %d of %s: %w", m.Batch, m.Origin, err)
	}
	return file, nil
}

// signedBy names the keys that sign a manifest, in their order: identity, ratchet,
// the identity that follows.
func (m *Manifest) signedBy() []string {
	origin, ratchet := m.Origin.String(), m.Origin.RatchetName()
	switch m.Kind {
	case Open:
		return []string{origin}
	case Rotate:
		return []string{origin, ratchet, origin}
	default:
		return []string{origin, ratchet}
	}
}

// Errors of VerifyManifest that callers tell apart. ErrRatchet comes with a
// manifest whose identity signature is good.
var (
	ErrSignature = errors.New("identity signature does not verify")
	ErrRatchet   = errors.New("ratchet signature does not verify")
)

// SplitNote returns the text of a signed note, its signatures unverified.
func SplitNote(file []byte) (text []byte, err error) {
	if len(file) > MaxManifestFile {
		return nil, fmt.Errorf("signed note has more than %d bytes", MaxManifestFile)
	}
	at := bytes.LastIndex(file, []byte("\n\n"))
	if at < 0 {
		return nil, errors.New("signed note has no signatures")
	}
	return file[:at+1], nil
}

// VerifyManifest parses a manifest file and verifies its signatures, and that
// the file is exactly its text and those signatures, in the form and order that
// SignManifest writes. ratchet is the key that the previous manifest named; it
// is not used for kind open. The manifest is returned whenever its text parses,
// also beside an error.
func VerifyManifest(file []byte, identity, ratchet ed25519.PublicKey) (*Manifest, error) {
	return verifyManifest(file, identity, ratchet, true)
}

// verifyManifest is VerifyManifest; unless linked, the ratchet signature must be
// there, but the key that could verify it is not known.
func verifyManifest(file []byte, identity, ratchet ed25519.PublicKey, linked bool) (*Manifest, error) {
	text, err := SplitNote(file)
	if err != nil {
		return nil, err
	}
	m, err := ParseText(text)
	if err != nil {
		return nil, err
	}
	if err := verifyNote(file, string(text), m.Origin.String(), identity); err != nil {
		return m, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if m.Kind == Rotate {
		if m.Successor.Equal(identity) {
			return m, fmt.Errorf("%w: the key that follows is the same key", ErrSignature)
		}
		if err := verifyNote(file, string(text), m.Origin.String(), m.Successor); err != nil {
			return m, fmt.Errorf("%w: the key that follows: %w", ErrSignature, err)
		}
	}
	if m.Kind != Open && linked {
		if err := verifyNote(file, string(text), m.Origin.RatchetName(), ratchet); err != nil {
			return m, fmt.Errorf("%w: %w", ErrRatchet, err)
		}
	}
	return m, checkSignatures(file[len(text):], m.signedBy()...)
}

// verifyNote verifies the one signature of a note that a key made under a name.
func verifyNote(file []byte, text, name string, key ed25519.PublicKey) error {
	verifier, err := newVerifier(name, key)
	if err != nil {
		return fmt.Errorf("key of %s: %w", name, err)
	}
	n, err := note.Open(file, note.VerifierList(verifier))
	if err != nil {
		return err
	}
	if n.Text != text {
		return errors.New("the note's text is ambiguous")
	}
	return nil
}

// checkSignatures checks that a note has signatures under exactly these names,
// in this order and in the one encoding that note.Sign writes: package note
// skips repeated and unknown ones, and a file that can be changed without
// breaking it has no fixed digest.
func checkSignatures(rest []byte, names ...string) error {
	lines := strings.Split(strings.TrimPrefix(string(rest), "\n"), "\n")
	if len(lines) != len(names)+1 || lines[len(names)] != "" {
		return fmt.Errorf("note has %d signature lines, want %d", len(lines)-1, len(names))
	}
	for i, name := range names {
		encoded, ok := strings.CutPrefix(lines[i], "— "+name+" ")
		raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if !ok || err != nil || len(raw) != 4+ed25519.SignatureSize || strings.ContainsAny(encoded, "\r\n") {
			return fmt.Errorf("signature line %d is not the Ed25519 signature of %s", i+1, name)
		}
	}
	return nil
}
