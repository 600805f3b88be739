package buffer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/auditail/auditail/internal/durable"
)

// segmentMagic opens every segment file.
const segmentMagic = "auditail/segment@v1\n"

const segmentSuffix = ".seg"

// segment is one file of frames. Fields are guarded by Buffer.mu.
type segment struct {
	id       uint64
	size     int64
	durable  bool // its snapshot frame is on the disk: earlier segments are needed for records only
	unsealed int  // frames of batches that are not sealed yet
}

func (b *Buffer) segmentPath(id uint64) string {
	return filepath.Join(b.dir, "segments", segmentName(id))
}

func segmentName(id uint64) string { return fmt.Sprintf("%06d%s", id, segmentSuffix) }

// listSegments returns the ids of the segment files in dir, ascending. Other
// names are left alone.
func listSegments(fsys durable.FS, dir string) ([]uint64, error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	var ids []uint64
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		id, err := strconv.ParseUint(digits, 10, 64)
		if ok && err == nil && segmentName(id) == e.Name() {
			ids = append(ids, id)
		}
	}
	return ids, nil // ReadDir sorts, and the names sort like the numbers up to 999999
}

// frame is a frame read from a segment. Its slices are valid until the next read.
type frame struct {
	frameHeader
	at   int64 // offset of the header in the segment
	Meta []byte
	Body []byte
}

func (f *frame) entry() (m entryMeta, err error) {
	if err = json.Unmarshal(f.Meta, &m); err != nil {
		err = fmt.Errorf("%w: meta of commit %d: %w", errFrame, f.commit, err)
	}
	return m, err
}

// damage is a stretch of a segment that is no frame.
type damage struct {
	from, to int64
	cause    error
}

// readSegment calls visit for every undamaged frame of a segment in order, and
// returns the stretches between them that are none. A stretch at the very end
// is what a crash leaves of a frame that was never acknowledged: a torn tail.
func readSegment(f io.ReaderAt, size int64, visit func(*frame) error) ([]damage, error) {
	r := segmentReader{file: f, size: size}
	magic := make([]byte, len(segmentMagic))
	var bad []damage
	if err := r.read(magic, 0); err != nil || string(magic) != segmentMagic {
		if err != nil && !errors.Is(err, errFrame) {
			return nil, err
		}
		bad = append(bad, damage{from: 0, to: min(size, int64(len(segmentMagic))), cause: fmt.Errorf("%w: no segment header", errFrame)})
	}
	for at := int64(len(segmentMagic)); at < size; {
		fr, err := r.frame(at)
		if err == nil {
			if err = visit(fr); err != nil {
				return bad, err
			}
			at += fr.size()
			continue
		}
		if !errors.Is(err, errFrame) {
			return bad, err
		}
		next, scanErr := r.scan(at + 1)
		if scanErr != nil {
			return bad, scanErr
		}
		bad = append(bad, damage{from: at, to: next, cause: err})
		at = next
	}
	return bad, nil
}

type segmentReader struct {
	file io.ReaderAt
	size int64
	buf  []byte
}

func (r *segmentReader) read(b []byte, at int64) error {
	if at+int64(len(b)) > r.size {
		return fmt.Errorf("%w: it ends behind the end of the segment", errFrame)
	}
	if n, err := r.file.ReadAt(b, at); n < len(b) {
		return fmt.Errorf("read segment at %d: %w", at, err)
	}
	return nil
}

func (r *segmentReader) frame(at int64) (*frame, error) {
	var head [frameHeaderSize]byte
	if err := r.read(head[:], at); err != nil {
		return nil, err
	}
	h, err := parseFrameHeader(head[:])
	if err != nil {
		return nil, err
	}
	n := int(h.meta) + int(h.body)
	if at+frameHeaderSize+int64(n) > r.size {
		return nil, fmt.Errorf("%w: it ends behind the end of the segment", errFrame)
	}
	if cap(r.buf) < n {
		r.buf = make([]byte, n)
	}
	r.buf = r.buf[:n]
	if err := r.read(r.buf, at+frameHeaderSize); err != nil {
		return nil, err
	}
	if crc32.Checksum(r.buf, castagnoli) != h.sum {
		return nil, fmt.Errorf("%w: content checksum differs", errFrame)
	}
	return &frame{frameHeader: h, at: at, Meta: r.buf[:h.meta], Body: r.buf[h.meta:]}, nil
}

// scan returns the offset of the next undamaged frame at or behind from, or the
// size of the segment.
func (r *segmentReader) scan(from int64) (int64, error) {
	const step = 256 << 10
	window := make([]byte, step+len(frameMagic)-1)
	for at := from; at < r.size; at += step {
		part := window[:min(int64(len(window)), r.size-at)]
		if err := r.read(part, at); err != nil {
			return 0, err
		}
		for i := 0; ; i++ {
			j := bytes.Index(part[i:], []byte(frameMagic))
			if j < 0 {
				break
			}
			i += j
			_, err := r.frame(at + int64(i))
			if err == nil {
				return at + int64(i), nil
			}
			if !errors.Is(err, errFrame) {
				return 0, err
			}
		}
	}
	return r.size, nil
}

// frameRef is where a frame of an unsealed batch lies.
type frameRef struct {
	segment *segment
	at      int64
	size    int64
	plain   int64
}

// readFrame reads one frame back and checks it.
func (b *Buffer) readFrame(r *segmentReader, ref frameRef) (*frame, error) {
	fr, err := r.frame(ref.at)
	if err != nil {
		return nil, fmt.Errorf("read frame at %d of segment %s: %w", ref.at, segmentName(ref.segment.id), err)
	}
	return fr, nil
}

func (b *Buffer) openSegment(id uint64) (*segmentReader, func() error, error) {
	f, err := b.fs.OpenFile(b.segmentPath(id), os.O_RDONLY, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open segment %s: %w", segmentName(id), err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open segment %s: %w", segmentName(id), err), f.Close())
	}
	return &segmentReader{file: f, size: info.Size()}, f.Close, nil
}

// removeSegments deletes, oldest first, the segments that nothing needs any
// more: all their batches are sealed and a later segment's snapshot is durable.
func (b *Buffer) removeSegments() error {
	b.mu.Lock()
	last := 0
	for i, s := range b.segments {
		if s.durable {
			last = i
		}
	}
	var gone []*segment
	for len(b.segments) > 0 && last > 0 && b.segments[0].unsealed == 0 {
		gone = append(gone, b.segments[0])
		b.segments = b.segments[1:]
		last--
	}
	b.mu.Unlock()
	for _, s := range gone {
		if err := b.fs.Remove(b.segmentPath(s.id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove segment %s: %w", segmentName(s.id), err)
		}
		b.mu.Lock()
		b.released(s.size)
		b.mu.Unlock()
	}
	return nil
}
