package outputs

import (
	"bytes"
	"errors"
	"io"

	"github.com/auditail/auditail/seal"
)

// CheckpointObject returns the file of a checkpoint as what outputs deliver.
func CheckpointObject(c seal.Checkpoint) seal.Object {
	return seal.Object{
		Kind: seal.CheckpointObject, Path: c.Path(), Size: int64(len(c.File)), SHA256: seal.DigestOf(c.File),
		Open: func() (io.ReadSeekCloser, error) { return memory{bytes.NewReader(c.File)}, nil },
	}
}

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

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
