package file

import (
	"bytes"
	"errors"
	"hash"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"time"

	"github.com/auditail/auditail/inputs/internal/framing"
)

// generation is one content that is followed: a file from its first byte to
// the day it is gone, whatever it is called by then. When a file is truncated
// the old generation ends and another begins on the same inode.
//
// Two coordinates: an offset counts the bytes of the generation, a place those
// of the file it is read from now. They differ by shift, which is 0 unless the
// generation lives on in a copy that ends before the bytes already read.
type generation struct {
	id    string
	path  string // first name it was seen under: what lines and gaps carry
	real  string // path with symbolic links resolved: beside it lie the rotated files
	name  string // where it was found last
	ident fileID // what the file system calls it
	file  source

	offset   int64 // of the first byte not handed over
	shift    int64
	looked   int64 // no line ends between place and here
	size     int64 // newest seen
	sure     int64 // newest size that was certainly of this content
	modified int64
	links    uint64
	limit    int64  // read no further; math.MaxInt64 but in Scan
	head     sample // of the first bytes of the file
	anchor   sample // of the bytes before place
	marks    []mark // earlier anchors, thinned out; oldest first
	long     *longLine
	loss     int64 // bytes destroyed behind the end of a copy; 0: maybe some; -1: none

	form     framing.File                // what its lines are; undecided without a framer
	waits    [framing.Streams]joinedWait // lines that may go on
	expireAt time.Time                   // when the next of them is waited for long enough; zero: none is open
	due      bool                        // one of them is

	attached  bool // one of the globs leads to it
	over      bool // was rotated away, read to its end, and quiet since
	committed bool // a position was handed over
	touched   bool // takes part in the chunk that is being gathered
	ended     bool
	flush     bool // an unterminated rest is a line now
	queued    bool
	hot       bool
	resumed   bool   // known from a position only, not found yet
	mismatch  string // what its inode holds now is other content: the cause of a gap

	announced bool // an event led to it, or none ever will

	round   uint64    // of the last look that found it
	changed time.Time // when size or modification time changed last
	since   time.Time // when it was last seen read to its end: what comes behind was written later
	left    time.Time // when it was first seen without the path it is followed under
	missing time.Time // since when it is not found
	checkAt time.Time // when to look after a parked or failing file again
	unread  int64     // what it adds to the lag
}

// mark is an anchor at an earlier place.
type mark struct {
	place  int64
	anchor sample
}

// maxMarks bounds the earlier anchors of a generation. They serve to recognise
// a copy that ends before the place that was reached meanwhile.
const maxMarks = 32

// longLine is a line beyond max_line that is being measured. Its head is read
// again when its end is found, so a hundred of them cost no more than one.
type longLine struct {
	encoding framing.Encoding
	scanned  int64 // bytes of the line seen, a held back CR included
	length   int64 // bytes hashed
	sum      hash.Hash
	cr       bool  // the last character seen is a CR, which may belong to the terminator
	size     int64 // of the whole line, set when its end was found
}

// whole returns data without a last byte that is but half a character. What
// stands in the file at place; final: nothing comes behind it.
func (l *longLine) whole(data []byte, place int64, final bool) []byte {
	if l.encoding.FeedSize() == 1 || final || (place+int64(len(data)))%2 == 0 {
		return data
	}
	return data[:len(data)-1]
}

func (l *longLine) feed(data []byte) {
	if len(data) == 0 {
		return
	}
	l.scanned += int64(len(data))
	l.release()
	cr := l.encoding.CarriageReturn()
	l.cr = bytes.HasSuffix(data, []byte(cr))
	if l.cr {
		data = data[:len(data)-len(cr)]
	}
	l.sum.Write(data)
	l.length += int64(len(data))
}

// release hashes a CR that was held back.
func (l *longLine) release() {
	if l.cr {
		cr := l.encoding.CarriageReturn()
		l.sum.Write([]byte(cr))
		l.length += int64(len(cr))
	}
	l.cr = false
}

// end closes the measure; a CR before the LF belongs to the terminator.
func (l *longLine) end(terminator int) {
	if terminator == 0 {
		l.release()
	}
	l.cr = false
	l.size = l.scanned + int64(terminator)
}

// place is the position in the file it is read from.
func (g *generation) place() int64 { return g.offset - g.shift }

// end is how far the file is to be read.
func (g *generation) end() int64 { return min(g.size, g.limit) }

// ready tells whether reading can bring something new.
func (g *generation) ready() bool {
	if g.ended {
		return false
	}
	place := g.place()
	scanned := max(place, g.looked)
	if g.long != nil {
		scanned = max(place+g.long.scanned, g.looked)
		if g.long.size > 0 {
			return true
		}
	}
	return g.end() > scanned || (g.flush || g.due) && g.end() > place
}

// changedFrom tells whether a status of the file under g's name is news. What
// is compressed has another size than its file.
func (g *generation) changedFrom(st status) bool {
	_, packed := plainName(g.name)
	return st.modified != g.modified || st.size != g.size && !packed
}

// precedes tells whether a file beside g's, one of those related to it, was
// written after it, by the same scheme of rotation. What is compressed is as
// young as its original only by its name and its time of change.
func (g *generation) precedes(m found, related []*sibling) bool {
	base := filepath.Base(g.real)
	r, current := rotationOf(base, filepath.Base(m.name)), rotationOf(base, filepath.Base(g.name))
	if !r.follows(current) {
		return false
	}
	_, packed := plainName(m.name)
	lower := r.number() >= 0 && r.number() < current.number()
	switch {
	case packed || m.st.id.born == 0 || g.ident.born == 0:
		return m.st.modified >= g.modified || lower // time stamps are coarser than rotations can be
	case m.st.id.born == g.ident.born:
		return m.st.modified > g.modified || lower
	default:
		return m.st.id.born > g.ident.born || lower && shifting(base, related)
	}
}

// shifting tells whether the numbers of rotated files grow with their age, as
// logrotate's do. It is asked when a lower number was born before a higher
// one: because they count up, or because the clock was set back.
func shifting(base string, related []*sibling) bool {
	born := map[int]int64{}
	for _, m := range related {
		if _, packed := plainName(m.name); !packed {
			born[rotationOf(base, filepath.Base(m.name)).number()] = m.st.id.born
		}
	}
	delete(born, -1)
	numbers := slices.Sorted(maps.Keys(born))
	older := 0
	for i := 1; i < len(numbers); i++ {
		if born[numbers[i]] < born[numbers[i-1]] {
			older++
		} else {
			older--
		}
	}
	return older > 0
}

// drained tells that every complete line was handed over.
func (g *generation) drained() bool { return !g.ready() }

// nameless tells that no name leads to its file any more.
func (g *generation) nameless() bool {
	return !g.ended && (g.file != nil && g.links == 0 || g.file == nil && !g.missing.IsZero())
}

// quiet is for how long a file that was rotated away has not changed.
func (g *generation) quiet(now time.Time) time.Duration {
	if g.left.IsZero() {
		return 0
	}
	return min(now.Sub(g.changed), now.Sub(g.left))
}

// token is the position to commit.
func (g *generation) token() ([]byte, error) {
	t := token{
		Path: g.path, Real: g.real, Name: g.name, Device: g.ident.device, Inode: g.ident.inode, Born: g.ident.born,
		Offset: g.offset, Shift: g.shift, Size: g.sure, Modified: g.modified,
		Head: g.head, Anchor: g.anchor, Over: g.over,
	}
	if g.loss >= 0 {
		t.Loss = &g.loss
	}
	return t.encode()
}

// resumedGeneration is what a committed position tells.
func resumedGeneration(id string, data []byte) (*generation, error) {
	t, err := decodeToken(data)
	if err != nil {
		return nil, err
	}
	g := &generation{
		id: id, path: t.Path, real: t.Real, name: t.Name,
		ident: fileID{device: t.Device, inode: t.Inode, born: t.Born}, offset: t.Offset, shift: t.Shift,
		size: t.Size, sure: t.Size, modified: t.Modified, head: t.Head, anchor: t.Anchor, over: t.Over,
		loss: -1, committed: true, resumed: true, announced: true, limit: math.MaxInt64,
	}
	g.looked = g.place()
	if t.Loss != nil {
		g.loss = *t.Loss
	}
	return g, nil
}

// holds tells whether r holds the content of g up to its place.
func (g *generation) holds(r io.ReaderAt, scratch []byte) (bool, error) {
	same, err := g.head.matches(r, 0, scratch)
	if !same || err != nil {
		return false, err
	}
	return g.anchor.matches(r, g.place()-g.anchor.length, scratch)
}

// copied tells whether r, size bytes long, is a copy of g's file, and at which
// place reading goes on in it: at g's own, or at the end of a copy that was
// made before g got where it is.
func (g *generation) copied(r io.ReaderAt, size int64, scratch []byte) (place int64, same bool, err error) {
	if g.head.length == 0 || size == 0 {
		return 0, false, nil
	}
	if size >= g.place() {
		same, err = g.holds(r, scratch)
		return g.place(), same, err
	}
	for _, m := range slices.Backward(g.marks) {
		if m.place <= size {
			if same, err = g.head.matches(r, 0, scratch); !same || err != nil {
				return 0, false, err
			}
			same, err = m.anchor.matches(r, m.place-m.anchor.length, scratch)
			return size, same, err
		}
	}
	if g.head.length < sampleSize {
		return 0, false, nil
	}
	same, err = g.head.matches(r, 0, scratch)
	return size, same, err
}

// remember keeps the anchor before it is replaced by a newer one.
func (g *generation) remember() {
	if g.anchor.length == 0 {
		return
	}
	if len(g.marks) == maxMarks {
		kept := g.marks[:0]
		for i, m := range g.marks {
			if i%2 == 0 || i >= maxMarks*3/4 {
				kept = append(kept, m)
			}
		}
		g.marks = kept
	}
	g.marks = append(g.marks, mark{place: g.place(), anchor: g.anchor})
}

// begins tells whether r still begins with the content of g. It is asked while
// little of g was read: then the bytes before the place say little or nothing.
// While the file is shorter than a sample, the sample of its head grows.
func (g *generation) begins(r io.ReaderAt, scratch []byte) (bool, error) {
	if g.head.length == sampleSize && g.place() >= sampleSize {
		return true, nil
	}
	n, err := r.ReadAt(scratch[:sampleSize], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if int64(n) < g.head.length || sampleOf(scratch[:g.head.length]).sum != g.head.sum && g.head.length > 0 {
		return false, nil
	}
	if int64(n) > g.head.length {
		g.head = sampleOf(scratch[:n])
	}
	return true, nil
}
