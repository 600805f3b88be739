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
	return seal.Object{
		Kind: seal.CheckpointObject, Path: c.Path(), Size: int64(len(c.File)), SHA256: seal.DigestOf(c.File),
		Open: func() (io.ReadSeekCloser, error) { return memory{bytes.NewReader(c.File)}, nil },
	}
}

// CosignatureObject returns the file of a cosignature as what outputs deliver.
func CosignatureObject(c seal.Cosignature) seal.Object {
	return seal.Object{
		Kind: seal.CosignatureObject, Path: c.Path(), Size: int64(len(c.Line)), SHA256: seal.DigestOf(c.Line),
		Open: func() (io.ReadSeekCloser, error) { return memory{bytes.NewReader(c.Line)}, nil },
	}
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
	f, err := object.Open()
	if err != nil {
		return false, err
	}
	wanted, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
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
	f, err := object.Open()
	if err != nil {
		return false, err
	}
	wanted, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
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
