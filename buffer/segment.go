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
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

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
	slices.Sort(ids) // the names sort like the numbers only up to 999999
	return ids, nil
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

// decode appends the record lines of a frame to dst.
func (f *frame) decode(decoder *zstd.Decoder, dst []byte) (_ []byte, err error) {
	before := len(dst)
	if f.body > 0 {
		dst, err = decoder.DecodeAll(f.Body, dst)
	}
	lines := dst[before:]
	switch {
	case err != nil:
		return dst, fmt.Errorf("%w: body of commit %d: %w", errFrame, f.commit, err)
	case len(lines) != int(f.plain), bytes.Count(lines, []byte("\n")) != int(f.count), len(lines) > 0 && lines[len(lines)-1] != '\n':
		return dst, fmt.Errorf("%w: body of commit %d is not %d lines of %d bytes", errFrame, f.commit, f.count, f.plain)
	}
	return dst, nil
}

// damage is a stretch of a segment that is no frame.
type damage struct {
	from, to int64
	cause    error
	torn     bool // it may be what a crash left of a group that was never acknowledged
}

// readSegment calls visit for every undamaged frame of a segment in order, and
// returns the stretches between them that are none. Where visit refuses a frame
// with errFrame, that frame is damage too.
//
// A group is written at once and then synced, and a power cut may keep any part
// of it. So a damaged group, and what follows it, is known to have been durable
// only when another group begins behind it; proven says so of a commit that is
// known from elsewhere. Otherwise nothing behind the damage counts: what is
// there builds on frames that are not.
func readSegment(f io.ReaderAt, size int64, proven func(commit uint64) bool, visit func(*frame) error) ([]damage, error) {
	r := segmentReader{file: f, size: size}
	magic := make([]byte, len(segmentMagic))
	var bad []damage
	if err := r.read(magic, 0); err != nil || string(magic) != segmentMagic {
		if err != nil && !errors.Is(err, errFrame) {
			return nil, err
		}
		// A crash can leave a segment with nothing in it.
		isDurable, err := r.durableBehind(int64(len(segmentMagic)), proven)
		if err != nil {
			return nil, err
		}
		bad = append(bad, damage{
			from: 0, to: min(size, int64(len(segmentMagic))), cause: fmt.Errorf("%w: no segment header", errFrame), torn: !isDurable,
		})
	}
	for at := int64(len(segmentMagic)); at < size; {
		fr, err := r.frame(at)
		var scanErr error
		next := at
		if err == nil {
			err = visit(fr)
			next += fr.size()
		}
		if err == nil {
			at = next
			continue
		}
		if !errors.Is(err, errFrame) {
			return bad, err
		}
		if next == at {
			if next, scanErr = r.scan(at + 1); scanErr != nil {
				return bad, scanErr
			}
		}
		bad = append(bad, damage{from: at, to: next, cause: err})
		isDurable, scanErr := r.durableBehind(next, proven)
		if scanErr != nil {
			return bad, scanErr
		}
		if !isDurable {
			last := &bad[len(bad)-1]
			last.to, last.torn = size, true
			return bad, nil
		}
		at = next
	}
	return bad, nil
}

// durableBehind tells whether what lies behind an offset proves that all before
// it was synced.
func (r *segmentReader) durableBehind(at int64, proven func(commit uint64) bool) (bool, error) {
	for at < r.size {
		fr, err := r.frame(at)
		switch {
		case err == nil && (fr.first || proven(fr.commit)):
			return true, nil
		case err == nil:
			at += fr.size()
		case !errors.Is(err, errFrame):
			return false, err
		default:
			if at, err = r.scan(at + 1); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// firstOfGroups returns the first frame of a segment that begins a group, nil when
// there is none: all commits of earlier segments that count are lower.
func (r *segmentReader) firstOfGroups() (*frame, error) {
	for at := int64(len(segmentMagic)); at < r.size; {
		fr, err := r.frame(at)
		switch {
		case err == nil && fr.first:
			return fr, nil
		case err == nil:
			at += fr.size()
		case !errors.Is(err, errFrame):
			return nil, err
		default:
			if at, err = r.scan(at + 1); err != nil {
				return nil, err
			}
		}
	}
	return nil, nil //nolint:nilnil // as the comment says
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
// more: all their batches are sealed, and two later ones have a durable
// snapshot. Two, because should the newest be damaged, the frames behind the
// other one say the same.
func (b *Buffer) removeSegments() error {
	b.removing.Lock()
	defer b.removing.Unlock()
	b.mu.Lock()
	keep, snapshots := 0, 0
	for i, s := range slices.Backward(b.segments) {
		if s.durable {
			if snapshots++; snapshots == 2 {
				keep = i
				break
			}
		}
	}
	n := 0
	for n < keep && b.segments[n].unsealed == 0 {
		n++
	}
	gone := b.segments[:n]
	b.segments = b.segments[n:]
	b.mu.Unlock()
	for _, s := range gone {
		if err := b.fs.Remove(b.segmentPath(s.id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove segment %s: %w", segmentName(s.id), err)
		}
		// One by one, so that no power cut leaves an older segment without a newer one.
		if err := b.fs.SyncDir(filepath.Dir(b.segmentPath(s.id))); err != nil {
			return fmt.Errorf("remove segment %s: %w", segmentName(s.id), err)
		}
		b.mu.Lock()
		b.released(s.size)
		b.mu.Unlock()
	}
	return nil
}
