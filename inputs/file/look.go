package file

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/auditail/auditail/inputs"
)

// found is a path that a glob leads to.
type found struct {
	name string
	st   status
}

// suspect is a file that so far looks like the copy of a followed one. Copying
// comes before truncating, so it waits until one or the other has happened.
type suspect struct {
	size  int64
	since time.Time // when the size changed last
}

// newGenerationID returns 16 random hex characters.
func newGenerationID() string {
	var raw [8]byte
	rand.Read(raw[:]) // never fails, says its documentation
	return hex.EncodeToString(raw[:])
}

// look lists the directories and finds out what became of every file: known
// ones under the same or another name first, then those that lost their name,
// then new ones, so that nothing known is taken for new.
func (f *follower) look(ctx context.Context) {
	begin := f.now()
	f.lookDue, f.unsettled = false, false
	f.round++
	listings := f.listings()
	matches, dirs := f.list(ctx)

	clear(f.byName)
	clear(f.byBase)
	var unknown []found
	for _, m := range matches {
		g := f.byIdent[m.st.id]
		if g == nil || !f.recognise(ctx, g, m, begin) {
			unknown = append(unknown, m)
		}
	}
	var astray []*generation
	for _, g := range f.generations {
		if g.round != f.round && !g.ended {
			g.attached = false
			if g.left.IsZero() {
				g.left = begin
			}
			astray = append(astray, g)
		}
	}
	for _, g := range astray {
		f.trace(ctx, g, listings, begin)
	}
	if f.round == 1 {
		// What was rotated away may have been read to its end; what came
		// after it was not.
		for _, g := range astray {
			f.expectSuccessors(g)
		}
	}
	f.deleted = nil
	for _, m := range unknown {
		f.admit(ctx, m, begin)
	}
	f.admitEarly(ctx, listings, begin)
	for _, g := range astray {
		f.giveUp(ctx, g, listings, begin)
	}
	f.admitAllSuccessors(ctx, listings, begin)
	f.forgetSuspects(begin)
	f.forgetEnded()
	for _, g := range f.generations {
		f.nameForEvents(g)
		if dir := filepath.Dir(g.real); g.attached && dir != filepath.Dir(g.path) {
			f.addDir(dirs, dir)
		}
	}
	f.fresh = false
	if f.watch != nil && f.watch.watch(ctx, dirs) {
		f.lookDue = true
	}
	f.looked = f.now()
	f.lookTook = f.looked.Sub(begin)
	f.tellFailures(f.looked)
	f.rest(dirs)
}

// nameForEvents makes a generation be found by the names that events carry.
// One that is looked for may have had the name of another.
func (f *follower) nameForEvents(g *generation) {
	if g.attached {
		f.byName[g.name], f.byName[g.real] = g, g
	} else if f.byName[g.name] == nil {
		f.byName[g.name] = g
	}
}

// list expands the globs. Every path that leads to a regular file is returned,
// and every directory whose entries matter.
func (f *follower) list(ctx context.Context) ([]found, map[string]watchedDir) {
	var matches []found
	dirs := map[string]watchedDir{}
	w := walker{
		dir: func(name string) { f.addDir(dirs, name) },
		fail: func(name string, err error) {
			f.noteOnce(ctx, noteList, name, err)
			f.fails(name, err)
		},
		match: func(name string) {
			if excluded(f.config.Exclude, name) {
				return
			}
			if _, packed := plainName(name); packed {
				// Its lines were read before it was compressed, or are read
				// from it when it is found to be the rest of a followed file.
				f.noteOnce(ctx, notePacked, name, nil)
				return
			}
			st, err := statPath(name)
			switch {
			case errors.Is(err, fs.ErrNotExist):
			case err != nil:
				f.noteOnce(ctx, noteStat, name, err)
				f.fails(name, err)
			case st.kind == kindRegular:
				f.cleared(noteStat, name)
				f.cleared(noteKind, name)
				matches = append(matches, found{name: name, st: st})
			default:
				f.noteOnce(ctx, noteKind, name, nil)
			}
		},
	}
	for _, p := range f.patterns {
		w.expand(p)
	}
	return matches, dirs
}

func (f *follower) addDir(dirs map[string]watchedDir, name string) {
	if _, ok := dirs[name]; ok {
		return
	}
	if st, err := statPath(name); err == nil && st.kind == kindDirectory {
		dirs[name] = watchedDir{id: st.id, modified: st.modified}
		f.cleared(noteList, name)
	}
}

// recognise takes a path that leads to the file a generation had. False: it
// turned out that the inode is another file's by now.
func (f *follower) recognise(ctx context.Context, g *generation, m found, now time.Time) bool {
	if g.round == f.round && g.attached {
		return true // a hard link, or two globs over one file: read once
	}
	if g.resumed && !f.confirm(ctx, g, m) {
		return false
	}
	if m.name != g.path && (g.resumed || g.name == g.path) {
		f.expectSuccessors(g) // what came after it may be compressed by now, where no glob leads
	}
	first := !g.attached || g.resumed
	g.round, g.attached, g.name = f.round, true, m.name
	g.missing = time.Time{}
	switch {
	case m.name == g.path:
		g.over, g.left = false, time.Time{}
	case g.left.IsZero():
		g.left = now
	default:
		f.settle(ctx, g, now) // rotated away to another name that matches
	}
	f.nameForCopies(g)
	if g.file != nil {
		if g.changedFrom(m.st) {
			f.warm(g)
		}
		return true
	}
	if first || g.changedFrom(m.st) || g.ready() {
		if f.openFile(ctx, g) {
			g.resumed = false
			f.warm(g)
			f.enqueue(g)
			f.closeIfMany(g)
		}
		return true // when it was replaced, the new generation has the inode
	}
	return true
}

// confirm compares a file with what a position says of its inode. When it is
// other content, the generation is looked for elsewhere before the file is
// taken for a new one: it may hold the content of another generation.
func (f *follower) confirm(ctx context.Context, g *generation, m found) bool {
	h, err := f.openFound(m)
	switch {
	case errors.Is(err, errMoved):
		return false // it was renamed since: it is traced
	case err != nil:
		return true // openFile tries again, and says why
	}
	defer f.discard(h)
	st, err := h.stat()
	if err != nil {
		return true
	}
	same, err := g.holds(h, f.scratch[:])
	if err != nil || same {
		return true
	}
	g.mismatch = inputs.CauseReplaced
	if st.size < g.place() {
		g.mismatch = inputs.CauseTruncated
	}
	f.log.InfoContext(ctx, "file holds other content than before the start", "path", m.name)
	f.forgetIdent(g)
	f.touch(g)
	return false
}

// closeIfMany gives up the descriptor of a file that has nothing to read when
// there are many of them.
func (f *follower) closeIfMany(g *generation) {
	if f.open > f.limits.maxOpen && g.attached && g.file != nil {
		f.closeFile(g)
	}
}

// admit decides about a file that is not known by its inode.
func (f *follower) admit(ctx context.Context, m found, now time.Time) {
	if g := f.byIdent[m.st.id]; g != nil {
		// A generation was traced to it meanwhile, or a link to it came first.
		f.recognise(ctx, g, m, now)
		return
	}
	if f.isCopyOfLost(ctx, m) || f.tooOld(m, now) || f.isSuspect(ctx, m, now) || f.isEdited(ctx, m) {
		return
	}
	delete(f.suspects, m.st.id)
	realPath, err := filepath.EvalSymlinks(m.name)
	if err != nil {
		realPath = m.name
	}
	g := f.create(m.name, realPath, m.name, m.st)
	f.nameForCopies(g)
	if !f.openFile(ctx, g) {
		f.warm(g) // not yet readable: kept, so that it is found when it is renamed
		return
	}
	if f.fresh && f.config.Start == StartEnd {
		f.skipToEnd(ctx, g)
	}
	if !f.scan {
		// Known from now on, even if it is rotated while the agent is down
		// and before a line of it was read.
		f.touch(g)
	}
	f.warm(g)
	f.enqueue(g)
	f.closeIfMany(g)
}

func (f *follower) tooOld(m found, now time.Time) bool {
	return f.config.IgnoreOlder > 0 && now.Sub(time.Unix(0, m.st.modified)) > f.config.IgnoreOlder
}

// isSuspect tells whether a new file so far is the beginning of a followed
// one and named like its rotated copy: copytruncate at work. It waits, until
// it differs, or the original is truncated and goes on in it. A short one that
// nothing happened to for the grace period is a file of its own: it may hold
// the same few lines that a service writes at every start. An empty one has
// nothing to be read, and whoever copies may be slow.
func (f *follower) isSuspect(ctx context.Context, m found, now time.Time) bool {
	if f.scan {
		return false
	}
	s, known := f.suspects[m.st.id]
	if !known || s.size != m.st.size {
		s = suspect{size: m.st.size, since: now}
	}
	if m.st.size == 0 && len(f.kin(m.name)) > 0 {
		f.suspects[m.st.id] = s
		return true // whatever became of the original meanwhile
	}
	if m.st.size < sampleSize && known && now.Sub(s.since) >= f.limits.grace {
		return false
	}
	for again := true; again; {
		again = false
		for _, g := range f.originals(m.name) {
			if g.file == nil || g.ended || m.st.id == g.ident {
				continue
			}
			alike := f.beginsLike(m, g)
			// Only now is it certain what they were compared with: when the
			// original was truncated, it may already go on in this very copy.
			intact := f.verify(ctx, g)
			if f.byIdent[m.st.id] != nil {
				return true
			}
			if alike && intact {
				f.suspects[m.st.id] = s
				return true
			}
			if g.file == nil {
				again = true // the generation that has its file now is an original too
				break
			}
		}
	}
	if m.st.size < sampleSize || len(f.kin(m.name)) == 0 {
		return false
	}
	h, err := f.openFound(m)
	if err != nil {
		return movedAway(err)
	}
	defer f.discard(h)
	return f.isCopyIn(&sibling{found: m}, h)
}

// isCopyOfLost tells whether a new file is the copy of a generation whose own
// file is gone, and which goes on in it. Its trace may have missed it: names
// move while directories are listed.
func (f *follower) isCopyOfLost(ctx context.Context, m found) bool {
	for _, g := range f.kin(m.name) {
		if g.ended || g.file != nil || g.missing.IsZero() || m.name == g.path {
			continue
		}
		if h, st, place, same := f.openCopy(g, m); same && f.moveToCopy(ctx, g, m.name, h, st, place) {
			return true
		}
	}
	return false
}

// nameForCopies makes a generation be found by the names of its copies.
func (f *follower) nameForCopies(g *generation) {
	base := filepath.Base(g.real)
	f.byBase[base] = append(f.byBase[base], g)
}

// originals returns the followed files that name may be a rotated form of.
func (f *follower) originals(name string) []*generation {
	var out []*generation
	for _, base := range unrotated(filepath.Base(name)) {
		out = append(out, f.byBase[base]...)
	}
	return out
}

// beginsLike tells whether the file m, which is not empty, is, as far as samples tell, the
// beginning of the file g holds open.
func (f *follower) beginsLike(m found, g *generation) bool {
	h, err := f.openFound(m)
	if err != nil {
		return movedAway(err) // the next look knows
	}
	defer f.discard(h)
	for _, from := range []int64{0, max(m.st.size-sampleSize, 0)} {
		data := f.scratch[:min(m.st.size, sampleSize)]
		n, err := h.ReadAt(data, from)
		if err != nil {
			return false
		}
		var other [sampleSize]byte
		if same, err := sampleOf(data[:n]).matches(g.file, from, other[:]); err != nil || !same {
			return false
		}
	}
	return true
}

// forgetEnded lets go of the generations that ended.
func (f *follower) forgetEnded() {
	before := len(f.generations)
	f.generations = slices.DeleteFunc(f.generations, func(g *generation) bool { return g.ended })
	if len(f.generations) == before {
		return
	}
	for root, kin := range f.byRoot {
		if kin = slices.DeleteFunc(kin, func(g *generation) bool { return g.ended }); len(kin) == 0 {
			delete(f.byRoot, root)
		} else {
			f.byRoot[root] = kin
		}
	}
}

// forgetSuspects forgets those that were not looked at for a while.
func (f *follower) forgetSuspects(now time.Time) {
	for id, s := range f.suspects {
		if now.Sub(s.since) > 2*f.limits.grace {
			delete(f.suspects, id)
		}
	}
}

// leastEdited is how much of a file must be known for other content under its
// path to be taken for an edited version of it: a shorter one may be the same
// few lines that a service writes at every start.
const leastEdited = 256

// isEdited tells whether a new file took the path of a generation whose own
// file is gone, and holds what was read of it: an editor wrote it anew. The
// generation goes on in it, also when it was rotated at once.
func (f *follower) isEdited(ctx context.Context, m found) bool {
	candidates := f.gone(m.name)
	if len(candidates) == 0 {
		return false
	}
	h, err := f.openFound(m)
	if err != nil {
		return false
	}
	g := f.editedFrom(candidates, h)
	if g == nil || !f.goOnIn(ctx, g, m.name, h) {
		f.discard(h)
		return false
	}
	g.attached, g.round = true, f.round
	f.nameForCopies(g)
	if m.name == g.path {
		g.over, g.left = false, time.Time{}
	}
	return true
}

// gone returns the generations whose file has no name any more, of which a
// file of this name may be an edited version.
func (f *follower) gone(name string) []*generation {
	if f.deleted == nil {
		f.deleted = map[string][]*generation{}
		for _, g := range f.generations {
			if g.nameless() && g.shift == 0 {
				f.deleted[filepath.Base(g.path)] = append(f.deleted[filepath.Base(g.path)], g)
			}
		}
	}
	base := filepath.Base(name)
	out := f.deleted[base]
	for _, root := range unrotated(base) {
		out = append(slices.Clip(out), f.deleted[root]...)
	}
	return out
}

// editedFrom returns the one of some generations whose content is the
// beginning of what h holds.
func (f *follower) editedFrom(some []*generation, h source) *generation {
	st, err := h.stat()
	if err != nil {
		return nil
	}
	for _, g := range some {
		if !g.nameless() || g.ident == st.id || max(g.place(), g.head.length) < leastEdited || st.size < g.place() || g.file != nil && st.size < g.size {
			continue
		}
		same, err := g.holds(h, f.scratch[:])
		if err == nil && same && (g.file == nil || f.endsLike(g, h, st.size)) {
			return g // what was not read yet is in it too
		}
	}
	return nil
}

// goOnIn makes a generation be read from the edited version of its file.
func (f *follower) goOnIn(ctx context.Context, g *generation, name string, h source) bool {
	st, err := h.stat()
	if err != nil {
		return false
	}
	f.log.InfoContext(ctx, "file was written anew with the same beginning, going on in it", "path", g.path, "generation", g.id)
	f.moveTo(g, name, h, st)
	f.warm(g)
	f.enqueue(g)
	return true
}

// skipToEnd begins behind the last complete line and says so.
func (f *follower) skipToEnd(ctx context.Context, g *generation) {
	if f.framer != nil && !f.decide(ctx, g) {
		return // its first line has no end yet
	}
	end, err := lastLineEnd(g.file, g.size, g.form.Encoding())
	if err != nil {
		f.readFailed(ctx, g, err)
		return
	}
	if end == 0 {
		return
	}
	anchor := min(end, sampleSize)
	n, err := g.file.ReadAt(f.scratch[:anchor], end-anchor)
	if err != nil || int64(n) < anchor {
		return // truncated this moment: nothing to skip
	}
	f.chunk.Gaps = append(f.chunk.Gaps, startGap(g, end))
	g.offset, g.looked = end, end
	g.anchor = sampleOf(f.scratch[:anchor])
	f.touch(g)
	f.account(g)
}

// failed joins what Scan could not read.
func (f *follower) failed() error {
	var problems []error
	for path, f := range f.failures {
		problems = append(problems, fmt.Errorf("scan %s: %w", path, f.err))
	}
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(problems...)
}
