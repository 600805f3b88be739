package server

import (
	"encoding/base64"
	"errors"
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
