package file

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"time"

	"github.com/auditail/auditail/inputs"
)

// Conditions that are logged once, until they are over.
const (
	noteOpen    = "file can not be opened, trying again"
	noteRead    = "file can not be read, trying again"
	noteList    = "directory can not be listed, trying again"
	noteStat    = "path can not be examined, trying again"
	noteKind    = "path matches but is no regular file, left alone"
	notePacked  = "path matches but is a compressed file, left alone"
	noteMissing = "followed file is not found, position kept"
)

// active is how recently a file must have changed for bytes to be in doubt
// that were written between the last poll and a truncation.
const active = 2 * time.Second

// refresh brings what is known of a generation's file up to date.
func (f *follower) refresh(ctx context.Context, g *generation, now time.Time) {
	if now.Before(g.checkAt) {
		return
	}
	if g.file == nil {
		st, err := statPath(g.name)
		if err != nil || st.id != g.ident || f.taken(st.id, g) {
			f.lookDue = true
			g.checkAt = now.Add(f.limits.retry)
			return
		}
		if g.changedFrom(st) || g.ready() {
			// What changed while no descriptor was held may be other content.
			if !f.openFile(ctx, g) {
				return
			}
		}
		f.enqueue(g)
		return
	}
	st, err := g.file.stat()
	if err != nil {
		f.readFailed(ctx, g, err)
		return
	}
	f.update(ctx, g, st, now)
}

// update takes a new status of the file a generation holds open.
func (f *follower) update(ctx context.Context, g *generation, st status, now time.Time) {
	g.links = st.links
	if st.size == max(g.place(), g.looked) {
		g.since = now
	}
	if st.size == g.size && st.modified == g.modified {
		f.enqueue(g)
		return
	}
	if st.size < g.place() {
		f.replaced(ctx, g, inputs.CauseTruncated)
		return
	}
	// It shrank, or was written to and is just as long as before; or it grows
	// and will not be read soon: then its size must not be another content's.
	// What is in it now may be other content, of which a copy is known by its
	// head long before there is time to read.
	if st.size < g.size || st.size == g.place() || len(f.onWay) > 0 || g.place() < sampleSize {
		if !f.verify(ctx, g) {
			return
		}
		g.sure = st.size
	}
	if st.size < g.size {
		f.cutBehind(ctx, g, st.size)
	}
	g.size, g.modified, g.changed = st.size, st.modified, now
	f.warm(g)
	f.account(g)
	f.enqueue(g)
}

// verify makes sure that the open file of a generation still holds what was
// read of it. False: it does not, and replaced has dealt with it, or nobody
// can tell now.
func (f *follower) verify(ctx context.Context, g *generation) bool {
	same, err := g.begins(g.file, f.scratch[:])
	if err == nil && same {
		same, err = g.anchor.matches(g.file, g.place()-g.anchor.length, f.scratch[:])
	}
	if err != nil {
		f.readFailed(ctx, g, err)
		return false
	}
	if !same {
		f.replaced(ctx, g, inputs.CauseReplaced)
	}
	return same
}

// cutBehind notes that a file lost bytes behind the place read up to. What is
// written there now has the offsets of what was lost, so the gap is an empty
// one at the offset: something is gone here, the ranges still join.
func (f *follower) cutBehind(ctx context.Context, g *generation, size int64) {
	f.log.WarnContext(ctx, "file was truncated behind the position", "path", g.path, "lost_bytes", g.size-size)
	f.chunk.Gaps = append(f.chunk.Gaps, inputs.Gap{
		Generation: g.id, Path: g.path, From: g.offset, To: g.offset, Cause: inputs.CauseTruncated,
	})
	g.looked, g.long = g.place(), nil
	f.touch(g)
}

// openFile opens the file of a generation under its name and makes sure that
// it is the one. On false the generation is tried again later, or was found to
// be replaced.
func (f *follower) openFile(ctx context.Context, g *generation) bool {
	now := f.now()
	h, err := f.openPath(g.name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			f.lookDue = true
		} else {
			f.noteOnce(ctx, noteOpen, g.path, err)
		}
		f.fails(g.path, err)
		g.checkAt = now.Add(f.limits.retry)
		return false
	}
	st, err := h.stat()
	if err != nil || st.id != g.ident || st.kind != kindRegular {
		f.discard(h)
		f.lookDue = true
		g.checkAt = now.Add(f.limits.poll)
		return false
	}
	f.cleared(noteOpen, g.path)
	delete(f.failures, g.path)
	g.file = h
	f.open++
	g.links = st.links
	same, err := g.holds(h, f.scratch[:])
	if err != nil {
		f.readFailed(ctx, g, err)
		return false
	}
	if !same {
		f.replaced(ctx, g, inputs.CauseReplaced)
		return false
	}
	if st.size != g.size || st.modified != g.modified {
		g.changed = now
	}
	g.size, g.sure, g.modified = st.size, st.size, st.modified
	if _, err := g.begins(h, f.scratch[:]); err != nil {
		f.readFailed(ctx, g, err)
		return false
	}
	f.account(g)
	return true
}

// openPath opens a file; when descriptors run out it first gives up those that
// are not needed now.
func (f *follower) openPath(name string) (source, error) {
	h, err := openSource(name)
	if err != nil && tooManyFiles(err) && f.closeIdle() {
		return openSource(name)
	}
	return h, err
}

// errMoved says that a name leads to another file than the one it was listed
// with: names move while directories are listed.
var errMoved = errors.New("another file has this name by now")

// openFound opens a file that a listing found, and no other. Callers test for
// movedAway: then the next look knows better.
func (f *follower) openFound(m found) (source, error) {
	h, err := f.openPath(m.name)
	if err != nil {
		return nil, err
	}
	id, err := h.identity()
	if err == nil && id != m.st.id {
		err = errMoved
	}
	if err != nil {
		f.discard(h)
		return nil, err
	}
	return h, nil
}

// movedAway tells whether a file was not opened because it has another name.
func movedAway(err error) bool { return errors.Is(err, errMoved) || errors.Is(err, fs.ErrNotExist) }

// closeIdle closes what was read to its end and lies under a known name.
func (f *follower) closeIdle() bool {
	before := f.open
	for _, g := range f.generations {
		if g.drained() && !g.hot && g.links > 0 && g.attached {
			f.closeFile(g)
		}
	}
	return f.open < before
}

func (f *follower) discard(h source) {
	if err := h.close(); err != nil {
		f.log.Debug("close file", "reason", err)
	}
}

// replaced is called when the file of a generation, which is open, no longer
// holds its content: it was truncated, or written anew. The old generation
// goes on in the copy that copytruncate made, when there is one; what is in
// the file now is a new generation.
func (f *follower) replaced(ctx context.Context, g *generation, cause string) {
	h, ident, name, attached := g.file, g.ident, g.name, g.attached
	g.file = nil
	delete(f.byIdent, ident)
	f.open--

	// The new generation takes the inode first: nobody may take it for a copy
	// or a successor of the old one.
	var n *generation
	if st, err := h.stat(); err != nil {
		f.discard(h)
		f.lookDue = true
	} else {
		if st.size < g.place() {
			cause = inputs.CauseTruncated // whoever saw other bytes first
		}
		n = f.create(g.path, g.real, name, st)
		n.attached, n.file, n.announced = attached, h, true
		f.open++
		if attached {
			f.nameForCopies(n)
		}
	}
	if !f.continueInCopy(ctx, g, f.listings()) {
		if g.resumed && !g.over {
			f.expectSuccessors(g)
			f.lookDue = true
		}
		f.lose(ctx, g, cause)
	}
	if n == nil {
		return
	}
	if _, err := n.begins(h, f.scratch[:]); err != nil {
		f.readFailed(ctx, n, err)
	}
	f.warm(n)
	f.enqueue(n)
}

// lose gives up the file of a generation, which holds other content by now.
// The copy may be on its way to another name this moment, where no listing
// shows it: it is looked for until giveUp.
func (f *follower) lose(ctx context.Context, g *generation, cause string) {
	if f.scan {
		f.drop(ctx, g, cause, f.lossOf(g, g.place()))
		return
	}
	if g.mismatch = cause; g.missing.IsZero() {
		g.missing = f.now()
	}
	f.forgetIdent(g)
	g.attached = false
	f.lookDue = true
	f.touch(g) // with the size it had
}

// lossOf is what is known to have been destroyed of a generation behind the
// given place of its file: a number of bytes, 0 when some may have been, -1
// when there is no reason to think so.
func (f *follower) lossOf(g *generation, place int64) int64 {
	if g.sure > place {
		return g.sure - place
	}
	if g.over {
		return -1
	}
	// Nobody looked while the agent was down; a file that was just written to
	// may have been written to once more.
	if g.resumed || f.now().Sub(g.changed) < active {
		return 0
	}
	return -1
}

// create makes a generation of a file that was never seen before.
func (f *follower) create(path, realPath, name string, st status) *generation {
	g := &generation{
		id: newGenerationID(), path: path, real: realPath, name: name, ident: st.id,
		size: st.size, sure: st.size, modified: st.modified, links: st.links, limit: math.MaxInt64, loss: -1,
		attached: true, announced: f.round == 1, round: f.round, changed: f.now(),
	}
	if f.scan {
		g.limit, g.flush = st.size, true
	}
	f.add(g)
	f.account(g)
	f.log.Debug("following", "path", name, "generation", g.id, "size", st.size)
	return g
}

// add makes a generation known. Of two with one identity the first keeps it;
// the other is looked for by its content.
func (f *follower) add(g *generation) {
	f.generations = append(f.generations, g)
	if _, taken := f.byIdent[g.ident]; !taken {
		f.byIdent[g.ident] = g
	}
	base := filepath.Base(g.real)
	for _, root := range append(unrotated(base), base) {
		f.byRoot[root] = append(f.byRoot[root], g)
	}
	f.in.sources.Add(1)
}

// identify parts a generation from the file it had and gives it another.
func (f *follower) identify(g *generation, id fileID) {
	f.forgetIdent(g)
	g.ident = id
	f.byIdent[id] = g
}

// forgetIdent parts a generation from its file, whose inode may be another's
// from now on.
func (f *follower) forgetIdent(g *generation) {
	if f.byIdent[g.ident] == g {
		delete(f.byIdent, g.ident)
	}
	g.ident = fileID{}
}

// drop ends a generation: its file is gone and read, or what was not read of
// it can not be read any more. With a loss of 0 or more a gap says so.
func (f *follower) drop(ctx context.Context, g *generation, cause string, loss int64) {
	if g.ended {
		return
	}
	if loss >= 0 {
		f.gap(ctx, g, cause, loss)
	}
	if g.committed || g.touched || loss >= 0 {
		f.chunk.Positions = append(f.chunk.Positions, inputs.Position{Generation: g.id})
	}
	f.closeFile(g)
	f.forgetIdent(g)
	g.ended = true
	f.account(g)
	f.in.sources.Add(-1)
}

func (f *follower) gap(ctx context.Context, g *generation, cause string, loss int64) {
	f.log.WarnContext(ctx, "bytes are gone that were not read", "path", g.path, "generation", g.id,
		"from", g.offset, "bytes", loss, "cause", cause)
	f.chunk.Gaps = append(f.chunk.Gaps, inputs.Gap{
		Generation: g.id, Path: g.path, From: g.offset, To: g.offset + loss, Cause: cause,
	})
}
