package buffer

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/seal"
)

// sealedBatch is a batch in the spool. Its manifest stays on the disk: there may
// be very many.
type sealedBatch struct {
	epoch  int
	number uint64
	size   int64
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

func (b *Buffer) cursorPath(output string) string {
	return filepath.Join(b.dir, "cursors", output+".json")
}

func (b *Buffer) identityKey() ed25519.PublicKey {
	key, _ := b.deps.Identity.Public().(ed25519.PublicKey) // seal.NewSigner refuses another kind
	return key
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
	if b.state.Next == 0 {
		if ids, err := listSegments(b.fs, filepath.Join(b.dir, "segments")); err != nil || len(ids) > 0 {
			return errors.Join(err, errors.New("there are segments, but seal.json is missing: restore it, or begin anew with another agent id and an empty data_dir"))
		}
		return b.sealEmpty(seal.Open, seal.OpenFirst)
	}
	if b.head.Size == 0 {
		tree, err := b.state.tree()
		if err != nil {
			return fmt.Errorf("seal state: %w", err)
		}
		return b.checkpoint(&tree, b.state.origin(b.cfg.Log))
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
	needed := b.acknowledged()
	found := make(map[sealedBatch]*sealedBatch) // by epoch and number
	for _, e := range entries {
		epoch, number, suffix, ok := parseSpoolName(e.Name())
		if !ok {
			continue // not ours: left alone
		}
		if number < needed || strings.HasSuffix(suffix, durable.TempSuffix) {
			if err := removeIfThere(b.fs, filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("clean spool: %w", err)
			}
			continue
		}
		if number >= b.state.Next {
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
	slices.SortFunc(b.sealed, func(x, y *sealedBatch) int { return int(x.number) - int(y.number) }) //nolint:gosec // far below 2^63
	return nil
}

func (b *Buffer) addSealed(s *sealedBatch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sealed = append(b.sealed, s)
	b.disk += s.size
	b.changed.Broadcast()
}

type cursor struct {
	Next uint64 `json:"next"` // batch number
}

func (b *Buffer) loadCursors() error {
	for _, output := range b.cfg.Outputs {
		data, err := durable.ReadFile(b.fs, b.cursorPath(output), 1024)
		if errors.Is(err, fs.ErrNotExist) {
			b.cursors[output] = 0
			continue
		}
		var c cursor
		if err == nil {
			err = json.Unmarshal(data, &c)
		}
		if err != nil {
			return fmt.Errorf("read cursor of output %s: %w", output, err)
		}
		if c.Next > b.state.Next {
			return fmt.Errorf("output %s acknowledged batch %d, but only %d were sealed here: the data_dir was set back to an older state", output, c.Next-1, b.state.Next)
		}
		b.cursors[output] = c.Next
	}
	return nil
}

// acknowledged returns the number of the first batch that an output still needs.
// b.mu is held, or the buffer is not started yet.
func (b *Buffer) acknowledged() uint64 {
	first := b.state.Next
	for _, next := range b.cursors {
		first = min(first, next)
	}
	return first
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
		at := b.cursors[output]
		i, found := slices.BinarySearchFunc(b.sealed, at, func(s *sealedBatch, n uint64) int {
			return int(s.number) - int(n) //nolint:gosec // far below 2^63
		})
		if found || i < len(b.sealed) {
			s := b.sealed[i]
			b.mu.Unlock()
			return b.load(s)
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

// Pending returns how many batches the output has not acknowledged.
func (b *Buffer) Pending(output string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, s := range b.sealed {
		if s.number >= b.cursors[output] {
			n++
		}
	}
	return n
}

// Checkpoint returns the newest signed tree head.
func (b *Buffer) Checkpoint() seal.Checkpoint {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.head
}

// Acknowledge notes, durably, that the output holds all batches up to and
// including number, and removes what every output holds. It waits while the disk
// is full. When it returns an error the buffer has failed, or is closed. One
// goroutine an output calls it.
func (b *Buffer) Acknowledge(output string, number uint64) error {
	data, err := json.Marshal(cursor{Next: number + 1})
	if err != nil {
		return err
	}
	b.mu.Lock()
	known := b.cursors[output] > number
	b.mu.Unlock()
	if known {
		return nil
	}
	// Without the cursor nothing is removed, and on a full disk nothing else
	// makes room.
	err = b.keepState(func() error { return durable.WriteFile(b.fs, b.cursorPath(output), data, 0o600) })
	if err != nil {
		return b.failed(fmt.Errorf("write cursor of output %s: %w", output, err))
	}
	b.mu.Lock()
	b.cursors[output] = number + 1
	var gone []*sealedBatch
	first := number + 1
	for _, next := range b.cursors {
		first = min(first, next)
	}
	for len(b.sealed) > 0 && b.sealed[0].number < first {
		gone = append(gone, b.sealed[0])
		b.sealed = b.sealed[1:]
	}
	b.changed.Broadcast()
	b.mu.Unlock()
	for _, s := range gone {
		if err := b.unspool(s); err != nil {
			return b.failed(fmt.Errorf("remove batch %d from the spool: %w", s.number, err))
		}
	}
	return nil
}

// failed fails the buffer, unless all that is wrong is that it was closed.
func (b *Buffer) failed(err error) error {
	if !errors.Is(err, ErrClosed) {
		b.fail(err)
	}
	return err
}

func (b *Buffer) unspool(s *sealedBatch) error {
	for _, suffix := range []string{seal.PayloadSuffix, seal.SignatureSuffix, seal.ManifestSuffix} {
		if err := removeIfThere(b.fs, b.spoolPath(s.epoch, s.number, suffix)); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.released(s.size)
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
		batch.Objects = append(batch.Objects, memoryObject(seal.IdentityObject, m.Origin.IdentityPath(), seal.IdentityFile(b.cfg.Log, b.identityKey())))
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
