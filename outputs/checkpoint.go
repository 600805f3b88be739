package outputs

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/auditail/auditail/seal"
)

// CheckpointObject returns the file of a checkpoint as what outputs deliver.
func CheckpointObject(c seal.Checkpoint) seal.Object {
	return inMemory(seal.CheckpointObject, c.Path(), c.File)
}

// CosignatureObject returns the file of a cosignature as what outputs deliver.
func CosignatureObject(c seal.Cosignature) seal.Object {
	return inMemory(seal.CosignatureObject, c.Path(), c.Line)
}

func inMemory(kind seal.ObjectKind, path string, data []byte) seal.Object {
	return seal.Object{
		Kind: kind, Path: path, Size: int64(len(data)), SHA256: seal.DigestOf(data),
		Open: func() (io.ReadSeekCloser, error) { return memory{bytes.NewReader(data)}, nil },
	}
}

// content reads an object that is small.
func content(object seal.Object) ([]byte, error) {
	f, err := object.Open()
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	return data, errors.Join(err, f.Close())
}

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

// SameObject tells whether what is stored is the object: the same bytes, or of
// a checkpoint the same tree head. It reads at most one byte more than it needs
// to decide; only a nil error makes false a fork.
func SameObject(object seal.Object, stored io.Reader) (bool, error) {
	switch object.Kind {
	case seal.CheckpointObject:
		return SameCheckpoint(object, stored)
	case seal.CosignatureObject:
		return sameCosignature(object, stored)
	case seal.PayloadObject, seal.IdentityObject, seal.ManifestObject, seal.SignatureObject:
	}
	hash := sha256.New()
	size, err := io.Copy(hash, io.LimitReader(stored, object.Size+1))
	return size == object.Size && seal.Digest(hash.Sum(nil)) == object.SHA256, err
}

// sameCosignature tells whether what is stored is a signature line under the same
// name. Size and key are in the path, so it can differ in the time and what was
// signed with it.
func sameCosignature(object seal.Object, stored io.Reader) (bool, error) {
	wanted, err := content(object)
	if err != nil {
		return false, err
	}
	found, err := io.ReadAll(io.LimitReader(stored, object.Size+1))
	if err != nil {
		return false, err
	}
	at := bytes.LastIndexByte(wanted, ' ') + 1
	return len(found) == len(wanted) && bytes.Equal(found[:at], wanted[:at]) && bytes.IndexByte(found, '\n') == len(found)-1, nil
}

// SameCheckpoint tells whether what is stored states the same tree head as a
// checkpoint object. The signatures may differ: the log's key may have been
// rotated in between. It reads no more of stored than a checkpoint can have.
func SameCheckpoint(object seal.Object, stored io.Reader) (bool, error) {
	wanted, err := content(object)
	if err != nil {
		return false, err
	}
	found, err := io.ReadAll(io.LimitReader(stored, seal.MaxManifestFile+1))
	if err != nil {
		return false, err
	}
	wantedText, wantedErr := seal.SplitNote(wanted)
	foundText, foundErr := seal.SplitNote(found)
	return wantedErr == nil && foundErr == nil && bytes.Equal(wantedText, foundText), nil
}

// CheckpointRoot returns the root that a checkpoint's file names for a size of
// the log. The signature is not looked at: a head is a claim, see HeadReader.
func CheckpointRoot(file []byte, origin seal.Origin, size uint64) (seal.Hash, bool) {
	text, err := seal.SplitNote(file)
	if err != nil {
		return seal.Hash{}, false
	}
	rest, ok := strings.CutPrefix(string(text), fmt.Sprintf("%s\n%d\n", origin, size))
	root, err := tlog.ParseHash(strings.TrimSuffix(rest, "\n"))
	return root, ok && err == nil
}
