package buffer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/seal"
)

// The hashes of the tree of manifests are kept, so that it can be proven to
// whoever saw the log at any size that it only grew.

func (b *Buffer) treePath(epoch int) string {
	return filepath.Join(b.dir, "tree", fmt.Sprintf("%04d.hashes", epoch))
}

// treeFile reads the stored hashes of an epoch's tree.
type treeFile struct {
	b     *Buffer
	epoch int
}

// ReadHashes implements tlog.HashReader.
func (t treeFile) ReadHashes(indexes []int64) ([]seal.Hash, error) {
	hashes := make([]seal.Hash, len(indexes))
	if len(indexes) == 0 {
		return hashes, nil
	}
	f, err := t.b.fs.OpenFile(t.b.treePath(t.epoch), os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	for i, at := range indexes {
		if _, err := f.ReadAt(hashes[i][:], at*tlog.HashSize); err != nil {
			return nil, errors.Join(fmt.Errorf("read tree hash %d: %w", at, err), f.Close())
		}
	}
	return hashes, f.Close()
}

// appendTree makes the hashes durable that a manifest adds to the tree. It may be
// repeated. Hashes that are missing (the folder is of an earlier version, or the
// file was removed) can not be made again: then nothing is proven in this epoch.
func (b *Buffer) appendTree(m *seal.Manifest, file []byte) error {
	number := int64(m.Batch) //nolint:gosec // at most twelve digits
	hashes, err := tlog.StoredHashes(number, file, treeFile{b, m.Origin.Epoch})
	if err != nil {
		if !b.treeless {
			b.treeless = true
			b.log.Warn("hashes of the log's tree are missing, so witnesses can not be asked in this epoch", "path", b.treePath(m.Origin.Epoch), "error", err)
		}
		return nil // sealing goes on without
	}
	data := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, h := range hashes {
		data = append(data, h[:]...)
	}
	f, err := b.fs.OpenFile(b.treePath(m.Origin.Epoch), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open tree hashes: %w", err)
	}
	_, err = f.WriteAt(data, tlog.StoredHashIndex(0, number)*tlog.HashSize)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil && m.Batch == 0 {
		err = b.fs.SyncDir(filepath.Dir(b.treePath(m.Origin.Epoch)))
	}
	if err != nil {
		return fmt.Errorf("write tree hashes: %w", err)
	}
	return nil
}

// Prove returns the consistency proof (RFC 6962, section 2.1.2) between two sizes
// of the log of the epoch at hand.
func (b *Buffer) Prove(from, to uint64) ([]seal.Hash, error) {
	if from == 0 || from > to || to > b.Checkpoint().Size {
		return nil, fmt.Errorf("no proof goes from %d to %d manifests", from, to)
	}
	return tlog.ProveTree(int64(to), int64(from), treeFile{b, b.epoch}) //nolint:gosec // at most twelve digits
}

// witnessed is the last head that a quorum of witnesses cosigned.
type witnessed struct {
	Epoch int       `json:"epoch"`
	Size  uint64    `json:"size"`
	Root  seal.Hash `json:"root"`
}

func (b *Buffer) witnessedPath() string { return filepath.Join(b.dir, "witnessed.json") }

func (b *Buffer) loadWitnessed() error {
	data, err := durable.ReadFile(b.fs, b.witnessedPath(), maxStateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, &b.cosigned)
	}
	if err != nil {
		return fmt.Errorf("read the last cosigned head: %w", err)
	}
	if b.cosigned.Size > b.state.Next || b.cosigned.Epoch != b.state.Epoch {
		b.cosigned = witnessed{}
	}
	return nil
}

// Witnessed notes, durably, a head that a quorum of witnesses cosigned: from here
// on manifests name it.
func (b *Buffer) Witnessed(c seal.Checkpoint) error {
	b.mu.Lock()
	last := b.cosigned
	b.mu.Unlock()
	now := witnessed{Epoch: c.Origin.Epoch, Size: c.Size, Root: c.Root}
	if now.Epoch != b.epoch || last.Epoch == now.Epoch && last.Size >= now.Size {
		return nil
	}
	data, err := json.Marshal(now)
	if err != nil {
		return err
	}
	if err := b.keepState(func() error { return durable.WriteFile(b.fs, b.witnessedPath(), data, 0o600) }); err != nil {
		return b.failed(fmt.Errorf("write the last cosigned head: %w", err))
	}
	b.mu.Lock()
	b.cosigned = now
	b.mu.Unlock()
	return nil
}

// nameWitnessed fills the line of the manifest.
func (b *Buffer) nameWitnessed(m *seal.Manifest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m.WitnessedRoot = seal.EmptyRoot()
	if w := b.cosigned; w.Epoch == m.Origin.Epoch {
		m.WitnessedSize, m.WitnessedRoot = w.Size, w.Root
	}
}
