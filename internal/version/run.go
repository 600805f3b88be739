package version

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/seal"
)

// Run says which program makes the records of this process, with which effective
// configuration.
func Run(config []byte) (seal.Run, error) {
	path, err := os.Executable()
	if err != nil {
		return seal.Run{}, fmt.Errorf("find the running program: %w", err)
	}
	binary, err := digestFile(path)
	if err != nil {
		return seal.Run{}, fmt.Errorf("hash the running program: %w", err)
	}
	return seal.Run{
		Schema: audit.SchemaID, SchemaDigest: seal.DigestOf(audit.Schema()),
		Version: String(), Binary: binary, Config: seal.DigestOf(config),
	}, nil
}

func digestFile(path string) (seal.Digest, error) {
	f, err := os.Open(path) //nolint:gosec // our own program
	if err != nil {
		return seal.Digest{}, err
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return seal.Digest{}, err
	}
	return seal.Digest(h.Sum(nil)), nil
}
