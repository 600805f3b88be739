package buffer

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/seal"
)

// sealer holds what one goroutine seals with.
type sealer struct {
	encoder *zstd.Encoder
	decoder *zstd.Decoder
	small   []byte // LF, and record lines of frames too small to go into a payload as they are; or nothing
	check   []byte
	body    []byte
}

// verbatimSize is the size of record lines from which a frame goes into the
// payload as it was committed. Smaller ones, of a quiet source, are compressed
// again together, because they shrink far better so.
const verbatimSize = 128 << 10

const mergeSize = 1 << 20

func newSealer() (s sealer, err error) {
	s.encoder, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault),
		zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(mergeSize), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return s, err
	}
	s.decoder, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBody))
	return s, err
}

// rest lets go of what the last batch was sealed with, once nothing followed it.
func (s *sealer) rest() (err error) {
	if cap(s.small)+cap(s.check)+cap(s.body) == 0 {
		return nil
	}
	s.decoder.Close()
	*s, err = newSealer()
	return err
}

// sealLoop seals cut batches in their order, and a heartbeat when there is none.
func (b *Buffer) sealLoop(recovered []*batch) {
	defer b.cuts.abandon() // what is cut and not sealed stays in the segments
	for _, t := range recovered {
		if !b.sealOrFail(func() error { return b.sealBatch(t) }) {
			return
		}
	}
	heartbeat := time.NewTimer(b.untilHeartbeat())
	defer heartbeat.Stop()
	for {
		t, ended := b.cuts.take()
		ok := true
		switch {
		case t != nil:
			ok = b.sealOrFail(func() error { return b.sealBatch(t) })
		case ended:
			return
		default:
			select {
			case <-b.cuts.ready:
				continue
			case <-heartbeat.C:
				ok = b.sealOrFail(func() error { return b.sealEmpty(seal.Heartbeat, "") }) && b.sealOrFail(b.sealer.rest)
			}
		}
		if !ok {
			return
		}
		heartbeat.Reset(b.untilHeartbeat())
	}
}

// untilHeartbeat is measured on the monotonic clock: a clock that is set must not
// make a heartbeat late.
func (b *Buffer) untilHeartbeat() time.Duration {
	heartbeat := b.current.Load().Heartbeat
	if b.sealedAt.IsZero() { // by an earlier process
		return max(0, min(b.state.Sealed.Add(heartbeat).Sub(b.deps.Now()), heartbeat))
	}
	return max(0, heartbeat-time.Since(b.sealedAt))
}

// sealOrFail fails the buffer unless the step succeeds or the buffer is closing.
func (b *Buffer) sealOrFail(step func() error) bool {
	err := step()
	if err != nil && !errors.Is(err, ErrClosed) {
		b.fail(err)
	}
	return err == nil
}

// sealBatch makes payload and manifest of a cut batch.
func (b *Buffer) sealBatch(t *batch) error {
	m := b.manifest(seal.Data)
	m.Stream, m.Opened, m.Run = t.stream, t.opened, *t.run
	m.RecordsTo = m.RecordsFrom + t.records
	m.Plain, m.Lines = t.plain, t.lines
	m.KeepUntil = m.Sealed.Add(b.term(m.Stream))
	m.PayloadPath = m.Origin.PayloadPath(m.Stream, m.Opened, m.Batch)
	err := b.untilSpace(t.compressed, func() (err error) {
		m.Payload, err = b.writePayload(t, b.spoolPath(m.Origin.Epoch, m.Batch, seal.PayloadSuffix))
		return err
	})
	if err != nil {
		return fmt.Errorf("seal batch %d: %w", m.Batch, err)
	}
	m.Root = t.tree.Root()
	if err := b.finish(m, intent{SealedThrough: t.cutCommit, Seq: t.nextSeq}); err != nil {
		return fmt.Errorf("seal batch %d: %w", m.Batch, err)
	}
	b.mu.Lock()
	for _, ref := range t.frames {
		ref.segment.unsealed--
		b.openSize -= ref.size
	}
	b.changed.Broadcast()
	b.mu.Unlock()
	return b.removeSegments()
}

// term is how long the payloads of a stream are kept.
func (b *Buffer) term(stream seal.Stream) time.Duration {
	term, known := b.current.Load().Retention[stream.Class]
	if !known {
		// A class that left the configuration keeps the longest term there is.
		for d := range maps.Values(b.current.Load().Retention) {
			term = max(term, d)
		}
	}
	return term
}

// sealEmpty seals a batch without a payload.
func (b *Buffer) sealEmpty(kind seal.Kind, reason string) error {
	m := b.manifest(kind)
	m.Reason, m.Opened, m.Run, m.Root = reason, m.Sealed, *b.run.Load(), seal.EmptyRoot()
	if kind == seal.Close {
		m.NextBy = time.Time{}
	}
	if err := b.finish(m, intent{}); err != nil {
		return fmt.Errorf("seal %s batch %d: %w", kind, m.Batch, err)
	}
	return nil
}

// manifest fills what every kind of batch has.
func (b *Buffer) manifest(kind seal.Kind) *seal.Manifest {
	now := b.deps.Now().UTC().Truncate(time.Millisecond)
	m := &seal.Manifest{
		Origin: b.state.origin(b.cfg.Log), Batch: b.state.Next, Kind: kind,
		RecordsFrom: b.state.Records, RecordsTo: b.state.Records,
		Sealed: now, NextBy: now.Add(2 * b.current.Load().Heartbeat),
	}
	b.nameWitnessed(m)
	m.Boot, m.Uptime = b.deps.Boot()
	return m
}

// finish completes the intent with the manifest, persists it and carries it out.
func (b *Buffer) finish(m *seal.Manifest, with intent) error {
	m.Opened = m.Opened.UTC().Truncate(time.Millisecond)
	in, err := b.intend(m, with)
	if err != nil {
		return err
	}
	b.intent = in
	if err := b.keepState(func() error { return b.saveIntent(in) }); err != nil {
		return err
	}
	return b.carryOut(in)
}

// sealClose seals the batch that ends the log on purpose. An intent that a full
// disk stopped comes first: what it says may be on the disk.
func (b *Buffer) sealClose() error {
	if in := b.intent; in != nil {
		if err := b.keepState(func() error { return b.saveIntent(in) }); err != nil {
			return err
		}
		if err := b.resumeIntent(in); err != nil {
			return err
		}
	}
	return b.sealEmpty(seal.Close, "")
}

// intend makes the key of the next batch and returns what this batch will be.
// It is not repeated behind a failed saveIntent: that may have left an intent
// which names this key.
func (b *Buffer) intend(m *seal.Manifest, in intent) (*intent, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make ratchet key %d: %w", m.Batch+1, err)
	}
	m.Ratchet = public
	if err := b.keepState(func() error { return b.saveRatchet(m.Batch+1, private) }); err != nil {
		return nil, err
	}
	if m.Batch == 0 {
		identity, err := b.identityKey()
		if err != nil {
			return nil, err
		}
		m.Previous = seal.IdentityDigest(b.cfg.Log, identity)
	} else if m.Previous, err = seal.ParseDigest(b.state.Previous); err != nil {
		return nil, fmt.Errorf("seal state: %w", err)
	}
	text, err := m.Text()
	if err != nil {
		return nil, err
	}
	in.Manifest = string(text)
	return &in, nil
}

// carryOut signs and completes what a durable intent says. Up to the new state
// it may be repeated at any point with the same result, because Ed25519 is
// deterministic; behind it the batch is sealed, and what is left is to erase.
func (b *Buffer) carryOut(in *intent) error {
	m, err := seal.ParseText([]byte(in.Manifest))
	if err != nil {
		return fmt.Errorf("intent: %w", err)
	}
	var size int64
	err = b.untilSigned(m.Batch, func() error {
		return b.keepState(func() (err error) {
			if size, err = b.signFiles(m); err != nil {
				return err
			}
			state, err := b.advanced(m, in)
			if err != nil {
				return err
			}
			if err := b.saveState(state); err != nil {
				return err
			}
			b.mu.Lock() // who acknowledges looks at the end of the log
			b.state = *state
			b.mu.Unlock()
			return nil
		})
	})
	if err != nil {
		return err
	}
	b.sealedAt = time.Now()
	b.addSealed(&sealedBatch{epoch: m.Origin.Epoch, number: m.Batch, size: size, opened: m.Opened})
	b.noteSeal(m)
	if len(b.current.Load().Copies) > 0 {
		if err := b.release(); err != nil { // the room for copies shrinks as batches come
			return err
		}
	}
	return b.keepState(func() error { return b.forget(m.Batch) })
}

// forget removes what carried out a batch that is sealed: its key and the
// intent. It may be repeated.
func (b *Buffer) forget(batch uint64) error {
	if err := b.eraseRatchet(batch); err != nil {
		return err
	}
	if err := removeIfThere(b.fs, b.intentPath()); err != nil {
		return fmt.Errorf("remove intent: %w", err)
	}
	b.intent = nil
	return nil
}

// signFiles writes manifest and signature and returns the bytes that the batch
// takes in the spool.
func (b *Buffer) signFiles(m *seal.Manifest) (int64, error) {
	var ratchet []byte
	if m.Kind != seal.Open {
		key, err := b.loadRatchet(m.Batch)
		if err != nil {
			return 0, err
		}
		ratchet = key
	}
	file, signature, err := b.sign(m, ratchet)
	if err != nil {
		return 0, err
	}
	size := int64(len(file) + len(signature))
	if m.Kind == seal.Data {
		info, err := b.fs.Stat(b.spoolPath(m.Origin.Epoch, m.Batch, seal.PayloadSuffix))
		if err != nil {
			return 0, fmt.Errorf("find payload: %w", err)
		}
		size += info.Size()
	}
	if m.Kind == seal.Open {
		identity, err := b.identityKey()
		if err != nil {
			return 0, err
		}
		name := b.spoolPath(m.Origin.Epoch, m.Batch, identitySuffix)
		if err := durable.WriteFile(b.fs, name, seal.IdentityFile(b.cfg.Log, identity), 0o600); err != nil {
			return 0, fmt.Errorf("write identity: %w", err)
		}
	}
	// The signature first: a manifest in the spool is a batch that is complete.
	if err := durable.WriteFile(b.fs, b.spoolPath(m.Origin.Epoch, m.Batch, seal.SignatureSuffix), signature, 0o600); err != nil {
		return 0, fmt.Errorf("write signature: %w", err)
	}
	if err := durable.WriteFile(b.fs, b.spoolPath(m.Origin.Epoch, m.Batch, seal.ManifestSuffix), file, 0o600); err != nil {
		return 0, fmt.Errorf("write manifest: %w", err)
	}
	return size, nil
}

// sign returns the manifest file and its SSHSIG.
func (b *Buffer) sign(m *seal.Manifest, ratchet ed25519.PrivateKey) (file, signature []byte, err error) {
	identity, err := b.signer(&b.state)
	if err != nil {
		return nil, nil, err
	}
	if m.Kind == seal.Rotate {
		if b.signs.successor == nil {
			return nil, nil, fmt.Errorf("batch %d signs in the identity key %s, which is not here: restore its file", m.Batch, seal.VKey(b.cfg.Log.String(), m.Successor))
		}
		file, err = seal.SignRotation(m, identity, ratchet, b.signs.successor)
	} else {
		file, err = seal.SignManifest(m, identity, ratchet)
	}
	if err != nil {
		return nil, nil, err
	}
	signature, err = seal.SSHSign(file, identity)
	return file, signature, err
}

// advanced returns the state behind a signed manifest and makes its checkpoint
// the newest.
func (b *Buffer) advanced(m *seal.Manifest, in *intent) (*sealState, error) {
	file, err := durable.ReadFile(b.fs, b.spoolPath(m.Origin.Epoch, m.Batch, seal.ManifestSuffix), seal.MaxManifestFile)
	if err != nil {
		return nil, fmt.Errorf("read manifest back: %w", err)
	}
	tree, err := b.state.tree()
	if err != nil {
		return nil, fmt.Errorf("seal state: %w", err)
	}
	tree.Add(seal.LeafHash(file))
	if err := b.appendTree(m, file); err != nil {
		return nil, err
	}
	state := b.state
	state.Next = m.Batch + 1
	state.Previous = seal.DigestOf(file).String()
	state.Records = m.RecordsTo
	state.Sealed = m.Sealed
	state.Closed = m.Kind == seal.Close
	state.setTree(&tree)
	identity, err := b.signer(&b.state)
	if err != nil {
		return nil, err
	}
	state.Identity = keyText(publicKey(identity))
	if m.Kind == seal.Rotate {
		state.Identity, state.Predecessor, state.Rotated = keyText(m.Successor), state.Identity, m.Batch
	}
	state.SealedThrough = maps.Clone(b.state.SealedThrough)
	switch {
	case in.Again > 0:
		state.Again = &again{Epoch: b.state.Again.Epoch, Next: in.Again, End: b.state.Again.End}
	case m.Kind == seal.Data:
		state.SealedThrough[m.Stream.String()] = in.SealedThrough
		state.Seq = max(state.Seq, in.Seq)
	}
	return &state, b.checkpoint(&tree, &state)
}

func (b *Buffer) checkpoint(tree *seal.Tree, state *sealState) error {
	identity, err := b.signer(state)
	if err != nil {
		return err
	}
	c, err := seal.SignCheckpoint(state.origin(b.cfg.Log), tree, identity)
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.head = c
	b.mu.Unlock()
	return nil
}

// writePayload makes the payload of a batch from its frames, durable under
// name, and returns the digest of the bytes read back.
func (b *Buffer) writePayload(t *batch, name string) (seal.Digest, error) {
	temp := name + durable.TempSuffix
	f, err := b.fs.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return seal.Digest{}, fmt.Errorf("create payload: %w", err)
	}
	written := crc32.New(castagnoli)
	err = b.copyFrames(t, io.MultiWriter(f, written))
	if err == nil {
		err = f.Sync()
	}
	var digest seal.Digest
	if err == nil {
		digest, err = readBack(f, written.Sum32())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return seal.Digest{}, fmt.Errorf("write payload: %w", errors.Join(err, removeIfThere(b.fs, temp)))
	}
	if err := b.fs.Rename(temp, name); err != nil {
		return seal.Digest{}, fmt.Errorf("name payload: %w", err)
	}
	if err := b.fs.SyncDir(filepath.Dir(name)); err != nil {
		return seal.Digest{}, fmt.Errorf("sync spool: %w", err)
	}
	return digest, nil
}

// readBack returns the digest of what the disk has, which is to have the checksum of
// what was written.
func readBack(f durable.File, written uint32) (seal.Digest, error) {
	digest, sum := sha256.New(), crc32.New(castagnoli)
	info, err := f.Stat()
	if err != nil {
		return seal.Digest{}, err
	}
	if _, err := io.Copy(io.MultiWriter(digest, sum), io.NewSectionReader(f, 0, info.Size())); err != nil {
		return seal.Digest{}, fmt.Errorf("read back: %w", err)
	}
	if sum.Sum32() != written {
		return seal.Digest{}, errors.New("read back: the disk returned other bytes than were written")
	}
	return seal.Digest(digest.Sum(nil)), nil
}

func (b *Buffer) copyFrames(t *batch, w io.Writer) (err error) {
	var reader *segmentReader
	var open *segment
	closeFile := func() error { return nil }
	defer func() { err = errors.Join(err, closeFile()) }()
	if t.recovered {
		t.tree.Reset()
	}
	b.sealer.small, b.sealer.check, b.sealer.body = reuse(b.sealer.small), reuse(b.sealer.check), reuse(b.sealer.body)
	for _, ref := range t.frames {
		if ref.segment != open {
			if err := closeFile(); err != nil {
				return err
			}
			if reader, closeFile, err = b.openSegment(ref.segment.id); err != nil {
				closeFile = func() error { return nil }
				return err
			}
			open = ref.segment
		}
		fr, err := b.readFrame(reader, ref)
		if err != nil {
			return err
		}
		if err := b.sealer.add(t, fr, w); err != nil {
			return err
		}
	}
	return b.sealer.flush(w)
}

// add puts a frame's records into the payload, as they are or with their
// neighbours.
func (s *sealer) add(t *batch, f *frame, w io.Writer) (err error) {
	if f.plain >= verbatimSize {
		if err := s.flush(w); err != nil {
			return err
		}
		if t.recovered {
			if s.check, err = f.decode(s.decoder, append(s.check[:0], '\n')); err != nil {
				return err
			}
			hashLines(&t.tree, s.check)
		}
		_, err := w.Write(f.Body)
		return err
	}
	if len(s.small)+int(f.plain) > mergeSize {
		if err := s.flush(w); err != nil {
			return err
		}
	}
	if len(s.small) == 0 {
		s.small = append(s.small, '\n')
	}
	before := len(s.small) - 1
	if s.small, err = f.decode(s.decoder, s.small); err != nil {
		return err
	}
	if t.recovered {
		hashLines(&t.tree, s.small[before:])
	}
	return nil
}

func (s *sealer) flush(w io.Writer) (err error) {
	if len(s.small) == 0 {
		return nil
	}
	lines := s.small[1:]
	s.body = s.encoder.EncodeAll(lines, s.body[:0])
	if s.check, err = s.decoder.DecodeAll(s.body, s.check[:0]); err != nil || !bytes.Equal(s.check, lines) {
		return fmt.Errorf("compress: what was compressed does not decompress to the same: %w", errors.Join(err, errFrame))
	}
	s.small = s.small[:0]
	_, err = w.Write(s.body)
	return err
}
