package seal

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// AddCheckpoint is the body of a C2SP tlog-witness add-checkpoint request: a
// checkpoint, and the proof that its log extends the one of Old leaves that the
// witness cosigned last.
type AddCheckpoint struct {
	Old   uint64
	Proof []Hash // RFC 6962, section 2.1.2; empty when Old is 0 or the checkpoint's own size
	Note  []byte // the checkpoint with the log's signature, and perhaps others
}

// MaxAddCheckpoint is the most bytes that a request may have: 63 hashes and a note.
const MaxAddCheckpoint = 16 << 10

const maxProofLines = 63

// Text returns the body.
func (a *AddCheckpoint) Text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "old %d\n", a.Old)
	for _, h := range a.Proof {
		fmt.Fprintf(&b, "%s\n", h)
	}
	b.WriteByte('\n')
	b.Write(a.Note)
	return b.Bytes()
}

// ParseAddCheckpoint parses a body, whose checkpoint is still unverified.
func ParseAddCheckpoint(body []byte) (*AddCheckpoint, error) {
	if len(body) > MaxAddCheckpoint {
		return nil, fmt.Errorf("add-checkpoint: the request has more than %d bytes", MaxAddCheckpoint)
	}
	r := textParser{rest: string(body)}
	a := new(AddCheckpoint)
	digits := r.text("old")
	a.Old = r.uint(digits)
	if r.err == nil && digits != fmt.Sprint(a.Old) {
		r.fail("the old size %q has leading zeroes or a sign", digits)
	}
	for {
		line := r.next()
		if r.err != nil {
			return nil, fmt.Errorf("add-checkpoint line %d: %w", r.line, r.err)
		}
		if line == "" {
			a.Note = []byte(r.rest)
			return a, nil
		}
		if len(a.Proof) == maxProofLines {
			r.fail("more than %d proof lines", maxProofLines)
		}
		a.Proof = append(a.Proof, r.hash(line))
	}
}

// ReadCheckpoint parses the text of a checkpoint with whatever signatures. None
// of them is verified.
func ReadCheckpoint(file []byte) (Checkpoint, error) {
	text, err := SplitNote(file)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint: %w", err)
	}
	return parseCheckpoint(text)
}

// OpenCheckpoint parses a checkpoint as witnesses receive it and verifies the
// log's signature. Signatures of others are ignored, and are not in the File of
// what it returns, which is as SignCheckpoint writes it.
func OpenCheckpoint(file []byte, identity ed25519.PublicKey) (Checkpoint, error) {
	c, err := ReadCheckpoint(file)
	if err != nil {
		return Checkpoint{}, err
	}
	verifier, err := newVerifier(c.Origin.String(), identity)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("key of %s: %w", c.Origin, err)
	}
	n, err := note.Open(file, note.VerifierList(verifier))
	if err == nil && n.Text != c.text() {
		err = errors.New("the note's text is ambiguous")
	}
	if err != nil {
		return c, fmt.Errorf("checkpoint %d of %s: %w: %w", c.Size, c.Origin, ErrSignature, err)
	}
	c.File = fmt.Appendf(nil, "%s\n— %s %s\n", n.Text, n.Sigs[0].Name, n.Sigs[0].Base64)
	return c, nil
}

// ErrInconsistent tells that a log does not extend what it was before.
var ErrInconsistent = errors.New("the log does not extend what was cosigned before")

// CheckExtends checks the consistency proof of a request: that the tree of c
// extends old, or is the same. A tree of the same size with another root and a
// proof that does not verify are ErrInconsistent.
func (a *AddCheckpoint) CheckExtends(old Head, c *Checkpoint) error {
	if old.Size == 0 || old.Size == c.Size {
		if len(a.Proof) != 0 {
			return fmt.Errorf("%w: a proof from %d to %d leaves is empty", ErrInconsistent, old.Size, c.Size)
		}
		if old.Size == c.Size && old.Root != c.Root {
			return fmt.Errorf("%w: %d leaves had the root %s, now %s", ErrInconsistent, c.Size, old.Root, c.Root)
		}
		return nil
	}
	if old.Size > c.Size || c.Size > math.MaxInt64 {
		return fmt.Errorf("%w: from %d to %d leaves", ErrInconsistent, old.Size, c.Size)
	}
	//nolint:gosec // checked above
	if err := tlog.CheckTree(slices.Clone(a.Proof), int64(c.Size), c.Root, int64(old.Size), old.Root); err != nil {
		return fmt.Errorf("%w: the proof from %d to %d leaves does not verify", ErrInconsistent, old.Size, c.Size)
	}
	return nil
}

// The private key of a witness in the form of note.GenerateKey, with the
// signature type of cosignatures.
const witnessSecretPrefix = "PRIVATE+KEY+"

// WitnessSecret returns the text that keeps a witness's key with its name.
func WitnessSecret(name string, key ed25519.PrivateKey) (string, error) {
	k, err := witnessOf(name, key)
	if err != nil {
		return "", err
	}
	raw := append([]byte{noteCosignature}, key.Seed()...)
	return witnessSecretPrefix + name + "+" + k.ID() + "+" + base64.StdEncoding.EncodeToString(raw), nil
}

// ParseWitnessSecret parses what WitnessSecret returns.
func ParseWitnessSecret(text string) (WitnessKey, ed25519.PrivateKey, error) {
	bad := errors.New("this is not the key of a witness: PRIVATE+KEY+name+hash+base64")
	rest, ok := strings.CutPrefix(text, witnessSecretPrefix)
	name, rest, _ := strings.Cut(rest, "+")
	id, encoded, _ := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !ok || err != nil || len(raw) != 1+ed25519.SeedSize || raw[0] != noteCosignature {
		return WitnessKey{}, nil, bad
	}
	key := ed25519.NewKeyFromSeed(raw[1:])
	k, err := witnessOf(name, key)
	if err != nil || k.ID() != id {
		return WitnessKey{}, nil, bad
	}
	return k, key, nil
}

func witnessOf(name string, key ed25519.PrivateKey) (WitnessKey, error) {
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok || !validKeyName(name) {
		return WitnessKey{}, fmt.Errorf("witness name %q: it is empty, or has a space, a plus sign or other than ASCII", name)
	}
	return WitnessKey{Name: name, Public: public}, nil
}
