package retry

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"sync"

	"github.com/auditail/auditail/internal/wire"
	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/seal"
)

// Body is the content of a sealed object for one attempt. It opens the object at the first
// Read, and holds back its last bytes until the digest of all is that of the
// seal: damage of the agent's own disk ends as an upload that is too short,
// which no server stores.
type Body struct {
	Object seal.Object

	mu     sync.Mutex // the transport may close during a Read
	from   io.ReadCloser
	hash   hash.Hash
	left   int64
	closed bool
}

// Read implements io.Reader.
func (r *Body) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, fs.ErrClosed
	}
	if err := r.open(); err != nil {
		return 0, err
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.from.Read(p[:min(int64(len(p)), r.left)])
	r.hash.Write(p[:n])
	r.left -= int64(n)
	switch {
	case r.left == 0:
		if digest := seal.Digest(r.hash.Sum(nil)); digest != r.Object.SHA256 {
			return 0, fmt.Errorf("%w: its bytes are not those that were sealed (sha256 %s, want %s)", outputs.ErrPermanent, digest, r.Object.SHA256)
		}
		return n, nil
	case errors.Is(err, io.EOF):
		return n, fmt.Errorf("%w: it has %d bytes, %d were sealed", outputs.ErrPermanent, r.Object.Size-r.left, r.Object.Size)
	case err != nil:
		return n, &wire.LocalError{Kind: "read batch", Err: err}
	}
	return n, nil
}

func (r *Body) open() error {
	if r.from != nil {
		return nil
	}
	from, err := r.Object.Open()
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: open what was sealed: %w", outputs.ErrPermanent, err)
	}
	if err != nil {
		return &wire.LocalError{Kind: "read batch", Err: fmt.Errorf("open what was sealed: %w", err)}
	}
	r.from, r.hash, r.left = from, sha256.New(), r.Object.Size
	return nil
}

// Close implements io.Closer.
func (r *Body) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	if r.from == nil {
		return nil
	}
	return r.from.Close()
}
