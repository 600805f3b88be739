package buffer

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/auditail/auditail/seal"
)

// replay rebuilds the encoder's state from the segments: the one recovery path,
// used at every start.
type replay struct {
	b          *Buffer
	based      bool // a snapshot was read: inputs are complete
	inputs     map[string]*inputState
	run        seal.Run
	commit     uint64 // newest that was read
	missing    uint64 // newest that is known to be missing
	snapshotAt uint64 // commit of the newest snapshot
	proof      proof  // of the segment at hand
	group      int64  // where its last group begins
	end        int64  // where its last frame ends
	seq        uint64
	epoch      int    // of the newest snapshot
	identity   string // likewise
	open       map[seal.Stream]*batch
	closed     []*batch // cut, not sealed, in commit order
	holes      []Hole
	damage     []Damage // the stretches of all segments, not torn ones
	told       findings // of earlier starts
	back       map[string]rewound
	misses     []missed          // ascending
	last       map[string]uint64 // newest commit of each input that was read since the snapshot
	lost       map[string]*loss
	decoder    *zstd.Decoder // nil: the content of frames is not looked into
	lines      []byte
}

// recoverSegments reads all segments, begins a new one, and returns the batches
// that were cut but not sealed. Old segments are never appended to, so a torn
// tail stays what it is until the segment goes.
func (b *Buffer) recoverSegments() ([]*batch, error) {
	ids, err := listSegments(b.fs, filepath.Join(b.dir, "segments"))
	if err != nil {
		return nil, err
	}
	// The first start seals an open, and a rotate when it was asked for before,
	// ahead of the first segment.
	fresh := b.state.Epoch == 1 && (b.state.Next <= 1 || b.state.Next == 2 && b.state.Rotated == 1)
	if len(ids) == 0 && !fresh {
		return nil, fmt.Errorf("%d batches were sealed here, but there is no segment with the read positions: restore the folder, or begin anew with another agent id and an empty data_dir", b.state.Next)
	}
	for _, id := range ids {
		if err := b.syncSegment(id); err != nil {
			return nil, err
		}
	}
	r, err := b.replaySegments(ids)
	if err != nil {
		return nil, err
	}
	last := uint64(0)
	if len(ids) > 0 {
		last = ids[len(ids)-1]
		if err := b.writeAgain(last, r.group, r.end); err != nil {
			return nil, err
		}
	}
	r.tellDamage()
	r.resumeAt(r.back)
	b.holes, b.notice = r.holes, r.notice(r.back)
	b.damaged += len(b.notice.Damage)
	return b.startAfter(r, last)
}

// replaySegments replays all segments: again without what is read a second time
// from the sources, when an input can do that for what damage took.
func (b *Buffer) replaySegments(ids []uint64) (*replay, error) {
	proofs, told, err := b.proofs(ids)
	if err != nil {
		return nil, err
	}
	back, asked := make(map[string]rewound), make(map[string]bool)
	for disk := b.disk; ; {
		r := &replay{
			b: b, inputs: make(map[string]*inputState), open: make(map[seal.Stream]*batch), seq: b.state.Seq,
			told: told, back: back, last: make(map[string]uint64), lost: make(map[string]*loss),
		}
		if b.suspicious {
			r.decoder = b.sealer.decoder
		}
		b.segments, b.disk, b.openSize = nil, disk, 0
		for i, id := range ids {
			r.proof = proofs[i]
			if err := r.segment(id); err != nil {
				return nil, err
			}
		}
		more := r.goBack(asked)
		if len(more) == 0 {
			return r, nil
		}
		maps.Copy(back, more)
	}
}

// proof is what is known of the commits of a segment from elsewhere.
type proof struct {
	sealed uint64 // the newest commit that is in a sealed batch
	limit  uint64 // the first commit of the segments behind; MaxUint64 where there is none
	// again: see findings.Again of the segments behind.
	again map[string]uint64
}

// durable tells whether a commit was durable: it was sealed, or a recovery went
// on from it. What a recovery dropped has the number of another commit since.
func (p proof) durable(commit uint64) bool {
	if p.limit == math.MaxUint64 {
		return commit <= p.sealed
	}
	return commit < p.limit
}

// readAgain tells whether the lines of a commit were read a second time.
func (p proof) readAgain(input string, commit uint64) bool {
	from, again := p.again[input]
	return again && commit >= from
}

// dropped tells whether a commit was torn by a crash, so that the recovery which
// began the next segment went on without it.
func (p proof) dropped(commit uint64) bool { return commit >= p.limit }

// proofs returns the proof of each segment, and what earlier starts found.
func (b *Buffer) proofs(ids []uint64) (proofs []proof, told findings, err error) {
	now := proof{limit: math.MaxUint64}
	for _, through := range b.state.SealedThrough {
		now.sealed = max(now.sealed, through)
	}
	proofs = make([]proof, len(ids))
	for i, id := range slices.Backward(ids) {
		proofs[i] = now
		reader, closeFile, err := b.openSegment(id)
		if err != nil {
			return nil, told, err
		}
		first, err := reader.firstOfGroups()
		if err = errors.Join(err, closeFile()); err != nil {
			return nil, told, fmt.Errorf("read segment %s: %w", segmentName(id), err)
		}
		if first == nil {
			continue
		}
		now.limit = min(now.limit, first.commit)
		var m snapshotMeta
		if first.kind != snapshotFrame || json.Unmarshal(first.Meta, &m) != nil {
			continue
		}
		told.Damage, told.Holes = append(told.Damage, m.Damage...), append(told.Holes, m.Holes...)
		if len(m.Again) > 0 {
			now.again = maps.Clone(now.again)
			for input, from := range m.Again {
				if earlier, known := now.again[input]; !known || from < earlier {
					if now.again == nil {
						now.again = make(map[string]uint64)
					}
					now.again[input] = from
				}
			}
		}
	}
	return proofs, told, nil
}

// syncSegment makes durable what is read: after a process that was killed, the
// end of a segment may be in the kernel's cache only.
func (b *Buffer) syncSegment(id uint64) error {
	f, err := b.fs.OpenFile(b.segmentPath(id), os.O_RDWR, 0)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		return fmt.Errorf("sync segment %s: %w", segmentName(id), err)
	}
	return nil
}

// writeAgain makes durable, beyond doubt, what a recovery takes of the last group
// of the newest segment. Its sync may have failed before the process was killed:
// then the kernel shows it, calls it clean, and another sync says nothing. Every
// group before it was synced.
func (b *Buffer) writeAgain(id uint64, from, to int64) error {
	if from == to {
		return nil
	}
	f, err := b.fs.OpenFile(b.segmentPath(id), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("write the last group of segment %s again: %w", segmentName(id), err)
	}
	group := make([]byte, to-from)
	if _, err = f.ReadAt(group, from); err == nil {
		_, err = f.WriteAt(group, from)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the last group of segment %s again: %w", segmentName(id), err)
	}
	return nil
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
	damage := b.notice.Damage
	b.keepDamaged(damage)
	if err := b.beginSegment(g, last+1); err != nil {
		return nil, err
	}
	if err := b.recordDamage(g, damage); err != nil {
		return nil, err
	}
	if err := b.recordHoles(g, r.holes); err != nil {
		return nil, err
	}
	if err := b.recordChange(g, r); err != nil {
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

// recordChange writes down why the epoch was opened and that the identity key was
// rotated: in one group with the first snapshot that knows it, so once.
func (b *Buffer) recordChange(g *group, r *replay) error {
	if r.based && r.epoch < b.epoch && b.state.Opened != nil && b.deps.Alarm != nil {
		if err := b.encodeEntry(g, b.deps.Alarm(*b.state.Opened)); err != nil {
			return err
		}
	}
	if r.identity != "" && r.identity != b.signedBy && b.deps.KeyRotated != nil {
		return b.encodeEntry(g, b.deps.KeyRotated(parseKey(r.identity), parseKey(b.signedBy)))
	}
	return nil
}

// recordHoles writes down what damage lost, in the batch that it was lost from
// where that is still open, so that its ranges join.
func (b *Buffer) recordHoles(g *group, holes []Hole) error {
	if b.deps.Gap == nil {
		return nil
	}
	for _, h := range holes {
		if err := b.encodeEntry(g, &Entry{Stream: h.Stream, Records: append(b.deps.Gap(nil, h), '\n')}); err != nil {
			return err
		}
	}
	return nil
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

func (r *replay) segment(id uint64) error {
	reader, closeFile, err := r.b.openSegment(id)
	if err != nil {
		return err
	}
	s := &segment{id: id, size: reader.size}
	r.group, r.end = 0, 0
	bad, err := readSegment(reader.file, reader.size, r.proof.durable, func(f *frame) error { return r.frame(s, f) })
	if err = errors.Join(err, closeFile()); err != nil {
		return fmt.Errorf("read segment %s: %w", segmentName(id), err)
	}
	for _, d := range bad {
		r.damage = append(r.damage, Damage{Segment: id, From: d.from, To: d.to, Cause: d.cause.Error(), torn: d.torn})
	}
	r.b.segments = append(r.b.segments, s)
	r.b.disk += s.size
	return nil
}

// tellDamage logs what is damaged.
func (r *replay) tellDamage() {
	for _, d := range r.damage {
		switch {
		case d.torn:
			r.b.log.Info("the end of a segment was never acknowledged and is dropped; its lines are read again",
				"segment", segmentName(d.Segment), "offset", d.From, "bytes", d.To-d.From)
		case !slices.ContainsFunc(r.told.Damage, d.same):
			r.b.log.Error("the buffer is damaged; what is in no sealed batch is read again, or becomes a gap record",
				"segment", segmentName(d.Segment), "offset", d.From, "bytes", d.To-d.From, "error", d.Cause)
		}
	}
}

// frame takes a frame, or refuses it with errFrame and changes nothing.
func (r *replay) frame(s *segment, f *frame) error {
	if r.proof.dropped(f.commit) {
		return nil // a repair took out the damage in front of it
	}
	if r.end = f.at + f.size(); f.first && f.at > int64(len(segmentMagic)) {
		r.group = f.at // else the group began with the segment
	}
	if f.kind == snapshotFrame {
		err := r.snapshot(f)
		s.durable = s.durable || err == nil
		return err
	}
	meta, err := f.entry()
	if err != nil {
		return err
	}
	if r.skips(meta.Input, f.commit) {
		r.advance(f)
		return nil
	}
	sealed := f.commit <= r.b.state.SealedThrough[meta.Stream.String()]
	if !sealed && r.decoder != nil {
		if r.lines, err = f.decode(r.decoder, r.lines[:0]); err != nil {
			return err
		}
	}
	r.advance(f)
	if f.kind == dataFrame {
		r.checkRanges(&meta)
		r.follow(&meta)
		apply(r.inputs, &meta)
		r.last[meta.Input] = f.commit
	}
	if !sealed {
		r.take(s, f, &meta)
	}
	return nil
}

// advance notes which commits are missing in front of a frame.
func (r *replay) advance(f *frame) {
	if r.based && f.commit > r.commit+1 {
		r.missing = f.commit - 1
		r.misses = append(r.misses, missed{from: r.commit + 1, to: f.commit})
	}
	r.commit = max(r.commit, f.commit)
	r.seq = max(r.seq, f.seq+uint64(f.count))
}

// take puts an unsealed frame into its batch.
func (r *replay) take(s *segment, f *frame, meta *entryMeta) {
	t := r.open[meta.Stream]
	if t == nil {
		if f.kind == dataFrame && meta.positionsOnly(f.count > 0) {
			return
		}
		run := r.run
		t = newBatch(meta.Stream, &run, time.Unix(0, meta.At))
		t.recovered = true
		r.open[meta.Stream] = t
	}
	ref := frameRef{segment: s, at: f.at, size: f.size()}
	t.add(ref, f.frameHeader, meta)
	s.unsealed++
	r.b.openSize += ref.size
	if f.kind == cutFrame {
		t.lines = meta.Lines // the same unless a frame of the batch is damaged
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
			return fmt.Errorf("%w: snapshot of commit %d: input %s is null", errFrame, f.commit, name)
		}
		if s.Positions == nil {
			s.Positions = make(map[string][]byte)
		}
		if s.Ends == nil {
			s.Ends = make(map[string]int64)
		}
	}
	if m.Inputs == nil {
		m.Inputs = make(map[string]*inputState)
	}
	r.advance(f)
	for _, name := range slices.Sorted(maps.Keys(m.Inputs)) {
		if r.skips(name, f.commit) {
			continue
		}
		s := m.Inputs[name]
		r.checkHeld(name, s)
		for _, generation := range slices.Sorted(maps.Keys(s.Ends)) {
			r.checkEnd(s.Stream, name, generation, s.Ends[generation])
		}
	}
	for name := range m.Inputs { // what a segment that went on from frames which do not count says of them
		if r.skips(name, f.commit) {
			delete(m.Inputs, name)
		}
	}
	for name, s := range r.inputs {
		if r.skips(name, f.commit) {
			m.Inputs[name] = s
		}
	}
	r.based, r.run, r.seq, r.inputs = true, m.Run, max(r.seq, m.Seq), m.Inputs
	r.snapshotAt = f.commit
	r.epoch, r.identity = max(1, m.Epoch), m.Identity
	return nil
}

// checkRanges finds what damaged frames had read: a range that does not start
// where the generation's last one ended.
func (r *replay) checkRanges(meta *entryMeta) {
	for _, x := range meta.Ranges {
		r.checkEnd(meta.Stream, meta.Input, x.Generation, x.From)
	}
	if !r.balanced(meta) && r.missing > r.b.state.SealedThrough[meta.Stream.String()] {
		r.lose(meta.Input, meta.Stream)
	}
}

// checkHeld finds missing frames by the lines that an input holds behind them.
func (r *replay) checkHeld(input string, s *inputState) {
	held := uint64(0)
	if before := r.inputs[input]; before != nil {
		held = before.Held
	}
	if s.Held != held && r.missing > r.b.state.SealedThrough[s.Stream.String()] {
		r.lose(input, s.Stream)
	}
}

// skips tells whether a commit of an input counts for nothing, because its lines
// are read again.
func (r *replay) skips(input string, commit uint64) bool {
	at, back := r.back[input]
	return back && commit >= at.from || r.proof.readAgain(input, commit)
}

// checkEnd notes a hole when frames are missing that are not in a sealed batch
// and had read a generation up to an offset.
func (r *replay) checkEnd(stream seal.Stream, input, generation string, to int64) {
	if r.missing <= r.b.state.SealedThrough[stream.String()] {
		return
	}
	var end int64 // where a generation begins that was never seen
	if s := r.inputs[input]; s != nil {
		end = s.Ends[generation]
	}
	if end >= to {
		return
	}
	r.lose(input, stream)
	h := Hole{Stream: stream, Input: input, Generation: generation, From: end, To: to}
	if !slices.Contains(r.told.Holes, h) {
		r.holes = append(r.holes, h)
	}
}
