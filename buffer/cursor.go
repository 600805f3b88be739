package buffer

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/seal"
)

// cursor is what an output holds: all batches in front of Next of the epoch, and
// what it was given of the epochs before. The zero cursor stands in front of the
// oldest batch there is.
type cursor struct {
	Epoch int    `json:"epoch,omitempty"`
	Next  uint64 `json:"next"` // batch number
	// Frontier is that of the tree of manifests that the output holds; absent
	// when it began in the middle of the epoch.
	Frontier []seal.Hash `json:"frontier,omitempty"`
}

// before tells whether a batch is in front of the cursor: held by the output.
func (c *cursor) before(epoch int, number uint64) bool {
	return cmp.Or(cmp.Compare(epoch, c.Epoch), cmp.Compare(number, c.Next)) < 0
}

func (c *cursor) compare(d *cursor) int {
	return cmp.Or(cmp.Compare(c.Epoch, d.Epoch), cmp.Compare(c.Next, d.Next))
}

// tree returns the tree of the manifests in front of the cursor, and whether it is known.
func (c *cursor) tree() (seal.Tree, bool) {
	tree, err := seal.NewTree(c.Next, c.Frontier)
	return tree, err == nil
}

// behind returns the cursor behind a batch.
func (c *cursor) behind(m *seal.Manifest, file []byte) cursor {
	next := cursor{Epoch: m.Origin.Epoch, Next: m.Batch + 1}
	from := *c
	if from.Epoch != next.Epoch {
		from = cursor{Epoch: next.Epoch}
	}
	if tree, known := from.tree(); known && from.Next == m.Batch {
		tree.Add(seal.LeafHash(file))
		next.Frontier = tree.Frontier()
	}
	return next
}

func (b *Buffer) cursorPath(output string) string {
	return filepath.Join(b.dir, "cursors", output+".json")
}

func (b *Buffer) loadCursors() error {
	for _, output := range slices.Concat(b.current.Load().Outputs, b.current.Load().Copies) {
		c, err := b.loadCursor(output)
		if err != nil {
			return err
		}
		if c.before(b.state.Epoch, b.state.Next) {
			return fmt.Errorf("output %s acknowledged batch %d of epoch %d, but only %d of epoch %d were sealed here: the data_dir was set back to an older state",
				output, c.Next-1, c.Epoch, b.state.Next, b.state.Epoch)
		}
		b.cursors[output] = c
	}
	return nil
}

// loadCursor returns the zero cursor for an output that was never there.
func (b *Buffer) loadCursor(output string) (*cursor, error) {
	c := new(cursor)
	data, err := durable.ReadFile(b.fs, b.cursorPath(output), maxStateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(data, c)
	}
	if err != nil {
		return nil, fmt.Errorf("read cursor of output %s: %w", output, err)
	}
	if c.Epoch == 0 && c.Next > 0 {
		c.Epoch = 1 // written before cursors had epochs
	}
	return c, nil
}

func (b *Buffer) saveCursor(output string, c *cursor) error {
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	// Without the cursor nothing is removed, and on a full disk nothing else
	// makes room.
	err = b.keepState(func() error { return durable.WriteFile(b.fs, b.cursorPath(output), data, 0o600) })
	if err != nil {
		return fmt.Errorf("write cursor of output %s: %w", output, err)
	}
	return nil
}

// acknowledged returns the cursor of the output that holds least, copies left
// out; without outputs, the end. b.mu is held, or the buffer is not started yet.
func (b *Buffer) acknowledged() cursor {
	least := cursor{Epoch: b.state.Epoch, Next: b.state.Next}
	for _, output := range b.current.Load().Outputs {
		if c := b.cursors[output]; c.compare(&least) < 0 {
			least = *c
		}
	}
	return least
}

// next returns the index of the oldest batch behind a cursor. b.mu is held.
func (b *Buffer) next(c *cursor) int {
	i, _ := slices.BinarySearchFunc(b.sealed, c, func(s *sealedBatch, c *cursor) int {
		return (&cursor{Epoch: s.epoch, Next: s.number}).compare(c)
	})
	return i
}

// Pending returns how many batches the output has not acknowledged.
func (b *Buffer) Pending(output string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.sealed) - b.next(b.cursors[output])
}

// Acknowledge notes, durably, that the output holds all batches up to and
// including this one, and removes what every output holds. It waits while the
// disk is full. When it returns an error the buffer has failed, or is closed.
// One goroutine an output calls it.
func (b *Buffer) Acknowledge(output string, batch seal.Batch) error {
	b.mu.Lock()
	at := *b.cursors[output]
	b.mu.Unlock()
	m := batch.Manifest
	if at.before(m.Origin.Epoch, m.Batch) {
		return nil
	}
	return b.moveCursor(output, at.behind(m, batch.ManifestFile))
}

// moveCursor makes a cursor durable and removes what no output needs any more.
func (b *Buffer) moveCursor(output string, c cursor) error {
	if err := b.saveCursor(output, &c); err != nil {
		return b.failed(err)
	}
	b.mu.Lock()
	b.cursors[output] = &c
	gone := b.takeReleased()
	b.mu.Unlock()
	return b.unspoolAll(gone)
}

// release removes the batches that nobody waits for any more.
func (b *Buffer) release() error {
	b.mu.Lock()
	gone := b.takeReleased()
	b.mu.Unlock()
	return b.unspoolAll(gone)
}

// takeReleased takes out of the list what nobody waits for. b.mu is held.
func (b *Buffer) takeReleased() []*sealedBatch {
	n := b.releasable()
	gone := slices.Clone(b.sealed[:n])
	b.skip(gone)
	b.sealed = b.sealed[n:]
	b.changed.Broadcast()
	return gone
}

func (b *Buffer) unspoolAll(gone []*sealedBatch) error {
	for _, s := range gone {
		if err := b.unspool(s); err != nil {
			return b.failed(fmt.Errorf("remove batch %d from the spool: %w", s.number, err))
		}
	}
	return nil
}

// Standing is what the buffer knows of an output.
type Standing struct {
	Origin seal.Origin // of the batch that it is to get next
	Size   uint64      // the number of that batch: of the log that it acknowledged, if it Took any
	Took   bool        // it acknowledged batches of that epoch
	Root   seal.Hash   // of that log, unless Known is false: the output began in the middle of the log
	Known  bool
	Sealed uint64 // batches of that epoch that were sealed here
	Newest bool   // the epoch is the one at hand
}

// Standing returns what an output acknowledged.
func (b *Buffer) Standing(output string) Standing {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := *b.cursors[output]
	if i := b.next(&c); i < len(b.sealed) && b.sealed[i].epoch != c.Epoch {
		c = cursor{Epoch: b.sealed[i].epoch, Next: b.sealed[i].number}
	}
	if c.Epoch == 0 {
		c.Epoch = b.epoch
	}
	s := Standing{Origin: seal.Origin{Log: b.cfg.Log, Epoch: c.Epoch}, Size: c.Next, Sealed: c.Next, Newest: c.Epoch == b.epoch}
	s.Took = b.cursors[output].Epoch == c.Epoch && c.Next > 0
	for _, x := range b.sealed {
		if x.epoch == c.Epoch {
			s.Sealed = max(s.Sealed, x.number+1)
		}
	}
	if tree, known := c.tree(); known {
		s.Root, s.Known = tree.Root(), true
	}
	return s
}

// RootAt returns the root of the log that an output would hold at a size between
// the Size and the Sealed of its Standing. It is false when that is not known.
func (b *Buffer) RootAt(output string, size uint64) (seal.Hash, bool) {
	at := b.Standing(output)
	b.mu.Lock()
	c := cursor{Epoch: at.Origin.Epoch, Next: at.Size}
	if own := b.cursors[output]; own.Epoch == c.Epoch {
		c.Frontier = own.Frontier
	}
	b.mu.Unlock()
	tree, known := c.tree()
	for n := c.Next; known && n < size; n++ {
		file, err := durable.ReadFile(b.fs, b.spoolPath(c.Epoch, n, seal.ManifestSuffix), seal.MaxManifestFile)
		if err != nil {
			return seal.Hash{}, false
		}
		tree.Add(seal.LeafHash(file))
	}
	return tree.Root(), known && tree.Size() == size
}

// Rewind sets an output back that lost what it had acknowledged, so that it gets
// the batches from size on again. It is false when they are not here any more.
func (b *Buffer) Rewind(output string, size uint64) (bool, error) {
	at := b.Standing(output)
	b.mu.Lock()
	have := make(map[uint64]bool)
	for _, s := range b.sealed {
		have[s.number] = have[s.number] || s.epoch == at.Origin.Epoch
	}
	b.mu.Unlock()
	for n := size; n < at.Size; n++ {
		if !have[n] {
			return false, nil
		}
	}
	return true, b.moveCursor(output, cursor{Epoch: at.Origin.Epoch, Next: size})
}

// Quarantine keeps, in the folder quarantine, what an output can not take any
// more of an epoch that was left, and goes on behind it. It returns how many
// batches that were.
func (b *Buffer) Quarantine(output string, epoch int) (batches int, err error) {
	b.mu.Lock()
	var list []*sealedBatch
	for _, s := range b.sealed[b.next(b.cursors[output]):] {
		if s.epoch <= epoch {
			list = append(list, s)
		}
	}
	b.mu.Unlock()
	for _, s := range list {
		for _, suffix := range spoolSuffixes() {
			from := b.spoolPath(s.epoch, s.number, suffix)
			to := filepath.Join(b.dir, "quarantine", output+"-"+filepath.Base(from))
			if err := b.fs.Link(from, to); err != nil && !errors.Is(err, os.ErrExist) && !errors.Is(err, os.ErrNotExist) {
				return 0, b.failed(fmt.Errorf("quarantine batch %d of epoch %04d: %w", s.number, s.epoch, err))
			}
		}
	}
	if err := b.fs.SyncDir(filepath.Join(b.dir, "quarantine")); err != nil {
		return 0, b.failed(fmt.Errorf("quarantine: %w", err))
	}
	return len(list), b.moveCursor(output, cursor{Epoch: epoch + 1})
}

const identitySuffix = ".vkey"

// spoolSuffixes returns the suffixes of a batch's files in the spool, the one
// that makes it complete last.
func spoolSuffixes() []string {
	return []string{seal.PayloadSuffix, identitySuffix, seal.SignatureSuffix, seal.ManifestSuffix}
}
