package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"time"

	"github.com/auditail/auditail/internal/archive"
	"github.com/auditail/auditail/seal"
)

// upload is one object on its way into the store.
type upload struct {
	path     string // accepted by seal.ParsePath, and of the agent's own log
	name     seal.ObjectName
	digest   seal.Digest // of the body, as declared; verified before anything is stored
	manifest []byte      // of a payload
	length   int64       // of the body, as declared
	body     io.Reader   // exactly as long, or an error
}

// receive verifies an object against the stored log and stores it. It tells
// whether the object is new. The caller holds the log's turn.
func (s *Server) receive(ctx context.Context, a *agentLog, u *upload) (stored bool, err error) {
	e, err := s.epoch(ctx, a, u.name.Epoch)
	if err != nil {
		return false, err
	}
	if u.name.Kind == seal.PayloadObject {
		return s.receivePayload(ctx, a, e, u)
	}
	data, err := io.ReadAll(u.body)
	if err != nil {
		return false, cutOff(err)
	}
	if seal.DigestOf(data) != u.digest {
		return false, wrongDigest()
	}
	switch u.name.Kind {
	case seal.IdentityObject:
		return s.receiveIdentity(ctx, a, e, u, data)
	case seal.ManifestObject:
		return s.receiveManifest(ctx, a, e, u, data)
	case seal.SignatureObject:
		return s.receiveSignature(ctx, a, e, u, data)
	case seal.CheckpointObject:
		return s.receiveCheckpoint(ctx, a, e, u, data)
	default:
		return s.receiveCosignature(ctx, a, e, u, data)
	}
}

// receiveCosignature stores what another witness signed. Its key is not known
// here: whoever trusts the witness verifies it. It stands for the checkpoint that
// is stored beside it, in the one form, and the first one stays.
func (s *Server) receiveCosignature(ctx context.Context, a *agentLog, e *epoch, u *upload, data []byte) (bool, error) {
	lines, err := seal.SplitCosignatures(data)
	if err != nil || len(lines) != 1 || len(data) > maxCosignature {
		return false, refuse(http.StatusUnprocessableEntity, "a cosignature is one signature line of at most %d bytes", maxCosignature)
	}
	if next := e.chain.Next(); u.name.Number > next || next == 0 {
		return false, outOfOrder(next, "the cosignature covers %d manifests, %d are stored", u.name.Number, next)
	}
	if ok, err := s.store.exists(ctx, u.path); err != nil {
		return false, err
	} else if ok {
		return false, s.store.makeDurable(u.path)
	}
	return s.storeSeal(ctx, a, e, u.path, data)
}

const maxCosignature = 1024

// cutOff is the answer to a body that ended early.
func cutOff(cause error) error {
	return &problem{Status: http.StatusBadRequest, Detail: "the body ended before its declared length", cause: cause}
}

// wrongDigest is the answer to bytes that were changed on the way: unlike bytes
// that do not verify they are worth another try.
func wrongDigest() error {
	return refuse(http.StatusBadRequest, "the body does not have the SHA-256 that Repr-Digest names")
}

func (s *Server) receiveIdentity(ctx context.Context, a *agentLog, e *epoch, u *upload, data []byte) (bool, error) {
	if !bytes.Equal(data, seal.IdentityFile(a.enrolment.Log, e.keyAt(0))) {
		return false, refuse(http.StatusUnprocessableEntity, "identity.vkey is not the key that was enrolled for %s, nor one that a rotate manifest signed in", a.enrolment.Log)
	}
	if u.name.Epoch > 1 {
		before, err := s.epoch(ctx, a, u.name.Epoch-1)
		if err != nil {
			return false, err
		}
		if before.chain.Next() == 0 && !a.enrolment.mayStart(Anchor{Epoch: u.name.Epoch}) {
			return false, outOfOrder(0, "epoch %04d is not stored yet", u.name.Epoch-1)
		}
	}
	return s.storeSeal(ctx, a, e, u.path, data)
}

func outOfOrder(next uint64, format string, args ...any) error {
	p := refuse(http.StatusFailedDependency, format, args...)
	p.Next = &next
	return p
}

// missing is the answer to a batch whose predecessor is not stored. Agents ship in
// order, so either the log began elsewhere or the store is an older copy of itself;
// agents show 200 characters of it.
func missing(a *agentLog, next uint64, at Anchor) error {
	why := "was the store restored from an older copy?"
	if next == 0 {
		why = "did the log begin elsewhere?"
	}
	return outOfOrder(next, "batch %d is missing: %s Copy what is missing from another archive, or leave a hole: auditail-server agents anchor %s --at %s",
		next, why, a.log.Agent, at)
}

func (s *Server) receiveManifest(ctx context.Context, a *agentLog, e *epoch, u *upload, data []byte) (bool, error) {
	next := e.chain.Next()
	if u.name.Number < next {
		if _, err := s.storedManifest(ctx, e, u.name.Number); err != nil {
			return false, err
		}
		return s.storeSeal(ctx, a, e, u.path, data)
	}
	chain, m, err := s.verifyNext(ctx, a, e, u.name.Number, data)
	if err != nil {
		return false, err
	}
	if m.Kind == seal.Open {
		identity := e.chain.Origin.IdentityPath()
		if ok, err := s.store.exists(ctx, identity); err != nil {
			return false, err
		} else if !ok {
			return false, outOfOrder(next, "%s is not stored yet", identity)
		}
	}
	if m.PayloadPath != "" && e.claim == nil {
		// The payload was stored before this process looked at the log.
		err := s.checkStoredPayload(ctx, m)
		if errors.Is(err, fs.ErrNotExist) {
			err = s.checkOwed(ctx, m, data)
		}
		switch {
		case errors.Is(err, archive.ErrPayloadDigest):
			return false, s.forked(ctx, a, m.PayloadPath, data)
		case err != nil:
			return false, err
		}
	}
	e.noteKeep(m)
	stored, err := s.storeSeal(ctx, a, e, u.path, data)
	if err != nil {
		return false, err
	}
	e.advance(chain)
	s.noteHead(ctx, e)
	if m.Kind == seal.Open {
		s.opened(ctx, a, m)
	}
	return stored, nil
}

// verifyNext verifies the manifest file of a batch, which is the next or one at
// which the log may go on, and that no other manifest claimed its number. It
// returns the chain behind it.
func (s *Server) verifyNext(ctx context.Context, a *agentLog, e *epoch, batch uint64, file []byte) (*seal.Chain, *seal.Manifest, error) {
	next, at := e.chain.Next(), Anchor{Epoch: e.chain.Origin.Epoch, Batch: batch}
	if batch > next {
		if !a.enrolment.mayStart(at) {
			return nil, nil, missing(a, next, at)
		}
		return s.resume(ctx, a, e, at, file)
	}
	chain := e.chain.Clone()
	m, err := chain.Add(file)
	if err != nil && onlyTime(err) {
		s.logger.WarnContext(ctx, "clock of the agent ran backwards", "log", a.enrolment.Log.String(), "batch", next, "error", err)
		err = nil
	}
	if err != nil {
		return nil, nil, refuse(http.StatusUnprocessableEntity, "manifest %d does not verify: %s", next, err)
	}
	if digest := seal.DigestOf(file); e.claim != nil && *e.claim != digest {
		return nil, nil, s.forked(ctx, a, m.Origin.ManifestPath(m.Batch), file)
	}
	return chain, m, s.begin(ctx, a, at)
}

// storedManifest returns the file of a manifest before the next one. Where the log
// has a hole there is none, and nothing is put into it: what could tie it to the
// rest is not there.
func (s *Server) storedManifest(ctx context.Context, e *epoch, batch uint64) ([]byte, error) {
	file, _, err := s.store.read(ctx, e.chain.Origin.ManifestPath(batch))
	if errors.Is(err, fs.ErrNotExist) && !e.chain.Whole() {
		return nil, refuse(http.StatusUnprocessableEntity, "the stored log goes on behind batch %d, which is not taken any more", batch)
	}
	return file, err
}

// checkOwed takes a manifest without its payload only when this server refused
// the payload for good.
func (s *Server) checkOwed(ctx context.Context, m *seal.Manifest, file []byte) error {
	owed, err := s.isOwed(ctx, m, file)
	if err != nil {
		return err
	}
	if !owed {
		return outOfOrder(m.Batch, "%s is not stored yet", m.PayloadPath)
	}
	s.logger.ErrorContext(ctx, "manifest stored without its payload, which was refused: the agent owes it",
		"log", m.Origin.Log.String(), "epoch", m.Origin.Epoch, "batch", m.Batch, "path", m.PayloadPath)
	return nil
}

func (s *Server) receiveSignature(ctx context.Context, a *agentLog, e *epoch, u *upload, data []byte) (bool, error) {
	if next := e.chain.Next(); u.name.Number >= next {
		return false, outOfOrder(next, "manifest %d comes before its signature", u.name.Number)
	}
	manifest, err := s.storedManifest(ctx, e, u.name.Number)
	if err != nil {
		return false, err
	}
	if err := seal.SSHVerify(manifest, data, e.keyAt(u.name.Number)); err != nil {
		return false, refuse(http.StatusUnprocessableEntity, "signature of manifest %d: %s", u.name.Number, err)
	}
	return s.storeSeal(ctx, a, e, u.path, data)
}

func (s *Server) receiveCheckpoint(ctx context.Context, a *agentLog, e *epoch, u *upload, data []byte) (bool, error) {
	c, err := verifyCheckpoint(data, e)
	if err == nil && c.Path() != u.path {
		err = fmt.Errorf("it belongs to %s", c.Path())
	}
	if err == nil && c.Origin != e.chain.Origin {
		err = fmt.Errorf("it belongs to the log %s", c.Origin)
	}
	if err != nil {
		return false, refuse(http.StatusUnprocessableEntity, "checkpoint does not verify: %s", err)
	}
	if next := e.chain.Next(); c.Size > next || next == 0 {
		return false, outOfOrder(next, "the checkpoint covers %d manifests, %d are stored", c.Size, next)
	}
	// The tree of a log that does not begin at batch 0 here is not known: the
	// log's signature is all that vouches for the root.
	if e.chain.Whole() {
		root, err := s.root(ctx, e, c.Size)
		if err != nil {
			return false, err
		}
		if root != c.Root {
			return false, s.forked(ctx, a, u.path, data)
		}
	}
	if ok, err := s.store.exists(ctx, u.path); err != nil {
		return false, err
	} else if ok { // it verified, too: the name says the same, whatever its bytes
		return false, s.store.makeDurable(u.path)
	}
	return s.storeSeal(ctx, a, e, u.path, data)
}

// verifyCheckpoint verifies a checkpoint with the key that the log had at its size.
func verifyCheckpoint(data []byte, e *epoch) (seal.Checkpoint, error) {
	read, err := seal.ReadCheckpoint(data)
	if err != nil {
		return read, err
	}
	return seal.VerifyCheckpoint(data, e.keyAt(read.Size))
}

// storeSeal stores the bytes of a verified seal, or finds that the same are stored.
// It tells whether they are new.
func (s *Server) storeSeal(ctx context.Context, a *agentLog, e *epoch, path string, data []byte) (bool, error) {
	err := s.store.write(ctx, path, data, s.keepSeal(e))
	if !errors.Is(err, fs.ErrExist) {
		return err == nil, err
	}
	have, _, err := s.store.read(ctx, path)
	if err != nil {
		return false, err
	}
	if !bytes.Equal(have, data) {
		return false, s.forked(ctx, a, path, data)
	}
	return false, s.store.makeDurable(path)
}

// keepSeal returns until when a seal is locked where the store locks: for the term
// of seals, and never less than the payloads that it proves.
func (s *Server) keepSeal(e *epoch) time.Time {
	until := s.clock().Add(s.config.sealTerm())
	if e.keep.After(until) {
		return e.keep
	}
	return until
}

// forked answers that the log says two things under one name.
func (s *Server) forked(ctx context.Context, a *agentLog, path string, data []byte) error {
	s.contradicted(ctx, a, path, data)
	return refuse(http.StatusConflict, "other bytes are stored under %s: the log has forked", path)
}

// contradicted raises the alarm about a fork and keeps what proves it.
func (s *Server) contradicted(ctx context.Context, a *agentLog, path string, data []byte) {
	logger := s.logger.With("log", a.log.String(), "path", path)
	kept, err := s.keepFork(ctx, a.log.Agent, data)
	if err != nil {
		logger.ErrorContext(ctx, "fork: the log says two things under one name; the second could not be kept", "error", err)
		return
	}
	logger.ErrorContext(ctx, "fork: the log says two things under one name", "second", kept)
	if kept != "" {
		s.note(ctx, Event{
			Event: "alert.raise", Outcome: "failed", Reason: "fork", Log: a.log.String(), Path: path,
			Detail: "the log says two things under one name; the second has " + seal.DigestOf(data).String(),
		})
	}
}
