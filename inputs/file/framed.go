package file

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"time"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/internal/framing"
)

// joinedWait is a line of several that may go on.
type joinedWait struct {
	end   int64     // place behind its last part; 0: none
	since time.Time // when it was seen to end there
}

// takeFramed is take for lines that are decoded, taken out of a wrapper or
// joined. It reads from the same place until the framer finds a cut, and keeps
// nothing of what stands behind one: that is read again with what follows.
func (f *follower) takeFramed(ctx context.Context, g *generation) (full bool) {
	if len(f.chunk.Lines) == 0 {
		f.framer.Reset()
	}
	if g.place() > 0 && !f.decide(ctx, g) {
		return false
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
		if n < len(data) {
			// Shorter than it was a moment ago: the next poll finds out why.
			g.checkAt = f.now().Add(f.limits.poll)
			return false
		}
		whole := int64(n) == left
		framed := f.frameWindow(g, data, whole)
		switch {
		case framed.Size > 0:
			f.emitFramed(g, data[:framed.Size], framed)
			if whole && framed.Size == n {
				g.flush = f.scan
			}
			return false
		case framed.Long:
			g.long = &longLine{encoding: g.form.Encoding(), sum: sha256.New()}
			g.looked = g.place()
			return f.takeLong(ctx, g)
		case whole:
			g.looked = g.place() + left
			g.waitFor(framed.Open, f.now(), f.framer.Timeout())
			return false
		}
		// The lines are longer than what was read of them.
		switch room := cap(f.buffer) - len(f.buffer); {
		case want < room:
			want = room
		case len(f.buffer) > 0:
			return true
		case !f.roomForLong():
			return true
		default:
			want = min(2*cap(f.buffer), f.framer.WindowSize()+leastRoom)
			f.buffer = make([]byte, 0, want)
		}
	}
}

// frameWindow frames what was read from a generation's place on; whole says
// that it is all there is.
func (f *follower) frameWindow(g *generation, data []byte, whole bool) framing.Framed {
	w := framing.Window{
		Data: data, Place: g.place(), Final: g.flush && whole, MaxLines: f.limits.maxLines - len(f.chunk.Lines),
	}
	if !g.form.Decided() {
		var ok bool
		if g.form, ok = f.framer.Decide(data, w.Final); !ok {
			return framing.Framed{}
		}
	}
	if whole {
		now := f.now()
		for i, wait := range g.waits {
			if now.Sub(wait.since) >= f.framer.Timeout() {
				w.Expired[i] = wait.end
			}
		}
	}
	return f.framer.Frame(g.form, w)
}

// emitFramed adds the lines of a read to the chunk.
func (f *follower) emitFramed(g *generation, data []byte, framed framing.Framed) {
	f.seen = f.now()
	for i := range framed.Lines {
		line := &framed.Lines[i]
		f.chunk.Lines = append(f.chunk.Lines, inputs.Line{
			Source: f.config.Name, Path: g.path, Generation: g.id,
			Offset: g.offset + int64(line.Offset), Size: int64(line.Size), Data: line.Text, Seen: f.seen, NotBefore: g.since,
			Cut: line.Cut, Physical: line.Physical, Partial: line.Partial,
		})
	}
	g.expireAt, g.due = time.Time{}, false
	f.advance(g, data, framed.Physical)
}

// waitFor notes which lines may go on, and when the next of them was waited
// for long enough.
func (g *generation) waitFor(open [framing.Streams]int64, now time.Time, timeout time.Duration) {
	g.expireAt, g.due = time.Time{}, false
	for i, end := range open {
		wait := &g.waits[i]
		if wait.end != end {
			*wait = joinedWait{end: end, since: now}
		}
		expireAt := wait.since.Add(timeout)
		if end > 0 && now.Before(expireAt) && (g.expireAt.IsZero() || expireAt.Before(g.expireAt)) {
			g.expireAt = expireAt
		}
	}
}

// decide learns from the head of a file what its lines are. False: it can not
// be read now, or it is too short to tell.
func (f *follower) decide(ctx context.Context, g *generation) bool {
	if g.form.Decided() {
		return true
	}
	var ok bool
	if g.form, ok = f.framer.Decide(nil, false); ok {
		return true
	}
	head := make([]byte, min(g.size, framing.HeadSize))
	n, err := g.file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		f.readFailed(ctx, g, err)
		return false
	}
	g.form, ok = f.framer.Decide(head[:n], g.place() > 0)
	return ok
}
