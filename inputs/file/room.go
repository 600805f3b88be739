package file

import "github.com/auditail/auditail/inputs"

// What a follower takes of the memory that all inputs share: a claim for each chunk
// that it gathers, until the chunk is durable, and with it a buffer and lines until it
// is submitted, which others use between. Files that wait for memory are still looked
// at, so that a rotation is noticed.

// hasRoom tells whether a chunk can be gathered now, and asks for memory where
// there is something to read.
func (f *follower) hasRoom() bool {
	switch {
	case f.claim != nil:
		return f.claim.Held()
	case len(f.queue) == 0:
		return true // nothing is read: at most positions and gaps are shipped
	case f.long:
		f.claim = f.memory.Long.Claim(f.memory.Long.Size())
	default:
		f.claim = f.memory.Claim(inputs.ChunkCost)
	}
	return f.claim.Held()
}

// awaitedRoom returns a channel that is closed when memory that was asked for
// is there, nil when none is waited for.
func (f *follower) awaitedRoom() <-chan struct{} {
	if f.claim == nil || f.claim.Held() {
		return nil
	}
	return f.claim.Granted()
}

// prepareRoom makes buffer and lines ready before the first read of a chunk.
func (f *follower) prepareRoom() {
	if f.buffer == nil {
		f.buffer = f.memory.Buffers.Get(f.limits.readSize)
	}
	if f.chunk.Lines == nil {
		f.chunk.Lines = f.memory.Lines.Get(0)
	}
}

// roomForLong tells whether the buffer may grow for a line that does not fit.
// False: the chunk at hand, which is empty, is given up for memory that is larger.
func (f *follower) roomForLong() bool {
	if f.long && f.claim.Held() {
		return true
	}
	f.long = true
	f.giveBack()
	return false
}

// giveBack ends the claim of a chunk that nothing was gathered for.
func (f *follower) giveBack() {
	if f.claim == nil {
		return
	}
	f.recycle(f.chunk.Lines)
	f.chunk.Lines = nil
	f.claim.Release()
	f.claim = nil
}

// recycle gives the buffer and its lines to whoever needs them next.
func (f *follower) recycle(lines []inputs.Line) {
	f.memory.Buffers.Put(f.buffer, f.limits.readSize)
	clear(lines)
	f.memory.Lines.Put(lines[:0], 2*f.limits.maxLines)
	f.buffer = nil
}
