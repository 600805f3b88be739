package archive

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/auditail/auditail/seal"
)

const (
	// maxWindow is the most memory a zstd frame may ask for: what RFC 8878,
	// section 3.1.1.1.2 recommends that every decoder supports.
	maxWindow = 8 << 20
	// maxRecord is the longest record line that is taken into memory. The format
	// allows 16 MiB (SCHEMA, rule 7).
	maxRecord = 16 << 20
	// slack is how much larger a payload may be than twice its content: what frames
	// and skippable frames take.
	slack = 1 << 20
	// readSize is how much is decompressed at a time.
	readSize = 256 << 10
	// maxShared is the longest part of a line that every checker may hold at a time.
	maxShared = 1 << 20
)

// What CheckPayload finds wrong, for errors.Is. One error may be several of them.
var (
	// ErrPayloadDigest: the file is not the one that was sealed.
	ErrPayloadDigest = errors.New("the file's SHA-256 differs from the manifest")
	// ErrPayloadEncoding: the file does not decompress to its end.
	ErrPayloadEncoding = errors.New("the zstd data is damaged")
	// ErrPayloadSize: it decompresses to more or fewer bytes than sealed.
	ErrPayloadSize = errors.New("the uncompressed size differs from the manifest")
	// ErrPayloadRecords: it holds more or fewer records than sealed.
	ErrPayloadRecords = errors.New("the number of records differs from the manifest")
	// ErrPayloadRoot: its records are not those that were sealed.
	ErrPayloadRoot = errors.New("the root over the records differs from the manifest")
	// ErrPayloadLine: it is not lines: one is empty, too long or without LF.
	ErrPayloadLine = errors.New("the payload is not a sequence of record lines")
)

// errReadPayload: the fault is the reader's.
var errReadPayload = errors.New("read payload")

// PayloadOptions are what a caller of CheckPayload may want beside the check.
type PayloadOptions struct {
	// Record, when set, is called for every record line (without LF) in order,
	// before anything about the payload is known to be true. line is valid until
	// it returns.
	Record func(index uint64, line []byte)
	// Large, when set, is held while a line of more than maxShared bytes is in
	// memory, so that several checkers do not hold such a line at a time.
	Large sync.Locker
}

// PayloadSummary is what CheckPayload saw.
type PayloadSummary struct {
	Bytes   int64 // of the file
	Plain   int64 // uncompressed; at most one more than the manifest says
	Records uint64
	// Proven tells that the records are those that were sealed: their root,
	// number and size are the manifest's, whatever else is wrong with the file.
	Proven bool
}

// PayloadChecker checks payloads one after the other and keeps its buffers in
// between. It is not safe for concurrent use. Close frees its memory.
type PayloadChecker struct {
	decoder *zstd.Decoder
	buffer  []byte
	part    []byte
	walker  walker // of the caller's Record
}

// NewPayloadChecker returns a checker.
func NewPayloadChecker() (*PayloadChecker, error) {
	// Concurrency 1 decodes in the goroutine of the caller: payloads are checked
	// in parallel, each by one.
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(maxWindow))
	if err != nil {
		return nil, fmt.Errorf("make zstd decoder: %w", err)
	}
	return &PayloadChecker{decoder: decoder, buffer: make([]byte, readSize)}, nil
}

// Close frees the decoder.
func (c *PayloadChecker) Close() { c.decoder.Close() }

// CheckPayload checks one payload against its manifest: see PayloadChecker.Check.
func CheckPayload(r io.Reader, m *seal.Manifest, o PayloadOptions) (PayloadSummary, error) {
	c, err := NewPayloadChecker()
	if err != nil {
		return PayloadSummary{}, err
	}
	defer c.Close()
	return c.Check(r, m, o)
}

// Check reads the payload file of a manifest to its end and checks digest,
// uncompressed size, number of records and root. It never holds more than one
// record and one zstd window in memory, and stops decompressing one byte behind
// the size that the manifest gives, so a bomb costs nothing. Problems come
// joined; an error that errors.Is none of the ErrPayload ones is the reader's.
func (c *PayloadChecker) Check(r io.Reader, m *seal.Manifest, o PayloadOptions) (PayloadSummary, error) {
	// A file without an end, of holes that cost nobody any space, must not keep the
	// check busy for days.
	most := saturating(2*uint64(max(m.Plain, 0)), slack)
	file := &hashingReader{r: io.LimitReader(r, int64(min(most, math.MaxInt64-1))+1), hash: sha256.New()}
	lines := lineReader{record: o.Record, plain: m.Plain, large: o.Large, part: c.part[:0]}
	defer func() {
		lines.release()
		if cap(lines.part) <= maxShared {
			c.part = lines.part
		}
	}()
	plain, damage := c.read(file, m.Plain, &lines)
	if _, err := io.Copy(io.Discard, file); err != nil && file.err == nil { // the digest is that of the whole file
		file.err = err
	}
	if file.err != nil {
		return PayloadSummary{}, fmt.Errorf("%w: %w", errReadPayload, file.err)
	}
	s := PayloadSummary{Bytes: file.n, Plain: plain, Records: lines.tree.Size()}
	var problems []error
	if uint64(file.n) > most {
		return s, fmt.Errorf("%w: the file has more than %d bytes, too many for %d bytes of records", ErrPayloadSize, most, m.Plain)
	}
	if got := seal.Digest(file.hash.Sum(nil)); got != m.Payload {
		problems = append(problems, fmt.Errorf("%w: it has %s, the manifest names %s", ErrPayloadDigest, got, m.Payload))
	}
	if damage != nil {
		return s, errors.Join(append(problems, damage)...)
	}
	want := m.RecordsTo - m.RecordsFrom
	if s.Records != want {
		problems = append(problems, fmt.Errorf("%w: it holds %d, the manifest says %d", ErrPayloadRecords, s.Records, want))
	}
	root := lines.tree.Root()
	if root != m.Root {
		problems = append(problems, fmt.Errorf("%w: it is %s, the manifest says %s", ErrPayloadRoot, root, m.Root))
	}
	s.Proven = s.Records == want && root == m.Root
	return s, errors.Join(problems...)
}

// maxUnproven is how much is read of a payload whose manifest nobody vouches for.
const maxUnproven = 4 << 30

// checkDigest compares the file with the manifest, without unpacking it.
func checkDigest(r io.Reader, m *seal.Manifest) (PayloadSummary, error) {
	hash := sha256.New()
	n, err := io.Copy(hash, io.LimitReader(r, maxUnproven))
	if err != nil {
		return PayloadSummary{}, fmt.Errorf("%w: %w", errReadPayload, err)
	}
	if got := seal.Digest(hash.Sum(nil)); got != m.Payload {
		err = errors.Join(fmt.Errorf("%w: it has %s, the manifest names %s", ErrPayloadDigest, got, m.Payload))
	}
	return PayloadSummary{Bytes: n}, err
}

// read decompresses the file and takes its lines. It returns how many bytes
// came out, and what is wrong with them.
func (c *PayloadChecker) read(file io.Reader, want int64, lines *lineReader) (plain int64, err error) {
	if err := c.decoder.Reset(file); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrPayloadEncoding, err)
	}
	limited := io.LimitReader(c.decoder, want+1)
	for {
		n, err := limited.Read(c.buffer)
		plain += int64(n)
		if plain > want {
			return plain, fmt.Errorf("%w: it has more than the %d bytes that the manifest says", ErrPayloadSize, want)
		}
		if err := lines.take(c.buffer[:n]); err != nil {
			return plain, err
		}
		switch {
		case errors.Is(err, io.EOF):
			if plain != want {
				return plain, fmt.Errorf("%w: it has %d bytes, the manifest says %d", ErrPayloadSize, plain, want)
			}
			return plain, lines.end()
		case err != nil:
			return plain, fmt.Errorf("%w after %d bytes: %w", ErrPayloadEncoding, plain, err)
		}
	}
}

// hashingReader hashes what is read through it, and keeps the error of the
// underlying reader apart from those of the decoder above.
type hashingReader struct {
	r    io.Reader
	hash hash.Hash
	n    int64
	err  error
}

func (h *hashingReader) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.hash.Write(p[:n])
	h.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		h.err = err
	}
	return n, err
}

// lineReader cuts a stream into lines and grows their tree.
type lineReader struct {
	record func(index uint64, line []byte)
	tree   seal.Tree
	part   []byte // the beginning of a line whose rest has not come yet
	plain  int64  // bytes of the stream, at most
	large  sync.Locker
	held   bool // large
}

// release gives large back, and the memory that it stands for.
func (l *lineReader) release() {
	if l.held {
		l.held = false
		l.part = nil
		l.large.Unlock()
	}
}

func (l *lineReader) take(chunk []byte) error {
	var line []byte
	for {
		at := bytes.IndexByte(chunk, '\n')
		if at < 0 {
			break
		}
		line, chunk = chunk[:at], chunk[at+1:]
		if len(l.part) > 0 {
			line = append(l.part, line...)
			l.part = line[:0]
		}
		if err := l.add(line); err != nil {
			return err
		}
		l.release()
	}
	if len(l.part)+len(chunk) > maxShared && l.large != nil && !l.held {
		l.large.Lock()
		l.held = true
		// At once what it can come to: growing step by step takes it twice.
		l.part = slices.Grow(l.part, max(0, int(min(l.plain, maxRecord+readSize))-len(l.part)))
	}
	l.part = append(l.part, chunk...)
	if len(l.part) > maxRecord {
		return fmt.Errorf("%w: record %d has more than %d bytes", ErrPayloadLine, l.tree.Size(), maxRecord)
	}
	return nil
}

func (l *lineReader) add(line []byte) error {
	if len(line) == 0 || len(line) > maxRecord {
		return fmt.Errorf("%w: record %d has %d bytes", ErrPayloadLine, l.tree.Size(), len(line))
	}
	if l.record != nil {
		l.record(l.tree.Size(), line)
	}
	l.tree.Add(seal.LeafHash(line))
	return nil
}

// end says whether the stream ended where a line ended.
func (l *lineReader) end() error {
	if len(l.part) > 0 {
		return fmt.Errorf("%w: the last %d bytes have no LF", ErrPayloadLine, len(l.part))
	}
	return nil
}
