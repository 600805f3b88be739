package pushed

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"

	"github.com/auditail/auditail/inputs"
)

const (
	firstRead = 64 << 10
	// idleBuffer is what an empty framer keeps of a buffer that one line made grow.
	idleBuffer = 1 << 20
)

// errNoProgress is returned for a reader that breaks the contract of io.Reader.
var errNoProgress = errors.New("a read returned neither bytes nor an error")

// Framer cuts a stream of bytes into lines, each ended by LF; a CR before it
// belongs to the end. It holds one line of MaxLine bytes at most and what one
// read brought behind it: of a longer line it keeps the head, the length and
// the SHA-256.
//
// Fill reads once; then Next returns what is whole. A Framer is not safe for
// concurrent use.
type Framer struct {
	maxLine  int64
	buf      []byte
	from, to int // unread bytes of buf
	seen     int // of them hold no line end, from `from` on
	long     *longLine
}

// longLine is an over-long line whose end was not read yet.
type longLine struct {
	head   []byte
	length int64
	sum    hash.Hash
	cr     bool // the last byte was a CR, which may belong to the end
}

// NewFramer returns a framer that hands over lines of at most maxLine bytes
// whole.
func NewFramer(maxLine int64) *Framer {
	return &Framer{maxLine: maxLine, buf: make([]byte, firstRead)}
}

// Fill reads once from r. It invalidates the lines returned so far, all of
// which must have been taken. It returns the reader's error, after the bytes
// that came with it were kept.
func (f *Framer) Fill(r io.Reader) error {
	f.makeRoom()
	n, err := r.Read(f.buf[f.to:])
	f.to += n
	if n == 0 && err == nil {
		return errNoProgress
	}
	return err
}

func (f *Framer) makeRoom() {
	switch unread := f.to - f.from; {
	case unread == 0 && len(f.buf) > idleBuffer:
		f.buf = make([]byte, firstRead)
	case len(f.buf)-unread < firstRead/4:
		// Next leaves no more than maxLine+1 bytes without a line end.
		grown := make([]byte, min(2*int64(len(f.buf)), f.maxLine+2+firstRead))
		copy(grown, f.buf[f.from:f.to])
		f.buf = grown
	default:
		copy(f.buf, f.buf[f.from:f.to])
	}
	f.to -= f.from
	f.from = 0
}

// Next returns the next whole line. Its data is valid until the next Fill.
func (f *Framer) Next() (data []byte, cut *inputs.Cut, ok bool) {
	unread := f.buf[f.from:f.to]
	end := bytes.IndexByte(unread[f.seen:], '\n')
	if end < 0 {
		f.seen = len(unread)
		if f.long != nil || int64(len(unread)) >= f.maxLine+2 {
			f.measure(unread)
			f.from, f.seen = f.to, 0
		}
		return nil, nil, false
	}
	end += f.seen
	f.from, f.seen = f.from+end+1, 0
	line := unread[:end]
	if f.long != nil {
		f.measure(line)
		data, cut = f.measured(true)
		return data, cut, true
	}
	data, cut = f.limit(bytes.TrimSuffix(line, []byte{'\r'}))
	return data, cut, true
}

// Rest returns what stands behind the last line end, for streams that are
// over, and begins anew.
func (f *Framer) Rest() (data []byte, cut *inputs.Cut, ok bool) {
	unread := f.buf[f.from:f.to]
	f.from, f.seen = f.to, 0
	switch {
	case f.long != nil:
		f.measure(unread)
		data, cut = f.measured(false)
		return data, cut, true
	case len(unread) == 0:
		return nil, nil, false
	}
	data, cut = f.limit(unread)
	return data, cut, true
}

// limit keeps the head of a line that was over-long although it is all there.
func (f *Framer) limit(line []byte) ([]byte, *inputs.Cut) {
	if int64(len(line)) <= f.maxLine {
		return line, nil
	}
	return line[:f.maxLine], &inputs.Cut{Length: int64(len(line)), SHA256: sha256.Sum256(line)}
}

// measure takes in a part of an over-long line. A CR at its end waits for what
// comes next.
func (f *Framer) measure(part []byte) {
	l := f.long
	if l == nil {
		l = &longLine{sum: sha256.New(), head: append([]byte(nil), part[:f.maxLine]...)}
		f.long = l
	}
	if len(part) == 0 {
		return
	}
	if l.cr {
		l.add([]byte{'\r'})
	}
	last := len(part) - 1
	l.cr = part[last] == '\r'
	if l.cr {
		part = part[:last]
	}
	l.add(part)
}

func (l *longLine) add(part []byte) {
	l.sum.Write(part)
	l.length += int64(len(part))
}

// measured returns the over-long line at its end.
func (f *Framer) measured(ended bool) ([]byte, *inputs.Cut) {
	l := f.long
	f.long = nil
	if l.cr && !ended {
		l.add([]byte{'\r'})
	}
	cut := &inputs.Cut{Length: l.length}
	l.sum.Sum(cut.SHA256[:0])
	return l.head, cut
}
