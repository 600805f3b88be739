package file

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/auditail/auditail/inputs"
)

// succession is a rotation after which others may have followed at once.
type succession struct {
	after *generation
	since time.Time
}

// expectSuccessors makes the present look, or the next, admit what was rotated
// after g. That comes last in a look: what is rotated may be the file or the
// copy of another generation that was not traced yet.
func (f *follower) expectSuccessors(g *generation) {
	f.succeeded = append(f.succeeded, succession{after: g, since: f.now()})
}

// admitAllSuccessors looks for successors for the grace period: a file that is
// created after one look listed its name and rotated before the next has only
// this chance to be seen. Every rotated file that was ever read belongs to a
// generation while it exists, so what belongs to none and is younger is new.
func (f *follower) admitAllSuccessors(ctx context.Context, l *listings, now time.Time) {
	if len(f.succeeded) == 0 {
		clear(f.copies)
		return
	}
	current := map[string]*generation{} // by path
	for _, g := range f.generations {
		if g.attached && !g.ended && g.round == f.round {
			current[g.name] = g
		}
	}
	for i, s := range f.succeeded {
		waiting := f.admitSuccessors(ctx, s.after, l)
		if f.admitLinked(ctx, s.after, current[s.after.path], l) || waiting {
			f.succeeded[i].since = now
		}
	}
	f.succeeded = slices.DeleteFunc(f.succeeded, func(s succession) bool {
		return f.scan || now.Sub(s.since) >= f.limits.grace
	})
}

// admitSuccessors admits the files that were rotated after g and never seen:
// several rotations went by while nobody looked. It returns true when it can
// not be told yet of one of them.
func (f *follower) admitSuccessors(ctx context.Context, g *generation, l *listings) (waiting bool) {
	related := l.related(g)
	for _, m := range related {
		if f.taken(m.st.id, nil) || m.st.size == 0 || excluded(f.config.Exclude, m.name) || !g.precedes(m.found, related) {
			continue
		}
		switch f.inspect(ctx, m) {
		case isNew:
			f.admitRotated(ctx, m.found)
		case isUndecided:
			waiting = true
		case isKnown:
		}
	}
	return waiting
}

// admitLinked admits the files that a symbolic link led to between g's and the
// present one: their names differ in digits, and they were born in between.
func (f *follower) admitLinked(ctx context.Context, g, current *generation, l *listings) (waiting bool) {
	if filepath.Base(g.path) == filepath.Base(g.real) {
		return false
	}
	if current == nil {
		return true // the link leads nowhere for a moment, or to what can not be read yet
	}
	if filepath.Dir(current.real) != filepath.Dir(g.real) {
		return false
	}
	for _, m := range l.alike(g) {
		between := g.ident.born <= m.st.id.born && m.st.id.born <= current.ident.born
		if m.st.id.born == 0 {
			between = g.modified <= m.st.modified && m.st.modified <= current.modified
		}
		if !between || f.taken(m.st.id, nil) || m.st.size == 0 || excluded(f.config.Exclude, m.name) {
			continue
		}
		if f.inspect(ctx, m) == isNew {
			f.admitRotated(ctx, m.found)
		}
	}
	return false
}

func (f *follower) admitRotated(ctx context.Context, m found) {
	delete(f.suspects, m.st.id)
	n := f.create(m.name, m.name, m.name, m.st)
	n.attached = false
	if f.openFile(ctx, n) {
		f.enqueue(n)
	}
	f.warm(n)
}

// novelty is what a file that nobody followed turns out to be.
type novelty int

const (
	isNew       novelty = iota
	isKnown             // it holds what was read elsewhere, or never can be
	isUndecided         // it may be: somebody is still writing it
)

// inspect tells whether a rotated file holds content that no generation has.
// Copying and compressing come before the original is removed, so both are
// there for a while. Of a file that moved on to another name since it was
// listed the next look tells.
func (f *follower) inspect(ctx context.Context, m *sibling) novelty {
	_, packed := plainName(m.name)
	if packed && f.copies[m.st.id] == m.st.modified {
		return isKnown
	}
	if m.beside {
		return isUndecided
	}
	h, err := f.openFound(m.found)
	if err == nil {
		defer f.discard(h)
	}
	switch {
	case movedAway(err):
		f.lookDue = true
		return isUndecided
	case packed:
		return f.inspectPacked(ctx, m, h)
	case err != nil:
		return isNew // it is read as soon as it can be
	case m.st.size >= sampleSize && f.isCopyIn(m, h):
		return isKnown
	case f.isSuspect(ctx, m.found, f.now()):
		return isUndecided
	}
	return isNew
}

// inspectPacked is inspect of a compressed file, which h holds open unless it
// can not be unpacked.
func (f *follower) inspectPacked(ctx context.Context, m *sibling, h source) novelty {
	if h == nil || !isWhole(m, h) {
		if f.quietFor(m.found) < f.limits.grace {
			return isUndecided
		}
		f.unreadable(ctx, m)
		return isKnown
	}
	m.readHead(h) // what was seen of it may have been its beginning
	if f.isCopyIn(m, h) {
		f.copies[m.st.id] = m.st.modified // so that it is unpacked once
		return isKnown
	}
	return isNew
}

// quietFor is for how long a suspect has not changed.
func (f *follower) quietFor(m found) time.Duration {
	now := f.now()
	s, known := f.suspects[m.st.id]
	if !known || s.size != m.st.size {
		s = suspect{size: m.st.size, since: now}
		f.suspects[m.st.id] = s
	}
	return now.Sub(s.since)
}

// isWhole tells whether a compressed file can be unpacked to its end, and its
// original is gone.
func isWhole(m *sibling, h source) bool {
	if _, err := h.stat(); err != nil {
		return false
	}
	plain, _ := plainName(m.name)
	_, err := os.Lstat(plain)
	return errors.Is(err, fs.ErrNotExist)
}

// isCopyIn tells whether a file that h holds open begins with all that is
// known of a generation that it is named like, or with the beginning of it.
func (f *follower) isCopyIn(m *sibling, h source) bool {
	return slices.ContainsFunc(f.kin(m.name), func(g *generation) bool {
		return f.mayHold(g, m) && f.isCopyOf(g, m.st.id, h)
	})
}

// isCopyOf tells whether a file begins with all that is known of a generation,
// or with the beginning of it.
func (f *follower) isCopyOf(g *generation, id fileID, h source) bool {
	if g.ended || g.head.length == 0 || id == g.ident {
		return false
	}
	st, _, same := f.copyOf(g, h)
	return same && f.endsLike(g, h, st.size)
}

// kin returns the generations that a name may be a rotated form of.
func (f *follower) kin(name string) []*generation {
	base := filepath.Base(name)
	roots := unrotated(base)
	if plain, packed := plainName(base); packed {
		roots = append(roots, plain)
	}
	var out []*generation
	for _, root := range roots {
		for _, g := range f.byRoot[root] {
			if !slices.Contains(out, g) {
				out = append(out, g)
			}
		}
	}
	return out
}

// endsLike compares the last bytes that a file has in common with the file of
// a generation, when that is still there: heads can be alike.
func (f *follower) endsLike(g *generation, h source, size int64) bool {
	original := g.file
	if original == nil {
		var err error
		if original, err = f.openPath(g.name); err != nil {
			return true
		}
		defer f.discard(original)
	}
	st, err := original.stat()
	if err != nil || st.id != g.ident {
		return true // gone: what is remembered of it has to do
	}
	end := min(size, st.size)
	data := f.scratch[:min(end, sampleSize)]
	n, err := h.ReadAt(data, end-int64(len(data)))
	if err != nil {
		return false
	}
	var other [sampleSize]byte
	if same, err := sampleOf(data[:n]).matches(original, end-int64(len(data)), other[:]); err == nil && same {
		return true
	}
	// Or the original was truncated this moment, and the copy is all there is.
	intact, err := g.holds(original, other[:])
	return err != nil || !intact
}

// unreadable notes that a file was compressed before anybody read it, in a way
// that is not known here or broken: what it held is gone. Its position keeps
// that from being said again. When it begins with what was read of another
// file, the gap is that file's.
func (f *follower) unreadable(ctx context.Context, m *sibling) {
	f.log.WarnContext(ctx, "rotated file was compressed before it was read, and can not be unpacked", "path", m.name)
	n := f.create(m.name, m.name, m.name, m.st)
	n.attached, n.over, n.size, n.sure = false, true, 0, 0
	f.touch(n)
	if !slices.ContainsFunc(f.kin(m.name), func(g *generation) bool { return g != n && m.beginsWith(g.head) }) {
		f.chunk.Gaps = append(f.chunk.Gaps, inputs.Gap{Generation: n.id, Path: n.path, Cause: inputs.CauseRemoved})
	}
}
