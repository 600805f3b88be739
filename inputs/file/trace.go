package file

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"time"

	"github.com/auditail/auditail/inputs"
	"github.com/auditail/auditail/inputs/internal/framing"
)

// trace looks after a generation that no glob leads to: it was rotated away,
// deleted, or the agent only knows its position.
func (f *follower) trace(ctx context.Context, g *generation, l *listings, now time.Time) {
	if g.file != nil {
		st, err := g.file.stat()
		if err != nil {
			f.readFailed(ctx, g, err)
			return
		}
		f.update(ctx, g, st, now)
		if g.ended || g.file == nil {
			return
		}
		f.warm(g)
		if g.links > 0 {
			f.findName(g, l)
		}
		f.retire(ctx, g, now)
		return
	}
	if !f.scan && g.over && !g.resumed && g.missing.IsZero() && now.Before(g.checkAt) {
		return
	}
	g.checkAt = now.Add(f.limits.parked)
	if st, err := statPath(g.name); err == nil && st.id == g.ident && !g.resumed {
		g.missing = time.Time{}
		if g.changedFrom(st) || g.ready() {
			g.checkAt = time.Time{}
			g.over = false
			if f.openFile(ctx, g) {
				f.warm(g)
				f.enqueue(g)
			}
		}
		return
	}
	if f.search(ctx, g, l, now) {
		return
	}
	f.lost(g, now)
}

// taken tells whether a file belongs to another generation. Where the file
// system keeps no birth times, what a position alone says of that does not
// count before it was compared: inodes are reused.
func (f *follower) taken(id fileID, by *generation) bool {
	owner := f.byIdent[id]
	if owner == nil || owner == by {
		return false
	}
	return !owner.resumed || id.born != 0 || owner.round == f.round
}

// findName learns under which name a file that is held open lies by now, and
// admits what was rotated after it.
func (f *follower) findName(g *generation, l *listings) {
	if st, err := statPath(g.name); err == nil && st.id == g.ident {
		return
	}
	for _, m := range l.withInode(g, g.ident.inode) {
		if m.st.id == g.ident {
			g.name = m.name
			if !g.over {
				f.expectSuccessors(g)
			}
			return
		}
	}
}

// search finds the file of a generation of which no descriptor is held: by its
// inode, wherever it was moved, and by its content in a copy.
func (f *follower) search(ctx context.Context, g *generation, l *listings, now time.Time) bool {
	for _, m := range l.withInode(g, g.ident.inode) {
		if f.taken(m.st.id, g) {
			continue
		}
		if g.over && m.st.modified == g.modified {
			// Nothing happened to it since it was read to its end. Should
			// that change, its content is compared before it is read.
			f.identify(g, m.st.id)
			g.name, g.resumed, g.missing = m.name, false, time.Time{}
			return true
		}
		if g.head.length == 0 && !g.renamedTo(m) {
			continue
		}
		h, err := f.openPath(m.name)
		if err != nil {
			f.noteOnce(ctx, noteOpen, m.name, err)
			g.round = f.round
			return true // it is there: wait until it can be read
		}
		same, err := g.holds(h, f.scratch[:])
		st, statErr := h.stat()
		if err != nil || statErr != nil || !same || st.id != m.st.id {
			f.discard(h)
			continue
		}
		f.moveTo(g, m.name, h, st)
		f.found(g)
		f.retire(ctx, g, now)
		return true
	}
	return f.continueInCopy(ctx, g, l)
}

// renamedTo tells whether a file of the same inode is that of a generation of
// which nothing is known but that it was empty. Where the file system keeps no
// birth times an inode alone proves nothing, and what is compressed is no file
// that was renamed.
func (g *generation) renamedTo(m *sibling) bool {
	if m.st.id.born != 0 {
		return m.st.id.born == g.ident.born
	}
	_, packed := plainName(m.name)
	return g.ident.born == 0 && !packed && related(filepath.Base(g.real), filepath.Base(m.name))
}

// found goes on with a generation whose file was found under another name.
func (f *follower) found(g *generation) {
	g.checkAt, g.missing = time.Time{}, time.Time{}
	if f.scan {
		g.limit, g.flush = g.size, true
	}
	f.warm(g)
	f.enqueue(g)
	if !g.over {
		f.expectSuccessors(g)
	}
}

// moveTo makes a generation be read from another file, which holds its content.
func (f *follower) moveTo(g *generation, name string, h source, st status) {
	f.closeFile(g)
	if !g.resumed || g.ident != st.id {
		f.touch(g)
	}
	f.identify(g, st.id)
	g.name, g.file = name, h
	f.open++
	delete(f.suspects, st.id)
	g.size, g.sure, g.modified, g.links = st.size, st.size, st.modified, st.links
	g.looked, g.long = g.place(), nil
	g.resumed, g.missing, g.changed = false, time.Time{}, f.now()
	f.account(g)
}

// continueInCopy looks for the copy that copytruncate made of a generation's
// file before it was truncated, that was compressed, or that somebody made
// before deleting it, and goes on in it. A copy that holds all that was read
// is better than one that was made before.
func (f *follower) continueInCopy(ctx context.Context, g *generation, l *listings) bool {
	shorter := ""
	for _, m := range l.related(g) {
		if f.taken(m.st.id, g) || m.st.id == g.ident || m.name == g.path {
			continue
		}
		if g.over && g.packedAs(m) {
			f.adopt(g, m.found)
			return true
		}
		if !f.mayHold(g, m) {
			continue
		}
		h, st, place, same := f.openCopy(g, m.found)
		switch {
		case !same:
		case place < g.place():
			f.discard(h)
			shorter = m.name
		default:
			return f.moveToCopy(ctx, g, m.name, h, st, place)
		}
	}
	if shorter == "" || g.over {
		return false
	}
	h, st, place, same := f.openCopy(g, found{name: shorter})
	return same && f.moveToCopy(ctx, g, shorter, h, st, place)
}

// mayHold tells whether it is worth looking into a file for the content of a
// generation. What is compressed is not yet whole while the original is there.
func (f *follower) mayHold(g *generation, m *sibling) bool {
	_, packed := plainName(m.name)
	if !packed {
		return true
	}
	return readable(m.name) && !m.beside && m.beginsWith(g.head)
}

// packedAs tells whether a file is what a generation's was compressed to, as
// far as names tell: nobody here can look into it.
func (g *generation) packedAs(m *sibling) bool {
	plain, packed := plainName(m.name)
	return packed && plain == g.name && !readable(m.name) && !m.beside
}

// adopt makes a file be known as that of a generation that was read to its
// end, without a look into it.
func (f *follower) adopt(g *generation, m found) {
	f.closeFile(g)
	f.identify(g, m.st.id)
	g.name, g.modified, g.links = m.name, m.st.modified, m.st.links
	g.resumed, g.missing = false, time.Time{}
	f.touch(g)
}

// openCopy opens a file when it holds a copy of a generation's content, and
// tells where reading goes on in it.
func (f *follower) openCopy(g *generation, m found) (h source, st status, place int64, same bool) {
	h, err := f.openPath(m.name)
	if err != nil {
		return nil, status{}, 0, false
	}
	st, place, same = f.copyOf(g, h)
	if !same || m.st != (status{}) && st.id != m.st.id {
		f.discard(h)
		return nil, status{}, 0, false
	}
	return h, st, place, true
}

func (f *follower) moveToCopy(ctx context.Context, g *generation, name string, h source, st status, place int64) bool {
	if f.anchorAt(g, h, place) != nil {
		f.discard(h)
		return false
	}
	f.log.InfoContext(ctx, "going on in a copy of the file", "path", g.path, "generation", g.id, "copy", name, "unread_bytes", st.size-place)
	g.loss = f.lossOf(g, max(g.place(), st.size))
	g.shift = g.offset - place
	g.marks = nil
	f.moveTo(g, name, h, st)
	g.attached, g.over = false, false
	f.found(g)
	return true
}

// copyOf tells whether h holds a copy of a generation's content and where
// reading goes on in it. The head is compared first: what is compressed need
// not be unpacked to its end to see that it is something else.
func (f *follower) copyOf(g *generation, h source) (st status, place int64, same bool) {
	if same, err := g.head.matches(h, 0, f.scratch[:]); err != nil || !same {
		return status{}, 0, false
	}
	st, err := h.stat()
	if err != nil {
		return status{}, 0, false
	}
	place, same, err = g.copied(h, st.size, f.scratch[:])
	return st, place, err == nil && same
}

// anchorAt takes the anchor before a place, where reading goes on.
func (f *follower) anchorAt(g *generation, r io.ReaderAt, place int64) error {
	if place == g.place() {
		return nil
	}
	length := min(place, sampleSize)
	n, err := r.ReadAt(f.scratch[:length], place-length)
	if err != nil {
		return err
	}
	if int64(n) < length {
		return io.ErrUnexpectedEOF
	}
	g.anchor = sampleOf(f.scratch[:length])
	return nil
}

// lost notes that the file of a generation is nowhere. It may be on its way to
// another name, or reappear with the same content: giveUp comes later.
func (f *follower) lost(g *generation, now time.Time) {
	if g.missing.IsZero() {
		g.missing = now
	}
	g.checkAt = time.Time{}
}

// giveUp ends a generation whose file has been nowhere for the grace period.
// Where even its directory is missing or empty, a file system may not be
// mounted (yet): the position is kept, or everything would be read again when
// it is back.
func (f *follower) giveUp(ctx context.Context, g *generation, l *listings, now time.Time) {
	if g.ended || g.missing.IsZero() || g.file != nil {
		return
	}
	if l.at(filepath.Dir(g.real)).empty {
		f.noteOnce(ctx, noteMissing, g.path, nil)
		return
	}
	if !f.scan && now.Sub(g.missing) < f.limits.grace {
		return
	}
	f.cleared(noteMissing, g.path)
	if !g.over {
		f.expectSuccessors(g)
	}
	cause := inputs.CauseRemoved
	if g.mismatch != "" {
		cause = g.mismatch
	}
	f.drop(ctx, g, cause, f.lossOf(g, g.place()))
}

// settle deals with a file that was rotated away. Once it does not change any
// more, its unterminated last line is a line, what was lost behind the end of
// a copy becomes a gap, and the position says that nothing is left to read.
// It returns false while there is something to do before that.
func (f *follower) settle(ctx context.Context, g *generation, now time.Time) bool {
	quiet := g.quiet(now)
	if f.scan || g.file == nil || g.ready() || quiet < min(f.limits.settled, f.limits.grace) {
		return false
	}
	if g.size > g.place() {
		if quiet >= f.limits.grace {
			g.flush = true
			f.enqueue(g)
		}
		return false
	}
	if g.loss >= 0 {
		f.gap(ctx, g, inputs.CauseTruncated, g.loss)
		g.offset += g.loss
		g.shift += g.loss
		g.loss = -1
		f.touch(g)
	}
	if !g.over {
		g.over = true
		f.touch(g)
	}
	return true
}

// retire lets go of a rotated file that was read and does not change any more:
// first of its descriptor, and when it was deleted of its position.
func (f *follower) retire(ctx context.Context, g *generation, now time.Time) {
	if !f.settle(ctx, g, now) {
		return
	}
	quiet := g.quiet(now)
	if g.links == 0 {
		if quiet >= min(f.limits.deleted, f.config.CloseAfter) {
			// What it was compressed to must not be taken for something new.
			f.closeFile(g)
			f.forgetIdent(g)
			f.lost(g, now)
		}
		return
	}
	if quiet < f.config.CloseAfter && f.open <= f.limits.maxOpen && !readable(g.name) {
		return
	}
	if st, err := statPath(g.name); err == nil && st.id == g.ident {
		f.closeFile(g)
		g.checkAt = now.Add(f.limits.parked)
		return
	}
	// It has a name where nobody can see it: whoever moved it there looks after it.
	if quiet >= f.config.CloseAfter {
		f.drop(ctx, g, "", -1)
	}
}

// lastLineEnd returns the place behind the last line end of a file, 0 when
// there is none.
func lastLineEnd(r io.ReaderAt, size int64, encoding framing.Encoding) (int64, error) {
	block := make([]byte, leastRoom)
	for end := size; end > 0; {
		from := max(end-int64(len(block)), 0)
		from += from % 2 // no character of two bytes lies in two blocks
		n, err := r.ReadAt(block[:end-from], from)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if last := encoding.LastLineEnd(block[:n], from); last > 0 {
			return from + int64(last), nil
		}
		end = from
	}
	return 0, nil
}

// startGap is the gap of start = "end".
func startGap(g *generation, end int64) inputs.Gap {
	return inputs.Gap{Generation: g.id, Path: g.path, From: 0, To: end, Cause: inputs.CauseStartEnd}
}
