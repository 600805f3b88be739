package server

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/auditail/auditail/seal"
)

// parseReprDigest returns the SHA-256 of a Repr-Digest field (RFC 9530, section
// 3): a dictionary of byte sequences, of which other algorithms are ignored.
func parseReprDigest(fields []string) (d seal.Digest, err error) {
	found := false
	for member := range strings.SplitSeq(strings.Join(fields, ","), ",") {
		encoded, ok := strings.CutPrefix(strings.Trim(member, " \t"), "sha-256=:")
		if !ok {
			continue
		}
		encoded, ok = strings.CutSuffix(encoded, ":")
		raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if !ok || err != nil || len(raw) != len(d) {
			return d, errors.New("sha-256 is not the base64 of 32 bytes between colons")
		}
		if found {
			return d, errors.New("sha-256 is given twice")
		}
		found = true
		copy(d[:], raw)
	}
	if !found {
		return d, errors.New("a sha-256 member is needed")
	}
	return d, nil
}

// digest returns the SHA-256 of a stored object.
func (p *places) digest(ctx context.Context, path string) (seal.Digest, error) {
	f, err := p.store.open(ctx, path)
	if err != nil {
		return seal.Digest{}, err
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return seal.Digest{}, fmt.Errorf("read %s: %w", path, err)
	}
	return sum(h), nil
}

func sum(h hash.Hash) (d seal.Digest) {
	h.Sum(d[:0])
	return d
}
