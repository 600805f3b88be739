package buffer

import (
	"slices"
	"time"
)

// Copies are outputs that get the records beside the evidence and are never
// waited for. A batch that all other outputs hold stays for the copies only
// while there is room to spare; then it leaves the disk, and those that had not
// got it skip it.

const (
	// copyShare is the part of MaxDisk that batches kept for copies alone take at most.
	copyShare = 8
	// skipQuiet is how long after a line about skipped batches there is no other.
	skipQuiet = time.Minute
)

// skips is what a copy missed since the buffer was opened.
type skips struct {
	batches int64
	untold  int64 // of these, not logged yet
	told    time.Time
}

// releasable returns how many of the oldest batches in the spool may go. b.mu is held.
func (b *Buffer) releasable() int {
	if len(b.current.Load().Outputs) == 0 {
		return 0
	}
	first := b.acknowledged()
	held := b.next(&first)
	if len(b.current.Load().Copies) == 0 || b.used() >= b.current.Load().MaxDisk/2 || b.space.scarce.Load() {
		return held
	}
	wanted := b.next(b.slowest())
	kept := int64(0)
	for i := held - 1; i >= wanted; i-- {
		if kept += b.sealed[i].size; kept > b.current.Load().MaxDisk/copyShare {
			return i + 1
		}
	}
	return min(held, wanted)
}

// slowest returns the cursor of the output, copies included, that holds least.
// b.mu is held, or the buffer is not started yet.
func (b *Buffer) slowest() *cursor {
	least := b.acknowledged()
	for _, c := range b.cursors {
		if c.compare(&least) < 0 {
			least = *c
		}
	}
	return &least
}

// skip counts, for each copy, the batches among these that it had not
// acknowledged. b.mu is held.
func (b *Buffer) skip(gone []*sealedBatch) {
	for _, output := range b.current.Load().Copies {
		missed, at := int64(0), b.cursors[output]
		for _, s := range gone {
			if !at.before(s.epoch, s.number) {
				missed++
			}
		}
		if missed == 0 {
			continue
		}
		k := b.skipped[output]
		if k == nil {
			k = new(skips)
			b.skipped[output] = k
		}
		k.batches += missed
		k.untold += missed
		if now := b.deps.Now(); k.told.IsZero() || now.Sub(k.told) >= skipQuiet {
			b.log.Warn("this copy is too far behind and skips batches; the evidence is complete at the other outputs",
				"output", output, "skipped_batches", k.untold, "skipped_since_start", k.batches)
			k.told, k.untold = now, 0
		}
	}
}

// overtaken tells whether a batch left the spool. b.mu is held.
func (b *Buffer) overtaken(s *sealedBatch) bool { return !slices.Contains(b.sealed, s) }
