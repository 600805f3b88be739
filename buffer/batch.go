package buffer

import (
	"bytes"
	"crypto/sha256"
	"time"

	"github.com/auditail/auditail/seal"
)

// CoverageItem is what a batch read of one source generation.
type CoverageItem struct {
	Input      string
	Generation string
	Unit       string
	From, To   int64 // half-open
	Lines      int64
}

// Coverage is the content of the agent.coverage record that ends a batch.
type Coverage struct {
	Stream seal.Stream
	Items  []CoverageItem // in the order of first reading; empty for the agent's own records
}

// batch is what a stream has appended since its last seal.
type batch struct {
	stream     seal.Stream
	run        *seal.Run
	opened     time.Time
	recovered  bool      // its lines are hashed when it is sealed, not as they come
	tree       seal.Tree // of a recovered batch: empty until it is sealed
	records    uint64
	plain      int64
	compressed int64
	lines      seal.Lines // Held is the stream's at the cut
	items      []CoverageItem
	latest     map[string]int // input, LF, generation → index of its newest item
	frames     []frameRef
	cutCommit  uint64 // commit of the cut frame; 0: still open
	nextSeq    uint64 // agent.seq behind the cut
}

func newBatch(stream seal.Stream, run *seal.Run, opened time.Time) *batch {
	return &batch{stream: stream, run: run, opened: opened, latest: make(map[string]int)}
}

// add takes a durable-to-be frame into the batch. Its lines are in the tree, or the
// batch is a recovered one.
func (t *batch) add(ref frameRef, h frameHeader, meta *entryMeta) {
	t.addFrame(ref, h)
	t.lines.Read += meta.Lines.Read
	t.lines.Recorded += meta.Lines.Recorded
	t.lines.Unparsed += meta.Lines.Unparsed
	t.lines.Ignored += meta.Lines.Ignored
	for _, r := range meta.Ranges {
		t.cover(meta.Input, r)
	}
}

func (t *batch) addFrame(ref frameRef, h frameHeader) {
	t.frames = append(t.frames, ref)
	t.compressed += ref.size
	t.plain += int64(h.plain)
	t.records += uint64(h.count)
}

// hashLines adds each line without its LF as a leaf. lines begins with a LF that
// belongs to none of them.
func hashLines(tree *seal.Tree, lines []byte) {
	for start := 0; start+1 < len(lines); {
		end := start + 1 + bytes.IndexByte(lines[start+1:], '\n')
		tree.Add(hashInPlace(lines[start:end]))
		start = end
	}
}

// hashInPlace returns the leaf hash of line[1:]. The LF in line[0], which ends the
// line before, is lent to the hash as the 0x00 that RFC 6962, section 2.1, puts in
// front of a leaf, so that the line need not be copied; it is put back at once.
func hashInPlace(line []byte) seal.Hash {
	line[0] = 0
	h := sha256.Sum256(line)
	line[0] = '\n'
	return h
}

// cover merges a range with the one before it where they join.
func (t *batch) cover(input string, r Range) {
	key := input + "\n" + r.Generation
	if i, ok := t.latest[key]; ok && t.items[i].Unit == r.Unit && t.items[i].To == r.From {
		t.items[i].To = r.To
		t.items[i].Lines += r.Lines
		return
	}
	t.latest[key] = len(t.items)
	t.items = append(t.items, CoverageItem{
		Input: input, Generation: r.Generation, Unit: r.Unit, From: r.From, To: r.To, Lines: r.Lines,
	})
}
