package buffer

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/auditail/auditail/seal"
)

// replay rebuilds the encoder's state from the segments: the one recovery path,
// used at every start.
type replay struct {
	b       *Buffer
	inputs  map[string]*inputState
	run     seal.Run
	commit  uint64
	seq     uint64
	open    map[seal.Stream]*batch
	closed  []*batch // cut, not sealed, in commit order
	holes   []Hole
	decoder *zstd.Decoder
	lines   []byte
}

// recoverSegments reads all segments, begins a new one, and returns the batches
// that were cut but not sealed. Old segments are never appended to, so a torn
// tail stays what it is until the segment goes.
func (b *Buffer) recoverSegments() ([]*batch, error) {
	ids, err := listSegments(b.fs, b.dir+"/segments")
	if err != nil {
		return nil, err
	}
	if fresh := b.state.Next <= 1; len(ids) == 0 && !fresh {
		return nil, fmt.Errorf("%d batches were sealed here, but there is no segment with the read positions: restore the folder, or begin anew with another agent id and an empty data_dir", b.state.Next)
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBody))
	if err != nil {
		return nil, err
	}
	defer decoder.Close()
	r := &replay{b: b, inputs: make(map[string]*inputState), open: make(map[seal.Stream]*batch), decoder: decoder, seq: b.state.Seq}
	for i, id := range ids {
		if err := r.segment(id, i == len(ids)-1); err != nil {
			return nil, err
		}
	}
	last := uint64(0)
	if len(ids) > 0 {
		last = ids[len(ids)-1]
	}
	b.holes = r.holes
	return b.startAfter(r, last)
}

// startAfter begins the new segment and ends the batches of earlier processes.
func (b *Buffer) startAfter(r *replay, last uint64) ([]*batch, error) {
	encoder, err := newZstdEncoder()
	if err != nil {
		return nil, err
	}
	b.enc.inputs, b.enc.open, b.enc.zstd = r.inputs, r.open, encoder
	b.enc.commit, b.enc.seq = r.commit, r.seq
	g := new(group)
	if err := b.beginSegment(g, last+1); err != nil {
		return nil, err
	}
	for _, stream := range slices.SortedFunc(maps.Keys(r.open), compareStreams) {
		if err := b.cutBatch(g, r.open[stream]); err != nil {
			return nil, err
		}
	}
	b.writer.b = b
	if err := b.writer.commit(g); err != nil {
		return nil, err
	}
	return append(r.closed, g.cut...), nil
}

func compareStreams(a, b seal.Stream) int {
	switch s, t := a.String(), b.String(); {
	case s < t:
		return -1
	case s > t:
		return 1
	}
	return 0
}

func (r *replay) segment(id uint64, newest bool) error {
	reader, closeFile, err := r.b.openSegment(id)
	if err != nil {
		return err
	}
	s := &segment{id: id, size: reader.size}
	bad, err := readSegment(reader.file, reader.size, func(f *frame) error { return r.frame(s, f) })
	if err = errors.Join(err, closeFile()); err != nil {
		return fmt.Errorf("read segment %s: %w", segmentName(id), err)
	}
	for _, d := range bad {
		if d.to == reader.size && newest {
			r.b.log.Info("a frame that was never acknowledged is dropped; its lines are read again",
				"segment", segmentName(id), "offset", d.from, "bytes", d.to-d.from)
			continue
		}
		r.b.log.Error("the buffer is damaged; what is not in it any more becomes a gap record",
			"segment", segmentName(id), "offset", d.from, "bytes", d.to-d.from, "error", d.cause)
	}
	r.b.segments = append(r.b.segments, s)
	r.b.disk += s.size
	return nil
}

func (r *replay) frame(s *segment, f *frame) error {
	r.commit = max(r.commit, f.commit)
	r.seq = max(r.seq, f.seq+uint64(f.count))
	if f.kind == snapshotFrame {
		return r.snapshot(f)
	}
	meta, err := f.entry()
	if err != nil {
		return err
	}
	if f.kind == dataFrame {
		r.checkRanges(&meta)
		apply(r.inputs, &meta)
	}
	if f.commit <= r.b.state.SealedThrough[meta.Stream.String()] {
		return nil
	}
	if r.lines, err = r.decoder.DecodeAll(f.Body, r.lines[:0]); err != nil || len(r.lines) != int(f.plain) {
		return fmt.Errorf("decode commit %d: %w", f.commit, errors.Join(err, errFrame))
	}
	r.take(s, f, &meta)
	return nil
}

// take puts an unsealed frame into its batch.
func (r *replay) take(s *segment, f *frame, meta *entryMeta) {
	t := r.open[meta.Stream]
	if t == nil {
		if f.kind == dataFrame && f.count == 0 && meta.Lines == (seal.Lines{Held: meta.Lines.Held}) && len(meta.Ranges) == 0 {
			return // positions only
		}
		run := r.run
		t = newBatch(meta.Stream, &run, time.Unix(0, meta.At))
		r.open[meta.Stream] = t
	}
	ref := frameRef{segment: s, at: f.at, size: f.size(), plain: int64(f.plain)}
	t.add(ref, meta, r.lines)
	s.unsealed++
	r.b.openSize += ref.size
	if f.kind == cutFrame {
		t.lines.Held = meta.Lines.Held
		t.cutCommit, t.nextSeq = f.commit, f.seq+uint64(f.count)
		delete(r.open, meta.Stream)
		r.closed = append(r.closed, t)
	}
}

// snapshot takes what the segment says about the ones before it. It replaces
// what was replayed from them: they may be damaged or partly gone.
func (r *replay) snapshot(f *frame) error {
	var m snapshotMeta
	if err := json.Unmarshal(f.Meta, &m); err != nil {
		return fmt.Errorf("%w: snapshot of commit %d: %w", errFrame, f.commit, err)
	}
	for name, s := range m.Inputs {
		if s == nil {
			delete(m.Inputs, name)
			continue
		}
		if s.Positions == nil {
			s.Positions = make(map[string][]byte)
		}
		if s.Ends == nil {
			s.Ends = make(map[string]int64)
		}
	}
	r.run, r.seq = m.Run, max(r.seq, m.Seq)
	if m.Inputs != nil {
		r.inputs = m.Inputs
	}
	return nil
}

// checkRanges finds what damaged frames had read: a range that does not start
// where the generation's last one ended.
func (r *replay) checkRanges(meta *entryMeta) {
	s := r.inputs[meta.Input]
	if s == nil {
		return
	}
	for _, x := range meta.Ranges {
		if end, known := s.Ends[x.Generation]; known && end < x.From {
			r.holes = append(r.holes, Hole{Stream: meta.Stream, Input: meta.Input, Generation: x.Generation, From: end, To: x.From})
		}
	}
}
