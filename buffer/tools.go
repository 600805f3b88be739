package buffer

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/seal"
)

// Tools look after the buffer of a stopped agent: whoever calls them holds the
// lock of its data_dir.
type Tools struct {
	b *Buffer
}

// NewTools returns the tools for the buffer in dir, which belongs to log. The
// error is fs.ErrNotExist when there is none.
func NewTools(fsys durable.FS, dir string, log seal.Log) (*Tools, error) {
	b := &Buffer{dir: dir, fs: fsys, cfg: Config{Log: log}, cursors: make(map[string]*cursor), log: slog.New(slog.DiscardHandler)}
	if _, err := fsys.Stat(filepath.Join(dir, "segments")); err != nil {
		return nil, fmt.Errorf("find buffer: %w", err)
	}
	if err := b.loadState(); err != nil {
		return nil, err
	}
	return &Tools{b: b}, nil
}

// VerifySpool checks the sealed batches that wait for outputs: signatures,
// chain, and the digests of payloads. Each finding is one sentence.
func (t *Tools) VerifySpool(identity ed25519.PublicKey) (batches int, findings []string, err error) {
	var chain *seal.Chain
	err = t.eachSealed(func(epoch int, number uint64) error {
		batches++
		file, err := durable.ReadFile(t.b.fs, t.b.spoolPath(epoch, number, seal.ManifestSuffix), seal.MaxManifestFile)
		if err != nil {
			findings = append(findings, fmt.Sprintf("batch %d: %v", number, err))
			chain = nil
			return nil
		}
		if chain != nil && chain.Origin.Epoch != epoch {
			chain = nil
		}
		if chain == nil && number > 0 {
			chain = seal.NewChain(seal.Origin{Log: t.b.cfg.Log, Epoch: epoch}, identity)
			_, err = chain.Resume(file)
		} else {
			if chain == nil {
				chain = seal.NewChain(seal.Origin{Log: t.b.cfg.Log, Epoch: epoch}, identity)
			}
			_, err = chain.Add(file)
		}
		if err != nil && !errors.Is(err, seal.ErrTime) {
			findings = append(findings, fmt.Sprintf("batch %d: %v", number, err))
		}
		if m := chain.Last(); m != nil && m.Batch == number && m.Kind == seal.Data {
			return t.verifyPayload(m, &findings)
		}
		return nil
	})
	return batches, findings, err
}

func (t *Tools) verifyPayload(m *seal.Manifest, findings *[]string) error {
	f, err := t.b.fs.OpenFile(t.b.spoolPath(m.Origin.Epoch, m.Batch, seal.PayloadSuffix), os.O_RDONLY, 0)
	if err != nil {
		*findings = append(*findings, fmt.Sprintf("batch %d: open payload: %v", m.Batch, err))
		return nil
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("read payload of batch %d: %w", m.Batch, err)
	}
	if digest := seal.Digest(h.Sum(nil)); digest != m.Payload {
		*findings = append(*findings, fmt.Sprintf("batch %d: the payload's digest is %s, the manifest names %s; its manifest ships and the payload is owed", m.Batch, digest, m.Payload))
	}
	return nil
}

// eachSealed visits the batches of the spool in the order of their numbers.
func (t *Tools) eachSealed(visit func(epoch int, number uint64) error) error {
	entries, err := t.b.fs.ReadDir(filepath.Join(t.b.dir, "spool")) // sorts by epoch and number
	if err != nil {
		return fmt.Errorf("list spool: %w", err)
	}
	for _, e := range entries {
		epoch, number, suffix, ok := parseSpoolName(e.Name())
		left, again := t.b.state.left(epoch, number)
		if !ok || suffix != seal.ManifestSuffix || left && !again || epoch == t.b.state.Epoch && number >= t.b.state.Next {
			continue
		}
		if err := visit(epoch, number); err != nil {
			return err
		}
	}
	return nil
}

// Export writes the records that no output may have yet, as lines of JSON in
// batch and commit order: those of sealed batches in the spool, then those that
// are not sealed. It returns how many. What is damaged is passed over and named.
func (t *Tools) Export(w io.Writer) (records int, passed []string, err error) {
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBody))
	if err != nil {
		return 0, nil, err
	}
	defer decoder.Close()
	out := &lineCounter{w: w}
	err = t.eachSealed(func(epoch int, number uint64) error {
		f, err := t.b.fs.OpenFile(t.b.spoolPath(epoch, number, seal.PayloadSuffix), os.O_RDONLY, 0)
		if errors.Is(err, os.ErrNotExist) {
			return nil // a batch without a payload
		}
		if err != nil {
			return fmt.Errorf("open payload of batch %d: %w", number, err)
		}
		err = decoder.Reset(f)
		if err == nil {
			_, err = io.Copy(out, decoder)
		}
		if out.err != nil {
			return errors.Join(out.err, f.Close())
		}
		if err != nil {
			passed = append(passed, fmt.Sprintf("batch %d: %v", number, err))
		}
		return f.Close()
	})
	if err == nil {
		err = t.exportSegments(decoder, out, &passed)
	}
	return out.lines, passed, err
}

func (t *Tools) exportSegments(decoder *zstd.Decoder, out *lineCounter, passed *[]string) error {
	var lines []byte
	return t.eachSegment(func(id uint64, p proof, r *segmentReader) error {
		bad, err := readSegment(r.file, r.size, p.durable, func(f *frame) error {
			if f.kind == snapshotFrame || f.count == 0 || p.dropped(f.commit) {
				return nil
			}
			meta, err := f.entry()
			if err != nil || f.commit <= t.b.state.SealedThrough[meta.Stream.String()] || p.readAgain(meta.Input, f.commit) {
				return err
			}
			if lines, err = decoder.DecodeAll(f.Body, lines[:0]); err != nil {
				return fmt.Errorf("%w: %w", errFrame, err)
			}
			_, err = out.Write(lines)
			return err
		})
		for _, d := range bad {
			*passed = append(*passed, fmt.Sprintf("segment %s: %d bytes at %d: %v", segmentName(id), d.to-d.from, d.from, d.cause))
		}
		return err
	})
}

// eachSegment gives what a start would know of each segment too: the tools take
// the frames that it takes.
func (t *Tools) eachSegment(visit func(id uint64, p proof, r *segmentReader) error) error {
	ids, err := listSegments(t.b.fs, filepath.Join(t.b.dir, "segments"))
	if err != nil {
		return err
	}
	proofs, _, err := t.b.proofs(ids)
	if err != nil {
		return err
	}
	for i, id := range ids {
		r, closeFile, err := t.b.openSegment(id)
		if err != nil {
			return err
		}
		if err := errors.Join(visit(id, proofs[i], r), closeFile()); err != nil {
			return fmt.Errorf("read segment %s: %w", segmentName(id), err)
		}
	}
	return nil
}

// Repair takes damaged stretches out of segments; the damaged originals are kept
// in quarantine. The agent starts without it too, and either way records as a
// gap what the stretches held: Repair ends the search at every start. With
// dryRun it only says what it would do.
func (t *Tools) Repair(dryRun bool) (done []string, err error) {
	err = t.eachSegment(func(id uint64, p proof, r *segmentReader) error {
		whole := append([]byte(nil), segmentMagic...)
		bad, err := readSegment(r.file, r.size, p.durable, func(f *frame) error {
			raw := make([]byte, f.size())
			if err := r.read(raw, f.at); err != nil {
				return err
			}
			whole = append(whole, raw...)
			return nil
		})
		if err != nil {
			return err
		}
		lost := int64(0)
		for _, d := range bad {
			if !d.torn {
				lost += d.to - d.from
			}
		}
		if lost == 0 {
			return nil // undamaged, or with a tail that was never acknowledged
		}
		done = append(done, fmt.Sprintf("segment %s: %d damaged bytes taken out, the original kept in quarantine", segmentName(id), lost))
		if dryRun {
			return nil
		}
		return t.replaceSegment(id, whole)
	})
	return done, err
}

// replaceSegment puts content in a segment's place. At every moment the name
// holds the original or the replacement.
func (t *Tools) replaceSegment(id uint64, content []byte) error {
	kept := filepath.Join(t.b.dir, "quarantine", segmentName(id)+".damaged")
	if err := t.b.fs.Link(t.b.segmentPath(id), kept); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("keep the original: %w", err)
	}
	if err := t.b.fs.SyncDir(filepath.Dir(kept)); err != nil {
		return fmt.Errorf("keep the original: %w", err)
	}
	return durable.WriteFile(t.b.fs, t.b.segmentPath(id), content, 0o600)
}

type lineCounter struct {
	w     io.Writer
	lines int
	err   error
}

func (l *lineCounter) Write(b []byte) (int, error) {
	for _, c := range b {
		if c == '\n' {
			l.lines++
		}
	}
	n, err := l.w.Write(b)
	l.err = err
	return n, err
}
