package directory

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/seal"
)

// equal tells whether what lies under a name is what was to be stored. It reads
// at most one byte more than it needs to decide.
func (o *Output) equal(ctx context.Context, name string, object seal.Object) (bool, error) {
	size, digest, err := o.digest(ctx, name, object.Size+1)
	if err != nil {
		return false, fmt.Errorf("read what is stored: %w", err)
	}
	if size == object.Size && digest == object.SHA256 {
		return true, nil
	}
	if object.Kind != seal.CheckpointObject && object.Kind != seal.CosignatureObject {
		return false, nil
	}
	stored, err := o.fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return false, fmt.Errorf("read what is stored: %w", err)
	}
	same, err := outputs.SameObject(object, stored)
	return same, errors.Join(err, stored.Close())
}

// taken decides about a name that exists. Success means durable here too: who
// made the name may have crashed before it was synced.
func (o *Output) taken(ctx context.Context, final string, object seal.Object) error {
	equal, err := o.equal(ctx, final, object)
	if err != nil {
		return err
	}
	if !equal {
		return outputs.ErrFork
	}
	f, err := o.fsys.OpenFile(final, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("sync what is stored: %w", err)
	}
	if err = errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync what is stored: %w", err)
	}
	if err = o.protect(ctx, final); err != nil {
		return err
	}
	if err = o.fsys.SyncDir(filepath.Dir(final)); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

// digest hashes at most limit bytes of a file.
func (o *Output) digest(ctx context.Context, name string, limit int64) (size int64, digest seal.Digest, err error) {
	f, err := o.fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return 0, digest, err
	}
	hash := sha256.New()
	size, err = io.Copy(hash, io.LimitReader(contextReader{ctx, f}, limit))
	hash.Sum(digest[:0])
	return size, digest, errors.Join(err, f.Close())
}

// copySealed copies an object and proves that it is what was sealed, so that
// damage of the agent's own disk does not travel.
func copySealed(ctx context.Context, to io.Writer, from io.Reader, object seal.Object) error {
	hash := sha256.New()
	size, err := io.Copy(io.MultiWriter(to, hash), io.LimitReader(contextReader{ctx, from}, object.Size+1))
	if err != nil {
		return err
	}
	if digest := seal.Digest(hash.Sum(nil)); size != object.Size || digest != object.SHA256 {
		return fmt.Errorf("%w: its bytes are not those that were sealed (sha256 %s, want %s)", outputs.ErrPermanent, digest, object.SHA256)
	}
	return nil
}

// sourceFault tells a file of the buffer that is gone from one that can not be
// read just now.
func sourceFault(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: open what was sealed: %w", outputs.ErrPermanent, err)
	}
	return fmt.Errorf("open what was sealed: %w", err)
}

// contextReader stops a copy between two reads when ctx ends.
type contextReader struct {
	ctx  context.Context //nolint:containedctx // lives as long as one copy
	from io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.from.Read(p)
}
