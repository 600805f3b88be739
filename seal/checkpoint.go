package seal

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Checkpoint is a signed tree head of an agent's log (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin Origin
	Size   uint64
	Root   Hash
	File   []byte // the signed note
}

// Path is where the checkpoint stands in the archive.
func (c *Checkpoint) Path() string { return c.Origin.CheckpointPath(c.Size) }

// SignCheckpoint makes the checkpoint of a tree of manifests.
func SignCheckpoint(origin Origin, tree *Tree, identity crypto.Signer) (Checkpoint, error) {
	s, err := NewSigner(origin.String(), identity)
	if err != nil {
		return Checkpoint{}, err
	}
	c := Checkpoint{Origin: origin, Size: tree.Size(), Root: tree.Root()}
	c.File, err = note.Sign(&note.Note{Text: c.text()}, s)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("sign checkpoint %d of %s: %w", c.Size, origin, err)
	}
	return c, nil
}

func (c *Checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, c.Root)
}

// VerifyCheckpoint parses a checkpoint and verifies the log's signature. It
// refuses extension lines and foreign signatures: auditail writes neither, and
// cosignatures have files of their own.
func VerifyCheckpoint(file []byte, identity ed25519.PublicKey) (Checkpoint, error) {
	text, err := SplitNote(file)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint: %w", err)
	}
	c, err := parseCheckpoint(text)
	if err != nil {
		return c, err
	}
	c.File = bytes.Clone(file)
	origin, size := c.Origin, c.Size
	if err := verifyNote(file, string(text), origin.String(), identity); err != nil {
		return c, fmt.Errorf("checkpoint %d of %s: %w", size, origin, err)
	}
	if err := checkSignatures(file[len(text):], origin.String()); err != nil {
		return c, fmt.Errorf("checkpoint %d of %s: %w", size, origin, err)
	}
	return c, nil
}

// parseCheckpoint parses exactly what text returns.
func parseCheckpoint(text []byte) (Checkpoint, error) {
	lines := strings.Split(string(text), "\n")
	if len(lines) != 4 {
		return Checkpoint{}, fmt.Errorf("checkpoint: text has %d lines, want 3", len(lines)-1)
	}
	origin, err := ParseOrigin(lines[0])
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint: %w", err)
	}
	size, err := strconv.ParseUint(lines[1], 10, 63)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint: size: %w", err)
	}
	root, err := parseHash(lines[2])
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint: root: %w", err)
	}
	c := Checkpoint{Origin: origin, Size: size, Root: root}
	if c.text() != string(text) {
		return c, fmt.Errorf("checkpoint %d of %s is not in canonical form", size, origin)
	}
	return c, nil
}
