package file

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"

	"github.com/auditail/auditail/inputs"
)

const (
	// share is what one file may fill of a chunk while others wait.
	share = 256 << 10
	// leastRoom is the room below which a chunk counts as full.
	leastRoom = 64 << 10
	// longStep is how much of an over-long line is measured before others get a turn.
	longStep = 16 << 20
)

// gather fills the chunk from the files that have something to read, in turn.
func (f *follower) gather(ctx context.Context) {
	for turns := len(f.queue); turns > 0 && len(f.queue) > 0; turns-- {
		if f.long && len(f.chunk.Lines) > 0 {
			return // a long line has its chunk to itself
		}
		if len(f.chunk.Lines) >= f.limits.maxLines || f.buffer != nil && cap(f.buffer)-len(f.buffer) < leastRoom {
			return
		}
		g := f.queue[0]
		f.queue[0] = nil
		f.queue = f.queue[1:]
		g.queued = false
		if g.ended {
			continue
		}
		full := f.take(ctx, g)
		f.account(g)
		if full {
			f.queue = append([]*generation{g}, f.queue...)
			g.queued = true
			return
		}
		if f.now().Before(g.checkAt) {
			continue // failing: refresh queues it again
		}
		f.enqueue(g)
		if g.drained() && f.open > f.limits.maxOpen && g.attached {
			f.closeFile(g)
		}
	}
}

// take reads once from a generation. It returns true when the line at its
// place does not fit into what is left of the chunk: ship, then come back.
func (f *follower) take(ctx context.Context, g *generation) (full bool) {
	if g.file == nil && !f.openFile(ctx, g) {
		return false
	}
	f.prepareRoom()
	if g.long != nil {
		return f.takeLong(ctx, g)
	}
	if f.framer != nil {
		return f.takeFramed(ctx, g)
	}
	want := cap(f.buffer) - len(f.buffer)
	if len(f.queue) > 0 {
		want = min(want, share)
	}
	for {
		left := g.end() - g.place()
		data := f.buffer[len(f.buffer) : len(f.buffer)+int(min(int64(want), left))]
		n, ok := f.read(ctx, g, data, g.place())
		if !ok {
			return false
		}
		data = data[:n]
		last := bytes.LastIndexByte(data, '\n')
		if last >= 0 {
			f.frame(g, data[:last+1])
			return false
		}
		if int64(n) == left || n == 0 {
			return f.takeRest(g, data, left)
		}
		// The line is longer than what was read of it.
		switch room := cap(f.buffer) - len(f.buffer); {
		case int64(n) >= f.config.MaxLine+2:
			g.long = &longLine{sum: sha256.New()}
			return f.takeLong(ctx, g)
		case want < room:
			want = room
		case len(f.buffer) > 0:
			return true
		case !f.roomForLong():
			return true
		default:
			want = int(min(int64(2*cap(f.buffer)), f.config.MaxLine+2+leastRoom))
			f.buffer = make([]byte, 0, want)
		}
	}
}

// takeRest deals with what stands behind the last line end of a file.
func (f *follower) takeRest(g *generation, data []byte, left int64) (full bool) {
	if int64(len(data)) < left {
		// Shorter than it was a moment ago: the next poll finds out why.
		g.checkAt = f.now().Add(f.limits.poll)
		return false
	}
	if !g.flush || left == 0 {
		g.looked = g.place() + left
		return false
	}
	f.emit(g, data, g.offset, int64(len(data)), 0)
	f.advance(g, data, 1)
	g.flush = f.scan
	return false
}

// read fills data from a place in a generation's file, and makes sure that it
// is still the generation's: when the bytes before the place are the old ones
// after the read, no truncation came between, whatever was written since.
func (f *follower) read(ctx context.Context, g *generation, data []byte, from int64) (int, bool) {
	n, err := g.file.ReadAt(data, from)
	var same bool
	if err == nil || errors.Is(err, io.EOF) {
		same, err = g.begins(g.file, f.scratch[:])
	}
	if err == nil && same {
		same, err = g.anchor.matches(g.file, g.place()-g.anchor.length, f.scratch[:])
	}
	if err != nil {
		f.readFailed(ctx, g, err)
		return 0, false
	}
	if !same {
		f.replaced(ctx, g, inputs.CauseReplaced)
		return 0, false
	}
	g.sure = g.size
	return n, true
}

// frame cuts data, which ends with a line end, into lines. The lines alias data.
func (f *follower) frame(g *generation, data []byte) {
	consumed, lines := 0, int64(0)
	for consumed < len(data) && len(f.chunk.Lines) < f.limits.maxLines {
		size := bytes.IndexByte(data[consumed:], '\n') + 1
		content := data[consumed : consumed+size-1]
		if len(content) > 0 && content[len(content)-1] == '\r' {
			content = content[:len(content)-1]
		}
		f.emit(g, content, g.offset+int64(consumed), int64(size), lines)
		consumed += size
		lines++
	}
	f.advance(g, data[:consumed], lines)
}

// emit adds a line of a read to the chunk; nth is its number within the read.
func (f *follower) emit(g *generation, content []byte, offset, size, nth int64) {
	if nth == 0 {
		f.seen = f.now()
	}
	var cut *inputs.Cut
	if int64(len(content)) > f.config.MaxLine {
		cut = &inputs.Cut{Length: int64(len(content)), SHA256: sha256.Sum256(content)}
		content = content[:f.config.MaxLine]
	}
	f.chunk.Lines = append(f.chunk.Lines, inputs.Line{
		Source: f.config.Name, Path: g.path, Generation: g.id,
		Offset: offset, Size: size, Data: content, Seen: f.seen, NotBefore: g.since, Cut: cut,
	})
}

// advance moves a generation behind data, the end of the buffer, whose lines
// are in the chunk. f.scratch still holds the bytes of the old anchor.
func (f *follower) advance(g *generation, data []byte, lines int64) {
	f.buffer = f.buffer[:len(f.buffer)+len(data)]
	g.remember()
	if len(data) >= sampleSize {
		g.anchor = sampleOf(data[len(data)-sampleSize:])
	} else {
		kept := min(int(g.anchor.length), sampleSize-len(data))
		copy(f.scratch[:kept], f.scratch[int(g.anchor.length)-kept:g.anchor.length])
		copy(f.scratch[kept:], data)
		g.anchor = sampleOf(f.scratch[:kept+len(data)])
	}
	f.moved(g, int64(len(data)), lines)
}

// moved counts bytes of a generation as handed over.
func (f *follower) moved(g *generation, size, lines int64) {
	f.chunk.Ranges = append(f.chunk.Ranges, inputs.Range{
		Generation: g.id, Unit: inputs.UnitBytes, From: g.offset, To: g.offset + size, Lines: lines,
	})
	g.offset += size
	g.looked = g.place()
	g.over = false
	f.touch(g)
}

// takeLong measures a line beyond max_line and hands over its head when its
// end is found.
func (f *follower) takeLong(ctx context.Context, g *generation) (full bool) {
	l := g.long
	for measured := int64(0); l.size == 0; {
		place := g.place() + l.scanned
		left := g.end() - place
		if left <= 0 {
			if g.flush && l.scanned > 0 {
				l.end(0)
				break
			}
			return false
		}
		if measured >= longStep {
			return false
		}
		free := f.buffer[len(f.buffer):cap(f.buffer)]
		data := free[:min(int64(len(free)), left)]
		n, ok := f.read(ctx, g, data, place)
		if !ok || n == 0 {
			return false
		}
		data = l.whole(data[:n], place, g.flush && int64(n) == left)
		if len(data) == 0 {
			g.looked = place + left
			return false
		}
		measured += int64(len(data))
		if end := l.encoding.LineEnd(data, place); end >= 0 {
			l.feed(data[:end-l.encoding.FeedSize()])
			l.end(l.encoding.FeedSize())
		} else {
			l.feed(data)
		}
	}
	keep := int(min(f.config.MaxLine, l.length))
	if cap(f.buffer)-len(f.buffer) < keep {
		if len(f.buffer) > 0 || len(f.chunk.Lines) > 0 {
			return true
		}
		if !f.roomForLong() {
			return true
		}
		f.buffer = make([]byte, 0, keep)
	}
	return f.handOverLong(ctx, g, keep)
}

// handOverLong reads the head of a measured line again and moves behind it.
func (f *follower) handOverLong(ctx context.Context, g *generation, keep int) (full bool) {
	l := g.long
	place := g.place() + l.size
	before := min(place, sampleSize)
	var tail [sampleSize]byte
	n, err := g.file.ReadAt(tail[:before], place-before)
	if err != nil && !errors.Is(err, io.EOF) {
		f.readFailed(ctx, g, err)
		return false
	}
	head := f.buffer[len(f.buffer) : len(f.buffer)+keep]
	got, ok := f.read(ctx, g, head, g.place())
	if !ok {
		return false
	}
	if got < keep || int64(n) < before {
		f.replaced(ctx, g, inputs.CauseTruncated)
		return false
	}
	var cut *inputs.Cut
	if l.length > int64(keep) {
		cut = &inputs.Cut{Length: l.length, SHA256: [32]byte(l.sum.Sum(nil))}
	}
	text := head
	if f.framer != nil {
		text = f.framer.Head(g.form, head, g.place())
	}
	f.seen = f.now()
	f.chunk.Lines = append(f.chunk.Lines, inputs.Line{
		Source: f.config.Name, Path: g.path, Generation: g.id,
		Offset: g.offset, Size: l.size, Data: text, Seen: f.seen, NotBefore: g.since, Cut: cut,
	})
	f.buffer = f.buffer[:len(f.buffer)+keep]
	g.remember()
	g.anchor = sampleOf(tail[:before])
	g.long, g.flush = nil, f.scan
	f.moved(g, l.size, 1)
	return false
}

// readFailed leaves a file alone for a while. A descriptor of a file that has
// a name is given up: the next try opens it anew (NFS: stale handle).
func (f *follower) readFailed(ctx context.Context, g *generation, err error) {
	f.noteOnce(ctx, noteRead, g.path, err)
	g.checkAt = f.now().Add(f.limits.retry)
	f.fails(g.path, err)
	if g.links > 0 && g.name != "" && !f.scan {
		f.closeFile(g)
	}
}
