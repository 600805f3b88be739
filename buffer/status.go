package buffer

import (
	"time"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/seal"
)

// Status is what the buffer holds at one moment.
type Status struct {
	Epoch      int
	Used, Max  int64     // bytes that count against MaxDisk, and it
	Open       int64     // compressed bytes that are in no sealed batch
	OldestOpen time.Time // when the oldest batch that is not cut yet began; zero: there is none
	Batches    int       // sealed, and not acknowledged by every output
	Full       bool      // MaxDisk is reached
	DiskFull   bool      // the disk has no space beside the reserve
	Unsigned   bool      // the identity key does not sign: batches wait
	Damaged    int       // stretches of segments found damaged since the agent started
	LastSeal   LastSeal
	Outputs    map[string]OutputStatus
}

// LastSeal is the newest manifest. Kind and NextBy are empty when an earlier
// process made it.
type LastSeal struct {
	Epoch          int
	Batch          uint64
	Kind           seal.Kind
	Sealed, NextBy time.Time // zero: nothing was ever sealed; NextBy also behind a close
}

// OutputStatus is how far an output is.
type OutputStatus struct {
	Epoch   int
	Next    uint64    // number of the first batch that it has not acknowledged
	Waiting int       // batches sealed and not acknowledged
	Skipped int64     // batches that left the disk before this copy had them, since Open
	Oldest  time.Time // when the oldest of them was opened; zero: there is none, or it can not be read
}

// Status returns a snapshot. It may read a manifest for each output.
func (b *Buffer) Status() Status {
	b.mu.Lock()
	s := Status{
		Epoch: b.lastSeal.Epoch, Used: b.used(), Max: b.current.Load().MaxDisk, Open: b.openSize, OldestOpen: b.oldest,
		Batches: len(b.sealed), Full: b.overCap(), DiskFull: b.space.scarce.Load(), Unsigned: b.signs.failing.Load(), Damaged: b.damaged,
		LastSeal: b.lastSeal, Outputs: make(map[string]OutputStatus, len(b.cursors)),
	}
	held := b.acknowledged()
	s.Batches -= b.next(&held) // kept for copies alone
	first := make(map[string]*sealedBatch, len(b.cursors))
	for output, at := range b.cursors {
		i := b.next(at)
		if i < len(b.sealed) {
			first[output] = b.sealed[i]
		}
		o := OutputStatus{Epoch: at.Epoch, Next: at.Next, Waiting: len(b.sealed) - i}
		if k := b.skipped[output]; k != nil {
			o.Skipped = k.batches
		}
		s.Outputs[output] = o
	}
	b.mu.Unlock()
	for output, batch := range first {
		o := s.Outputs[output]
		o.Oldest = b.openedAt(batch)
		s.Outputs[output] = o
	}
	return s
}

// openedAt is when a sealed batch was opened; zero when its manifest is gone,
// because the batch was acknowledged meanwhile, or can not be read.
func (b *Buffer) openedAt(s *sealedBatch) time.Time {
	b.mu.Lock()
	opened := s.opened
	b.mu.Unlock()
	if !opened.IsZero() {
		return opened
	}
	file, err := durable.ReadFile(b.fs, b.spoolPath(s.epoch, s.number, seal.ManifestSuffix), seal.MaxManifestFile)
	if err != nil {
		return time.Time{}
	}
	text, err := seal.SplitNote(file)
	if err != nil {
		return time.Time{}
	}
	m, err := seal.ParseText(text)
	if err != nil {
		return time.Time{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s.opened = m.Opened
	return m.Opened
}

// noteSeal notes a manifest that is complete.
func (b *Buffer) noteSeal(m *seal.Manifest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lastSeal = LastSeal{Epoch: m.Origin.Epoch, Batch: m.Batch, Kind: m.Kind, Sealed: m.Sealed, NextBy: m.NextBy}
}

// recallSeal notes what the state says of the newest manifest, at the start.
func (b *Buffer) recallSeal() {
	if b.lastSeal.Sealed.IsZero() && b.state.Next > 0 {
		b.lastSeal = LastSeal{Epoch: b.state.Epoch, Batch: b.state.Next - 1, Sealed: b.state.Sealed}
	}
}

// oldestOpen is when the oldest open batch began; zero when none is open.
func (enc *encoder) oldestOpen() (oldest time.Time) {
	for _, t := range enc.open {
		if oldest.IsZero() || t.opened.Before(oldest) {
			oldest = t.opened
		}
	}
	return oldest
}
