package syslog

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"net"
	"time"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/internal/pushed"
	"github.com/auditail/auditail/internal/memory"
)

// What ends a stream.
var (
	errEnd     = errors.New("the sender closed the connection")
	errFraming = errors.New("what came is no octet count of RFC 6587, section 3.4.1, although the connection began with one")
	errTorn    = errors.New("a message ended before the count of its octets; its part was kept")
)

// pacedConn ends reads that take too long.
type pacedConn struct {
	net.Conn
	ctx   context.Context //nolint:containedctx // of the connection
	idle  time.Duration
	frame time.Duration
	drain time.Duration

	frameBy time.Time // zero between two messages
	drainBy time.Time // zero before ctx ended
}

// begin tells that the next message begins, of which some bytes are there.
func (c *pacedConn) begin(buffered bool) {
	c.frameBy = time.Time{}
	if buffered {
		c.frameBy = time.Now().Add(c.frame)
	}
}

// Read implements io.Reader.
func (c *pacedConn) Read(b []byte) (int, error) {
	until := c.frameBy
	if until.IsZero() {
		until = time.Now().Add(c.idle)
	}
	if err := c.SetReadDeadline(until); err != nil {
		return 0, err
	}
	// Only now: wake may have set its deadline before ours.
	if c.ctx.Err() != nil {
		if c.drainBy.IsZero() {
			c.drainBy = time.Now().Add(c.drain)
		}
		if err := c.SetReadDeadline(c.drainBy); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(b)
	if n > 0 && c.frameBy.IsZero() {
		c.frameBy = time.Now().Add(c.frame)
	}
	return n, err
}

// wake shortens the read that runs when ctx ends. An error shows in that read.
func (c *pacedConn) wake() { _ = c.SetReadDeadline(time.Now().Add(c.drain)) }

// connBuffer holds what one read brought. A longer message claims memory.
const connBuffer = 32 << 10

// maxCount is the most digits of an octet count: a message of just below 1 GiB
// is measured, of more it is no count.
const maxCount = 9

// framing is how messages are delimited on a connection.
type framing int

const (
	unknown framing = iota
	counted         // RFC 6587, section 3.4.1: octet counting
	lines           // RFC 6587, section 3.4.2: each ends with LF
)

// frame is one message without its framing. It is valid until release.
type frame struct {
	data []byte
	cut  *inputs.Cut
	long bool // memory is claimed for it
}

// stream cuts a connection into messages. How they are delimited is seen from
// the first bytes and stays so: a count, a space and a priority, or else lines.
type stream struct {
	conn    *pacedConn // nil where time does not count
	r       *bufio.Reader
	maxLine int64
	memory  *inputs.Memory
	claim   *memory.Claim // of a message that is longer than the buffer; nil: there is none
	framing framing
	ended   error         // what comes after the messages
	lines   []pushed.Line // for reuse
}

func newStream(from io.Reader, size int, maxLine int64, room *inputs.Memory) *stream {
	conn, _ := from.(*pacedConn)
	return &stream{conn: conn, r: bufio.NewReaderSize(from, size), maxLine: maxLine, memory: room}
}

// next returns the next message. After an error there is none.
func (s *stream) next(ctx context.Context) (frame, error) {
	if s.ended != nil {
		return frame{}, s.ended
	}
	if s.conn != nil {
		s.conn.begin(s.r.Buffered() > 0)
	}
	if s.framing == unknown {
		s.framing = s.detect()
	}
	if s.framing == counted {
		return s.nextCounted(ctx)
	}
	return s.nextLine(ctx)
}

// detect looks at the first bytes. An error shows when they are read.
func (s *stream) detect() framing {
	for n := 1; ; n++ {
		head, err := s.r.Peek(n)
		if err != nil {
			return lines
		}
		switch c := head[n-1]; {
		case n == 1 && c == '0', n > maxCount+1:
			return lines
		case c >= '0' && c <= '9':
			continue
		case c == ' ' && n > 1:
			if head, err = s.r.Peek(n + 1); err == nil && head[n] == '<' {
				return counted
			}
			return lines
		default:
			return lines
		}
	}
}

// ready tells whether a whole message is there without reading.
func (s *stream) ready() bool {
	if s.ended != nil {
		return false
	}
	there, err := s.r.Peek(s.r.Buffered())
	if err != nil {
		return false
	}
	if s.framing == lines {
		return bytes.IndexByte(there, '\n') >= 0
	}
	count, digits := octets(there)
	return digits > 0 && int64(len(there)-digits-1) >= count
}

// octets reads a count and the space behind it: digits is how many it has, 0
// when there is no count, or not all of it.
func octets(text []byte) (count int64, digits int) {
	for digits < len(text) && digits <= maxCount && text[digits] >= '0' && text[digits] <= '9' {
		count = 10*count + int64(text[digits]-'0')
		digits++
	}
	if digits == 0 || digits > maxCount || digits == len(text) || text[digits] != ' ' || text[0] == '0' {
		return 0, 0
	}
	return count, digits
}

func (s *stream) nextCounted(ctx context.Context) (frame, error) {
	count, err := s.count()
	if err != nil {
		s.end(err)
		return frame{}, s.ended
	}
	if count > int64(s.r.Size()) {
		return s.longCounted(ctx, count)
	}
	data, err := s.r.Peek(int(count))
	if err != nil {
		s.end(errors.Join(errTorn, err))
		if len(data) == 0 {
			return frame{}, s.ended
		}
	}
	if _, err := s.r.Discard(len(data)); err != nil {
		s.end(err)
		return frame{}, s.ended
	}
	return s.limit(data), nil
}

// count takes a count and the space behind it.
func (s *stream) count() (int64, error) {
	for n := 1; ; n++ {
		head, err := s.r.Peek(n)
		switch {
		case err != nil && n > 1:
			return 0, errTorn
		case err != nil:
			return 0, err
		}
		if c := head[n-1]; c >= '0' && c <= '9' && n <= maxCount {
			continue
		}
		count, digits := octets(head)
		if digits == 0 {
			return 0, errFraming
		}
		_, err = s.r.Discard(n)
		return count, err
	}
}

func (s *stream) nextLine(ctx context.Context) (frame, error) {
	data, err := s.r.ReadSlice('\n')
	switch {
	case err == nil:
		return s.limit(bytes.TrimSuffix(data[:len(data)-1], []byte{'\r'})), nil
	case errors.Is(err, bufio.ErrBufferFull):
		return s.longLine(ctx, data)
	case len(data) == 0:
		s.end(err)
		return frame{}, s.ended
	}
	s.end(err) // after this last message, which has no line end
	return s.limit(data), nil
}

// end notes what comes after the messages.
func (s *stream) end(err error) {
	if errors.Is(err, io.EOF) && !errors.Is(err, errTorn) {
		err = errEnd
	}
	s.ended = err
}

// limit keeps the head of a message that is there as a whole.
func (s *stream) limit(data []byte) frame {
	if int64(len(data)) <= s.maxLine {
		return frame{data: data}
	}
	return frame{data: data[:s.maxLine], cut: &inputs.Cut{Length: int64(len(data)), SHA256: sha256.Sum256(data)}}
}

// take waits for the memory of a message that is longer than the buffer.
func (s *stream) take(ctx context.Context) error {
	claim, err := s.memory.Long.Take(ctx, s.memory.Long.Size())
	if err != nil {
		s.end(pushed.ErrStopped)
		return s.ended
	}
	s.claim = claim
	return nil
}

// release gives the memory back. The messages returned so far are no more valid.
func (s *stream) release() {
	if s.claim != nil {
		s.claim.Release()
		s.claim = nil
	}
}

func (s *stream) longCounted(ctx context.Context, count int64) (frame, error) {
	if err := s.take(ctx); err != nil {
		return frame{}, err
	}
	m := newMeasure(s.maxLine)
	left := io.LimitedReader{R: s.r, N: count}
	if _, err := io.Copy(m, &left); err != nil {
		s.end(errors.Join(errTorn, err))
	} else if left.N > 0 {
		s.end(errTorn)
	}
	return m.frame(), nil
}

// longLine goes on with a line that begins with data. A CR before the line end
// belongs to it.
func (s *stream) longLine(ctx context.Context, data []byte) (frame, error) {
	if err := s.take(ctx); err != nil {
		return frame{}, err
	}
	m := newMeasure(s.maxLine)
	cr := false
	for {
		if cr {
			m.add([]byte{'\r'})
		}
		data, cr = bytes.CutSuffix(data, []byte{'\r'})
		m.add(data)
		var err error
		data, err = s.r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			s.end(err)
		default:
			data = data[:len(data)-1]
		}
		if cr && (err != nil || len(data) > 0) {
			m.add([]byte{'\r'})
		}
		if err == nil {
			data = bytes.TrimSuffix(data, []byte{'\r'})
		}
		m.add(data)
		return m.frame(), nil
	}
}

// measure keeps the head of a long message, its length and digest.
type measure struct {
	head   []byte
	most   int64
	length int64
	sum    hash.Hash
}

func newMeasure(most int64) *measure { return &measure{most: most, sum: sha256.New()} }

func (m *measure) add(part []byte) {
	m.sum.Write(part)
	m.length += int64(len(part))
	m.head = append(m.head, part[:min(int64(len(part)), m.most-int64(len(m.head)))]...)
}

// Write implements io.Writer.
func (m *measure) Write(part []byte) (int, error) {
	m.add(part)
	return len(part), nil
}

func (m *measure) frame() frame {
	f := frame{data: m.head, long: true}
	if m.length > m.most {
		f.cut = &inputs.Cut{Length: m.length}
		m.sum.Sum(f.cut.SHA256[:0])
	}
	return f
}
