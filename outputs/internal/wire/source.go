package httpoutput

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"sync"

	"github.com/auditail/auditail/outputs"
	"github.com/auditail/auditail/seal"
)

// sealedReader is the body of one attempt. It opens the object at the first
// Read, and holds back its last bytes until the digest of all is that of the
// seal: damage of the agent's own disk ends as an upload that is too short,
// which no server stores.
type sealedReader struct {
	object seal.Object

	mu     sync.Mutex // the transport may close during a Read
	from   io.ReadCloser
	hash   hash.Hash
	left   int64
	closed bool
}

func (r *sealedReader) Read(p []byte) (int, error) {
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
		if digest := seal.Digest(r.hash.Sum(nil)); digest != r.object.SHA256 {
			return 0, fmt.Errorf("%w: its bytes are not those that were sealed (sha256 %s, want %s)", outputs.ErrPermanent, digest, r.object.SHA256)
		}
		return n, nil
	case errors.Is(err, io.EOF):
		return n, fmt.Errorf("%w: it has %d bytes, %d were sealed", outputs.ErrPermanent, r.object.Size-r.left, r.object.Size)
	case err != nil:
		return n, &localError{kind: "read batch", err: err}
	}
	return n, nil
}

func (r *sealedReader) open() error {
	if r.from != nil {
		return nil
	}
	from, err := r.object.Open()
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: open what was sealed: %w", outputs.ErrPermanent, err)
	}
	if err != nil {
		return &localError{kind: "read batch", err: fmt.Errorf("open what was sealed: %w", err)}
	}
	r.from, r.hash, r.left = from, sha256.New(), r.object.Size
	return nil
}

// Close implements io.Closer.
func (r *sealedReader) Close() error {
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

// localError is a fault on this side that may pass: a token or certificate that
// is being replaced, a file that can not be read just now.
type localError struct {
	kind string
	err  error
}

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }
