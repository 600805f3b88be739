package buffer

import (
	"bytes"
	"fmt"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/auditail/auditail/audit"
	"github.com/auditail/auditail/seal"
)

// encoder is the state of the one goroutine that gives records their place in
// the commit order: everything from agent.seq to the open batches.
type encoder struct {
	mu     sync.Mutex // guards inputs, which Resume reads too
	inputs map[string]*inputState

	commit  uint64
	seq     uint64
	segment *segment
	turn    bool // the segment is left: what follows is of another run
	offset  int64
	open    map[seal.Stream]*batch
	zstd    *zstd.Encoder
	lines   []byte // LF, and the closed record lines of the block at hand
}

// group is what one write and one sync make durable.
type group struct {
	fresh   bool // buf begins a new segment
	segment *segment
	buf     []byte
	waiting []*pending
	cut     []*batch
	flushed []chan struct{} // closed when the group's batches were handed to the sealer
}

func (g *group) reset() {
	*g = group{buf: reuse(g.buf), waiting: g.waiting[:0], cut: g.cut[:0], flushed: g.flushed[:0]}
}

// mostKept is the room of what is kept from one entry or batch to the next: one
// long line leaves nothing behind (promise 11 of the README).
const mostKept = 4 << 20

// reuse returns an empty slice in the memory of b, unless that is too much to keep.
func reuse(b []byte) []byte {
	if cap(b) > mostKept {
		return nil
	}
	return b[:0]
}

// newZstdEncoder returns an encoder that makes one zstd block of a block of lines: the
// window is set before the level, which would otherwise halve the block and copy it.
func newZstdEncoder() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithWindowSize(1<<20), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
}

// encode turns queued entries into groups for the writer: while one group is
// written and synced, the next one is hashed and compressed.
func (b *Buffer) encode() {
	defer close(b.groups)
	tick := time.NewTicker(b.batchTick())
	defer tick.Stop()
	rested, last := true, b.deps.Now()
	for {
		var g *group
		select {
		case g = <-b.free:
			g.reset()
		case <-b.closing:
			b.refuse(nil)
			return
		}
		var err error
		select {
		case p := <-b.queue:
			err = b.encodeQueued(g, p)
			rested, last = false, b.deps.Now()
		case request := <-b.cutNow:
			for err == nil && len(b.queue) > 0 { // what was submitted before is cut too
				err = b.encodeQueued(g, <-b.queue)
			}
			if err == nil {
				err = b.cutOpen(g, func(*batch) bool { return true })
			}
			if err == nil {
				g.flushed = append(g.flushed, request.done)
				b.takeOver(request.run)
				tick.Reset(b.batchTick())
			} else {
				close(request.done)
			}
		case <-tick.C:
			due := b.deps.Now().Add(-b.current.Load().BatchAge)
			err = b.cutOpen(g, func(t *batch) bool { return !t.opened.After(due) })
			if err == nil && !rested && len(g.buf) == 0 && b.deps.Now().Sub(last) >= restAfter {
				rested, err = true, b.rest(g)
			}
		case <-b.closing:
			b.refuse(g.waiting)
			return
		}
		if err != nil {
			b.fail(err)
			b.refuse(g.waiting)
			return
		}
		if len(g.buf) == 0 {
			for _, reply := range g.flushed {
				close(reply)
			}
			b.free <- g
			continue
		}
		b.groups <- g
	}
}

// restAfter is the silence behind which a buffer keeps no memory for what may come:
// by then the inputs have let go of theirs.
const restAfter = 12 * time.Second

// rest lets go of what a busy encoder keeps from one entry to the next. g is empty.
func (b *Buffer) rest(g *group) (err error) {
	g.buf = nil
	select {
	case other := <-b.free:
		other.buf = nil
		b.free <- other
	default: // it is on its way to the disk
	}
	b.enc.lines = nil
	if b.enc.zstd, err = newZstdEncoder(); err == nil && b.deps.Rested != nil {
		b.deps.Rested()
	}
	return err
}

// refuse answers what will not be committed any more.
func (b *Buffer) refuse(waiting []*pending) {
	err := b.closedError()
	for _, p := range waiting {
		p.done <- err
	}
	for {
		select {
		case p := <-b.queue:
			p.done <- err
		default:
			return
		}
	}
}

// encodeQueued encodes p and what else is waiting, up to the size of a group.
func (b *Buffer) encodeQueued(g *group, p *pending) error {
	for {
		g.waiting = append(g.waiting, p)
		if err := b.encodeEntry(g, p.entry); err != nil {
			return err
		}
		if len(g.buf) >= groupSize || len(g.waiting) >= groupEntries {
			return nil
		}
		select {
		case p = <-b.queue:
		default:
			return nil
		}
	}
}

func (b *Buffer) encodeEntry(g *group, e *Entry) error {
	if err := b.startSegment(g); err != nil {
		return err
	}
	enc := &b.enc
	now := b.deps.Now()
	meta := entryMeta{
		Stream: e.Stream, Input: e.Input, At: now.UnixNano(), Lines: e.Lines,
		Ranges: e.Ranges, Positions: e.Positions, Parser: e.Parser, Loss: e.Loss,
	}
	enc.mu.Lock()
	apply(enc.inputs, &meta)
	enc.mu.Unlock()
	e.FirstSeq = enc.seq
	t := enc.open[e.Stream]
	if t == nil && meta.positionsOnly(len(e.Records) > 0) {
		_, _, err := b.frame(g, dataFrame, &meta, nil, nil)
		return err
	}
	if t == nil {
		t = newBatch(e.Stream, b.run.Load(), now)
		enc.open[e.Stream] = t
	}
	ref, h, err := b.frame(g, dataFrame, &meta, e.Records, &t.tree)
	if err != nil {
		return err
	}
	t.add(ref, h, &meta)
	b.mu.Lock()
	ref.segment.unsealed++
	b.openSize += ref.size
	b.oldest = enc.oldestOpen()
	b.mu.Unlock()
	if t.compressed >= b.current.Load().BatchSize {
		return b.cutBatch(g, t)
	}
	return nil
}

// frame appends a frame with the records to the group: block by block they are
// closed, hashed into the tree of their batch and compressed.
func (b *Buffer) frame(g *group, kind frameType, meta any, records []byte, tree *seal.Tree) (ref frameRef, h frameHeader, err error) {
	enc := &b.enc
	h = frameHeader{kind: kind, first: kind == snapshotFrame || len(g.buf) == 0, commit: enc.commit + 1, seq: enc.seq}
	at := len(g.buf)
	if g.buf, err = beginFrame(g.buf, &h, meta); err != nil {
		return ref, h, err
	}
	plain := 0
	for len(records) > 0 {
		records = enc.closeBlock(records, &h, tree)
		block := enc.lines[1:]
		plain += len(block)
		g.buf = enc.zstd.EncodeAll(block, g.buf)
	}
	if plain > maxBody {
		return ref, h, fmt.Errorf("encode commit %d: %d bytes of records are over the limit", h.commit, plain)
	}
	h.plain = uint32(plain) //nolint:gosec // checked above
	if err := endFrame(g.buf[at:], &h); err != nil {
		return ref, h, err
	}
	enc.commit++
	enc.seq += uint64(h.count)
	ref = frameRef{segment: enc.segment, at: enc.offset, size: h.size()}
	enc.offset += h.size()
	return ref, h, nil
}

// blockSize is how many bytes of record lines are closed, hashed and compressed at
// a time, and what zstd compresses as one block: they stay in the cache of the
// processor between the three.
const blockSize = 128 << 10

// mostSeq is the most that closes a record line: a number, braces and LF.
const mostSeq = 24

// closeBlock copies open record lines to enc.lines, behind a LF, each with its
// agent.seq: as many as fit into a block, at least one. It adds them to the tree,
// counts them in h and returns the rest.
func (enc *encoder) closeBlock(open []byte, h *frameHeader, tree *seal.Tree) (rest []byte) {
	lines := append(reuse(enc.lines), '\n')
	for len(open) > 0 {
		end := bytes.IndexByte(open, '\n')
		if len(lines)+end+mostSeq > blockSize && len(lines) > 1 {
			break
		}
		before := len(lines) - 1
		lines = append(lines, open[:end]...)
		lines = audit.AppendSeq(lines, h.seq+uint64(h.count))
		tree.Add(hashInPlace(lines[before:]))
		lines = append(lines, '\n')
		open = open[end+1:]
		h.count++
	}
	enc.lines = lines
	return open
}

// apply takes an entry's positions and parser state into what Resume answers.
func apply(inputs map[string]*inputState, meta *entryMeta) {
	if meta.Input == "" {
		return
	}
	s := inputs[meta.Input]
	if s == nil {
		s = &inputState{Positions: make(map[string][]byte), Ends: make(map[string]int64)}
		inputs[meta.Input] = s
	}
	s.Stream, s.Held, s.Parser = meta.Stream, meta.Lines.Held, append([]byte(nil), meta.Parser...)
	for _, r := range meta.Ranges {
		s.Ends[r.Generation] = r.To
	}
	for _, p := range meta.Positions {
		if p.Token == nil {
			delete(s.Positions, p.Generation)
			delete(s.Ends, p.Generation)
			continue
		}
		s.Positions[p.Generation] = append([]byte(nil), p.Token...)
	}
}

// heldBy returns the lines that the inputs of a stream hold back.
func (enc *encoder) heldBy(stream seal.Stream) (held uint64) {
	for _, s := range enc.inputs {
		if s.Stream == stream {
			held += s.Held
		}
	}
	return held
}

// startSegment begins another segment with a snapshot when the group at hand is
// empty and the current segment is full. A group never spans two segments.
func (b *Buffer) startSegment(g *group) error {
	enc := &b.enc
	if enc.segment != nil && !enc.turn && (enc.offset < b.full || len(g.buf) > 0) {
		if g.segment == nil {
			g.segment = enc.segment
		}
		return nil
	}
	id := uint64(1)
	if enc.segment != nil {
		id = enc.segment.id + 1
	}
	return b.beginSegment(g, id)
}

func (b *Buffer) beginSegment(g *group, id uint64) error {
	enc := &b.enc
	enc.segment, enc.turn = &segment{id: id}, false
	g.fresh, g.segment = true, enc.segment
	g.buf = append(g.buf, segmentMagic...)
	enc.offset = int64(len(segmentMagic))
	b.mu.Lock()
	b.segments = append(b.segments, enc.segment)
	b.mu.Unlock()
	meta := snapshotMeta{Run: *b.run.Load(), Seq: enc.seq, Epoch: b.epoch, Identity: b.signedBy, Inputs: enc.inputs, findings: b.notice}
	b.notice = findings{}
	_, _, err := b.frame(g, snapshotFrame, meta, nil, nil)
	return err
}

// cutOpen ends the open batches that due selects.
func (b *Buffer) cutOpen(g *group, due func(*batch) bool) error {
	for _, t := range b.enc.open {
		if !due(t) {
			continue
		}
		if err := b.startSegment(g); err != nil {
			return err
		}
		if err := b.cutBatch(g, t); err != nil {
			return err
		}
	}
	return nil
}

// cutBatch ends a batch with its coverage record. The cut is a commit like any
// other, so that every recovery finds the same batches.
func (b *Buffer) cutBatch(g *group, t *batch) error {
	enc := &b.enc
	record := b.deps.Coverage(nil, Coverage{Stream: t.stream, Items: t.items})
	t.lines.Held = enc.heldBy(t.stream)
	meta := entryMeta{Stream: t.stream, At: b.deps.Now().UnixNano(), Lines: t.lines}
	ref, h, err := b.frame(g, cutFrame, &meta, append(record, '\n'), &t.tree)
	if err != nil {
		return err
	}
	t.addFrame(ref, h)
	t.cutCommit, t.nextSeq = enc.commit, enc.seq
	delete(enc.open, t.stream)
	g.cut = append(g.cut, t)
	b.mu.Lock()
	ref.segment.unsealed++
	b.openSize += ref.size
	b.oldest = enc.oldestOpen()
	b.mu.Unlock()
	return nil
}
