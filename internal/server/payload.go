package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"

	"github.com/auditail/auditail/internal/archive"
	"github.com/auditail/auditail/seal"
)

// maxPlain is the most bytes a payload may have uncompressed. The agent says
// how many it has, under its signature; this bounds the work of checking one
// that lies with a good key. Eight times the largest payload by default.
const maxPlain = 8 << 30

// receivePayload verifies a payload by the manifest that came with it, which is
// the stored one or the next of the chain, and stores it.
func (s *Server) receivePayload(ctx context.Context, a *agentLog, e *epoch, u *upload) (bool, error) {
	m, err := s.manifestOf(ctx, a, e, u)
	if err != nil {
		return false, err
	}
	if m.PayloadPath != u.path {
		return false, refuse(http.StatusUnprocessableEntity, "manifest %d describes the payload %q, not this one", m.Batch, m.PayloadPath)
	}
	if m.Payload != u.digest {
		return false, refuse(http.StatusUnprocessableEntity, "manifest %d names another SHA-256 than Repr-Digest", m.Batch)
	}
	stored, err := s.placePayload(ctx, a, e, u, m)
	if p, ok := errors.AsType[*problem](err); ok && p.final() {
		// Remembered before it is answered: an agent that knows of the refusal
		// does not offer the payload again.
		if oweErr := s.owe(ctx, m, u.manifest); oweErr != nil {
			return false, oweErr
		}
	}
	if err != nil {
		return false, err
	}
	if m.Batch == e.chain.Next() {
		claim := seal.DigestOf(u.manifest)
		e.claim = &claim
	}
	return stored, nil
}

// placePayload stores the payload of a manifest, or finds that it is stored.
func (s *Server) placePayload(ctx context.Context, a *agentLog, e *epoch, u *upload, m *seal.Manifest) (bool, error) {
	if u.length > s.config.MaxPayload {
		return false, tooLarge(u.length, s.config.MaxPayload)
	}
	if m.Plain > maxPlain {
		return false, refuse(http.StatusRequestEntityTooLarge, "the payload has %d bytes uncompressed, at most %d are taken", m.Plain, int64(maxPlain))
	}
	have, err := s.digest(ctx, u.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s.storePayload(ctx, u, m)
	case err != nil:
		return false, err
	case have == m.Payload:
		return false, s.repeatPayload(ctx, e, u, m)
	case m.Batch < e.chain.Next():
		return false, s.damaged(a.enrolment.Log, u.path, fmt.Errorf("it has the SHA-256 %s, its manifest names %s", have, m.Payload))
	}
	return false, s.forked(ctx, a, u.path, u.manifest)
}

// manifestOf returns the verified manifest that a payload came with.
func (s *Server) manifestOf(ctx context.Context, a *agentLog, e *epoch, u *upload) (*seal.Manifest, error) {
	if u.manifest == nil {
		return nil, refuse(http.StatusUnprocessableEntity, "a payload needs its manifest, base64, in the header %s", manifestHeader)
	}
	next := e.chain.Next()
	switch at := (Anchor{Epoch: u.name.Epoch, Batch: u.name.Number}); {
	case u.name.Number > next && !a.enrolment.mayStart(at):
		return nil, missing(a, next, at)
	case u.name.Number == 0:
		return nil, outOfOrder(next, "manifest %d comes before the payload of batch %d", next, u.name.Number)
	case u.name.Number >= next:
		_, m, err := s.verifyNext(ctx, a, e, u.name.Number, u.manifest)
		return m, err
	}
	path := e.chain.Origin.ManifestPath(u.name.Number)
	have, err := s.storedManifest(ctx, e, u.name.Number)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(have, u.manifest) {
		return nil, s.forked(ctx, a, path, u.manifest)
	}
	m, err := s.manifest(ctx, e.chain.Origin, u.name.Number)
	if err != nil {
		return nil, s.damaged(a.enrolment.Log, path, err)
	}
	return m, nil
}

// storePayload takes the body into a file and gives that its name once it was
// checked against the manifest.
func (s *Server) storePayload(ctx context.Context, u *upload, m *seal.Manifest) (bool, error) {
	f, err := s.incoming.receive(storeFileMode)
	if err != nil {
		return false, err
	}
	err = receiveBody(f, u)
	if err == nil {
		err = s.checkPayload(ctx, io.NewSectionReader(f, 0, u.length), m)
	}
	if err == nil {
		err = s.commitPayload(ctx, f, u, m)
	}
	err = errors.Join(err, f.discard())
	if errors.Is(err, fs.ErrExist) {
		return false, later(http.StatusServiceUnavailable, retrySoon, err, "%s was stored by another request at the same time", u.path)
	}
	return err == nil, err
}

// commitPayload stores what was checked, under the legal hold that covers it.
func (s *Server) commitPayload(ctx context.Context, f *incomingFile, u *upload, m *seal.Manifest) error {
	held, err := s.isHeld(ctx, &u.name)
	if err != nil {
		return err
	}
	if err := s.store.commit(ctx, f, u.path, m.KeepUntil, held); err != nil || held {
		return err
	}
	return s.keepHeld(ctx, u) // one that was set while it was stored
}

// receiveBody copies the body and checks its digest.
func receiveBody(to io.Writer, u *upload) error {
	h := sha256.New()
	body := &bodyReader{body: u.body}
	if _, err := io.Copy(io.MultiWriter(to, h), body); err != nil {
		if body.err != nil {
			return cutOff(err)
		}
		return fmt.Errorf("write incoming file: %w", err)
	}
	if sum(h) != u.digest {
		return wrongDigest()
	}
	return nil
}

// bodyReader keeps the body's errors apart from those of the disk.
type bodyReader struct {
	body io.Reader
	err  error
}

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// repeatPayload answers for a payload whose bytes are stored: by this process
// or by one that ended before it could say so. Of the latter it is not known by
// which manifest they were checked.
func (s *Server) repeatPayload(ctx context.Context, e *epoch, u *upload, m *seal.Manifest) error {
	if err := receiveBody(io.Discard, u); err != nil {
		return err
	}
	if m.Batch >= e.chain.Next() && e.claim == nil {
		if err := s.checkStoredPayload(ctx, m); err != nil {
			return err
		}
	}
	if err := s.keepHeld(ctx, u); err != nil {
		return err
	}
	return s.store.makeDurable(u.path)
}

// checkStoredPayload checks the payload that is stored for a manifest.
func (s *Server) checkStoredPayload(ctx context.Context, m *seal.Manifest) error {
	f, err := s.store.open(ctx, m.PayloadPath)
	if err != nil {
		return err
	}
	err = s.checkPayload(ctx, f, m)
	if closeErr := f.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("read %s: %w", m.PayloadPath, closeErr)
	}
	return err
}

// checkPayload checks a payload against its manifest. A payload takes one of the
// server's checkers, so that memory does not grow with the number of requests.
func (s *Server) checkPayload(ctx context.Context, r io.Reader, m *seal.Manifest) error {
	var checker *archive.PayloadChecker
	select {
	case checker = <-s.checkers:
		defer func() { s.checkers <- checker }()
	case <-ctx.Done():
		return ctx.Err()
	}
	_, err := checker.Check(r, m, archive.PayloadOptions{})
	for _, finding := range []error{
		archive.ErrPayloadDigest, archive.ErrPayloadEncoding, archive.ErrPayloadSize,
		archive.ErrPayloadRecords, archive.ErrPayloadRoot, archive.ErrPayloadLine,
	} {
		if errors.Is(err, finding) {
			p := refuse(http.StatusUnprocessableEntity, "the payload of batch %d is not what its manifest describes: %s", m.Batch, err)
			p.cause = err
			return p
		}
	}
	return err
}
