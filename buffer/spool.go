package buffer

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/seal"
)

// sealedBatch is a batch in the spool. Its manifest stays on the disk: there may
// be very many.
type sealedBatch struct {
	epoch  int
	number uint64
	size   int64
	opened time.Time // zero: its manifest says it
}

func (b *Buffer) spoolPath(epoch int, batch uint64, suffix string) string {
	return filepath.Join(b.dir, "spool", fmt.Sprintf("%04d-%012d%s", epoch, batch, suffix))
}

// parseSpoolName takes a name apart that spoolPath made; suffix starts with a dot.
func parseSpoolName(name string) (epoch int, number uint64, suffix string, ok bool) {
	stem, suffix, dot := strings.Cut(name, ".")
	epochText, numberText, dash := strings.Cut(stem, "-")
	epoch, epochErr := strconv.Atoi(epochText)
	number, numberErr := strconv.ParseUint(numberText, 10, 64)
	return epoch, number, "." + suffix, dot && dash && epochErr == nil && numberErr == nil
}

func (b *Buffer) identityKey() (ed25519.PublicKey, error) {
	signer, err := b.signer(&b.state)
	return publicKey(signer), err
}

// recoverSeals completes what a crash interrupted and reads the spool.
func (b *Buffer) recoverSeals() (err error) {
	if b.sealer, err = newSealer(); err != nil {
		return err
	}
	if err := b.loadState(); err != nil {
		return err
	}
	if err := b.loadCursors(); err != nil {
		return err
	}
	if err := b.loadWitnessed(); err != nil {
		return err
	}
	if err := b.loadSpool(); err != nil {
		return err
	}
	in, err := b.loadIntent()
	if err != nil {
		return err
	}
	if in != nil {
		if err := b.resumeIntent(in); err != nil {
			return err
		}
	}
	if b.state.Epoch == 1 && b.state.Next == 0 {
		if ids, err := listSegments(b.fs, filepath.Join(b.dir, "segments")); err != nil || len(ids) > 0 {
			return errors.Join(err, errors.New("there are segments, but seal.json is missing: restore it, or begin anew with another agent id and an empty data_dir"))
		}
	}
	if err := b.recoverEpoch(); err != nil {
		return err
	}
	if err := b.rotate(); err != nil {
		return err
	}
	b.epoch, b.signedBy = b.state.Epoch, b.state.Identity
	if err := b.sweepRatchet(); err != nil {
		return err
	}
	if b.head.Size == 0 {
		tree, err := b.state.tree()
		if err != nil {
			return fmt.Errorf("seal state: %w", err)
		}
		return b.checkpoint(&tree, &b.state)
	}
	return nil
}

// resumeIntent carries out an intent, or removes what is left of one that was.
func (b *Buffer) resumeIntent(in *intent) error {
	m, err := seal.ParseText([]byte(in.Manifest))
	if err != nil {
		return fmt.Errorf("intent: %w", err)
	}
	switch {
	case m.Origin.Epoch != b.state.Epoch:
	case m.Batch == b.state.Next:
		b.log.Info("a batch that was being sealed is completed", "batch", m.Batch)
		return b.carryOut(in)
	case m.Batch+1 == b.state.Next:
		return b.forget(m.Batch)
	}
	return fmt.Errorf("the intent is of batch %d, but batch %d is next: the folder was put together from different times", m.Batch, b.state.Next)
}

// loadSpool lists the sealed batches and removes what a crash left of others.
func (b *Buffer) loadSpool() error {
	dir := filepath.Join(b.dir, "spool")
	entries, err := b.fs.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list spool: %w", err)
	}
	needed := b.slowest()
	found := make(map[sealedBatch]*sealedBatch) // by epoch and number
	for _, e := range entries {
		epoch, number, suffix, ok := parseSpoolName(e.Name())
		if !ok {
			continue // not ours: left alone
		}
		left, again := b.state.left(epoch, number)
		if left && again {
			continue // waits to be sealed again
		}
		if left || needed.before(epoch, number) || strings.HasSuffix(suffix, durable.TempSuffix) {
			if err := removeIfThere(b.fs, filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("clean spool: %w", err)
			}
			continue
		}
		if epoch > b.state.Epoch || epoch == b.state.Epoch && number >= b.state.Next {
			continue // of an intent, or of a batch that will be sealed again under the same name
		}
		info, err := e.Info()
		if err != nil {
			return fmt.Errorf("list spool: %w", err)
		}
		name := sealedBatch{epoch: epoch, number: number}
		s := found[name]
		if s == nil {
			s = &sealedBatch{epoch: epoch, number: number}
			found[name] = s
			b.sealed = append(b.sealed, s)
		}
		s.size += info.Size()
		b.disk += info.Size()
	}
	slices.SortFunc(b.sealed, func(x, y *sealedBatch) int {
		return cmp.Or(cmp.Compare(x.epoch, y.epoch), cmp.Compare(x.number, y.number))
	})
	return nil
}

func (b *Buffer) addSealed(s *sealedBatch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sealed = append(b.sealed, s)
	b.disk += s.size
	b.changed.Broadcast()
}

// Next returns the oldest batch that the output has not acknowledged. It blocks
// until there is one; once the buffer is shut and all are acknowledged it
// returns ErrClosed.
func (b *Buffer) Next(ctx context.Context, output string) (seal.Batch, error) {
	stop := context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.changed.Broadcast()
	})
	defer stop()
	b.mu.Lock()
	for {
		if i := b.next(b.cursors[output]); i < len(b.sealed) {
			s := b.sealed[i]
			b.mu.Unlock()
			batch, err := b.load(s)
			b.mu.Lock()
			if err != nil && b.overtaken(s) {
				continue // a copy: it left the disk meanwhile
			}
			b.mu.Unlock()
			return batch, err
		}
		if err := ctx.Err(); err != nil {
			b.mu.Unlock()
			return seal.Batch{}, err
		}
		if b.failure != nil || b.ended {
			defer b.mu.Unlock()
			return seal.Batch{}, cmp.Or(b.failure, ErrClosed)
		}
		b.changed.Wait()
	}
}

// Checkpoint returns the newest signed tree head.
func (b *Buffer) Checkpoint() seal.Checkpoint {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.head
}

// failed fails the buffer, unless all that is wrong is that it was closed.
func (b *Buffer) failed(err error) error {
	if !errors.Is(err, ErrClosed) {
		b.fail(err)
	}
	return err
}

func (b *Buffer) unspool(s *sealedBatch) error {
	if err := b.removeSpooled(s.epoch, s.number); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.released(s.size)
	return nil
}

func (b *Buffer) removeSpooled(epoch int, number uint64) error {
	for _, suffix := range spoolSuffixes() {
		if err := removeIfThere(b.fs, b.spoolPath(epoch, number, suffix)); err != nil {
			return err
		}
	}
	return nil
}

// load reads a batch of the spool.
func (b *Buffer) load(s *sealedBatch) (seal.Batch, error) {
	file, err := durable.ReadFile(b.fs, b.spoolPath(s.epoch, s.number, seal.ManifestSuffix), seal.MaxManifestFile)
	if err != nil {
		return seal.Batch{}, fmt.Errorf("read sealed batch %d: %w", s.number, err)
	}
	text, err := seal.SplitNote(file)
	if err != nil {
		return seal.Batch{}, fmt.Errorf("read sealed batch %d: %w", s.number, err)
	}
	m, err := seal.ParseText(text)
	if err != nil {
		return seal.Batch{}, fmt.Errorf("read sealed batch %d: %w", s.number, err)
	}
	batch := seal.Batch{Manifest: m, ManifestFile: file}
	if m.Kind == seal.Data {
		payload := b.spoolPath(s.epoch, s.number, seal.PayloadSuffix)
		info, err := b.fs.Stat(payload)
		if err != nil {
			return seal.Batch{}, fmt.Errorf("read sealed batch %d: %w", s.number, err)
		}
		batch.Objects = append(batch.Objects, seal.Object{
			Kind: seal.PayloadObject, Path: m.PayloadPath, Size: info.Size(), SHA256: m.Payload,
			Open: func() (io.ReadSeekCloser, error) { return b.openPayload(payload) },
		})
	}
	if m.Kind == seal.Open {
		identity, err := durable.ReadFile(b.fs, b.spoolPath(s.epoch, s.number, identitySuffix), seal.MaxManifestFile)
		if err != nil {
			return seal.Batch{}, fmt.Errorf("read sealed batch %d: %w", s.number, err)
		}
		batch.Objects = append(batch.Objects, memoryObject(seal.IdentityObject, m.Origin.IdentityPath(), identity))
	}
	signature, err := durable.ReadFile(b.fs, b.spoolPath(s.epoch, s.number, seal.SignatureSuffix), seal.MaxManifestFile)
	if err != nil {
		return seal.Batch{}, fmt.Errorf("read sealed batch %d: %w", s.number, err)
	}
	batch.Objects = append(batch.Objects,
		memoryObject(seal.ManifestObject, m.Origin.ManifestPath(m.Batch), file),
		memoryObject(seal.SignatureObject, m.Origin.SignaturePath(m.Batch), signature))
	return batch, nil
}

func (b *Buffer) openPayload(name string) (io.ReadSeekCloser, error) {
	f, err := b.fs.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return struct {
		*io.SectionReader
		io.Closer
	}{io.NewSectionReader(f, 0, info.Size()), f}, nil
}

func memoryObject(kind seal.ObjectKind, path string, data []byte) seal.Object {
	return seal.Object{
		Kind: kind, Path: path, Size: int64(len(data)), SHA256: seal.DigestOf(data),
		Open: func() (io.ReadSeekCloser, error) {
			return struct {
				io.ReadSeeker
				io.Closer
			}{bytes.NewReader(data), io.NopCloser(nil)}, nil
		},
	}
}
