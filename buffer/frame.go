package buffer

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/auditail/auditail/seal"
)

// A frame is one commit, as FORMAT.md lays it out: header, meta (JSON), body (zstd
// frames of record lines). All numbers are little-endian.
const (
	frameMagic      = "AuFr"
	frameVersion    = 1
	frameHeaderSize = 48
	firstOfGroup    = 1 // flag: frameHeader.first

	// Lengths are capped before memory is taken. A body holds one chunk: at
	// most a few times the longest record.
	maxMeta = 64 << 20
	maxBody = 256 << 20
)

// frameType tells what a frame is for. Zero is invalid, so that bytes that
// were never written do not parse.
type frameType uint8

const (
	snapshotFrame frameType = iota + 1 // first of a segment: everything earlier segments said about positions
	dataFrame                          // records of one chunk
	cutFrame                           // the coverage record that ends a batch
)

// frameHeader is the fixed part of a frame.
type frameHeader struct {
	kind   frameType
	first  bool   // of its group: all that lies before it was synced before it was written
	commit uint64 // rises by one a frame, over all segments
	meta   uint32 // bytes
	body   uint32 // bytes
	plain  uint32 // bytes of the record lines, LF included
	count  uint32 // records
	seq    uint64 // agent.seq of the first record; the others follow by one
	sum    uint32 // CRC-32C of meta and body
}

func (h *frameHeader) size() int64 { return frameHeaderSize + int64(h.meta) + int64(h.body) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// put writes the header in front of its meta and body.
func (h *frameHeader) put(b []byte) {
	copy(b, frameMagic)
	b[4], b[5], b[6], b[7] = byte(h.kind), frameVersion, 0, 0
	if h.first {
		b[6] = firstOfGroup
	}
	binary.LittleEndian.PutUint64(b[8:], h.commit)
	binary.LittleEndian.PutUint32(b[16:], h.meta)
	binary.LittleEndian.PutUint32(b[20:], h.body)
	binary.LittleEndian.PutUint32(b[24:], h.plain)
	binary.LittleEndian.PutUint32(b[28:], h.count)
	binary.LittleEndian.PutUint64(b[32:], h.seq)
	binary.LittleEndian.PutUint32(b[40:], h.sum)
	binary.LittleEndian.PutUint32(b[44:], crc32.Checksum(b[:44], castagnoli))
}

// errFrame is wrapped by everything that makes bytes not a frame.
var errFrame = errors.New("damaged frame")

func parseFrameHeader(b []byte) (h frameHeader, err error) {
	switch {
	case len(b) < frameHeaderSize:
		return h, fmt.Errorf("%w: %d bytes are no header", errFrame, len(b))
	case string(b[:4]) != frameMagic:
		return h, fmt.Errorf("%w: no magic", errFrame)
	case binary.LittleEndian.Uint32(b[44:]) != crc32.Checksum(b[:44], castagnoli):
		return h, fmt.Errorf("%w: header checksum differs", errFrame)
	}
	h = frameHeader{
		kind:   frameType(b[4]),
		first:  b[6] == firstOfGroup,
		commit: binary.LittleEndian.Uint64(b[8:]),
		meta:   binary.LittleEndian.Uint32(b[16:]),
		body:   binary.LittleEndian.Uint32(b[20:]),
		plain:  binary.LittleEndian.Uint32(b[24:]),
		count:  binary.LittleEndian.Uint32(b[28:]),
		seq:    binary.LittleEndian.Uint64(b[32:]),
		sum:    binary.LittleEndian.Uint32(b[40:]),
	}
	switch {
	case b[5] != frameVersion || b[6] > firstOfGroup || b[7] != 0:
		return h, fmt.Errorf("%w: version %d is unknown", errFrame, b[5])
	case h.kind < snapshotFrame || h.kind > cutFrame:
		return h, fmt.Errorf("%w: type %d is unknown", errFrame, h.kind)
	case h.meta > maxMeta || h.body > maxBody || h.plain > maxBody:
		return h, fmt.Errorf("%w: length out of range", errFrame)
	}
	return h, nil
}

// Range is what a commit read of one generation, see inputs.Range.
type Range struct {
	Generation string `json:"g"`
	Unit       string `json:"u"`
	From       int64  `json:"f"`
	To         int64  `json:"t"`
	Lines      int64  `json:"n"`
}

// Position is where an input goes on in one generation; a nil token forgets it.
type Position struct {
	Generation string `json:"g"`
	Token      []byte `json:"t"`
}

// entryMeta is the meta of data and cut frames.
type entryMeta struct {
	Stream    seal.Stream `json:"stream"`
	Input     string      `json:"input,omitempty"`
	At        int64       `json:"at"`    // Unix nanoseconds of the append
	Lines     seal.Lines  `json:"lines"` // of a cut: of the whole batch
	Ranges    []Range     `json:"ranges,omitempty"`
	Positions []Position  `json:"positions,omitempty"`
	Parser    []byte      `json:"parser,omitempty"`
	Loss      bool        `json:"loss,omitempty"` // see Entry.Loss
}

// positionsOnly tells whether a data frame says nothing that belongs in a batch.
func (m *entryMeta) positionsOnly(records bool) bool {
	return !records && len(m.Ranges) == 0 && m.Lines == seal.Lines{Held: m.Lines.Held}
}

// snapshotMeta is the meta of a snapshot frame. With it, no earlier segment is
// needed but for its records.
type snapshotMeta struct {
	Run   seal.Run `json:"run"`             // of the process that wrote the segment
	Seq   uint64   `json:"seq"`             // agent.seq of the next record
	Epoch int      `json:"epoch,omitempty"` // of the log then: the alarm of each later one is still to be recorded
	// Identity is the public key, in base64, that was the identity then: the
	// record of a rotation since is still to be written.
	Identity string                 `json:"identity,omitempty"`
	Inputs   map[string]*inputState `json:"inputs"`
	findings
}

// inputState is what the buffer remembers of an input between commits.
type inputState struct {
	Stream    seal.Stream       `json:"stream"`
	Held      uint64            `json:"held"`
	Parser    []byte            `json:"parser,omitempty"`
	Positions map[string][]byte `json:"positions"`
	// Ends holds, for each generation that has a position, where its last range
	// ended: a range that starts elsewhere shows that frames are missing.
	Ends map[string]int64 `json:"ends"`
}

// beginFrame appends the room of a header, and the meta. The body follows.
func beginFrame(dst []byte, h *frameHeader, meta any) ([]byte, error) {
	encoded, err := json.Marshal(meta)
	if err != nil {
		return dst, fmt.Errorf("encode frame %d: %w", h.commit, err)
	}
	if len(encoded) > maxMeta {
		return dst, fmt.Errorf("encode frame %d: meta of %d bytes is over the limit", h.commit, len(encoded))
	}
	h.meta = uint32(len(encoded)) //nolint:gosec // checked above
	dst = append(dst, make([]byte, frameHeaderSize)...)
	return append(dst, encoded...), nil
}

// endFrame writes the header of a frame whose body is complete.
func endFrame(frame []byte, h *frameHeader) error {
	body := len(frame) - frameHeaderSize - int(h.meta)
	if body > maxBody {
		return fmt.Errorf("encode frame %d: body of %d bytes is over the limit", h.commit, body)
	}
	h.body = uint32(body) //nolint:gosec // checked above
	h.sum = crc32.Checksum(frame[frameHeaderSize:], castagnoli)
	h.put(frame)
	return nil
}
