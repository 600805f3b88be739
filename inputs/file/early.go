package file

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// earlyFile is a file that was opened the moment an event named it. By the
// next look it may be called something else, or be deleted.
type earlyFile struct {
	name string // that the event gave
	real string // with symbolic links resolved
	st   status
	file source
}

// maxEarly bounds how many files are held open between two looks for what may
// become of them.
const maxEarly = 128

// arrived says what a name that an event carried leads to.
type arrived int

const (
	unwanted arrived = iota // no glob leads there, or it is nothing to be read
	gone                    // nothing is there any more
	opened
)

// openEarly opens a file that was just created or moved into a watched
// directory, when a glob leads to it. It runs in the goroutine that takes
// events: what lives for less than a few milliseconds is not seen.
func (c *Config) openEarly(name string) (earlyFile, arrived) {
	if _, packed := plainName(name); packed || !c.wants(name) {
		return earlyFile{}, unwanted
	}
	if st, err := statPath(name); errors.Is(err, fs.ErrNotExist) {
		return earlyFile{}, gone
	} else if err != nil || st.kind != kindRegular {
		return earlyFile{}, unwanted
	}
	h, err := openHandle(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return earlyFile{}, gone
	case err != nil:
		return earlyFile{}, unwanted // the look says why
	}
	e := earlyFile{name: name, real: name, file: h}
	if e.st, err = h.stat(); err != nil || e.st.kind != kindRegular {
		_ = h.close() // it was something else, and nothing was written
		return earlyFile{}, unwanted
	}
	if info, err := os.Lstat(name); err == nil && info.Mode()&os.ModeSymlink != 0 {
		if target, err := filepath.EvalSymlinks(name); err == nil {
			e.real = target
		}
		// The link may lead elsewhere by now. Beside the wrong file its
		// rotated siblings would be looked for in vain.
		if st, err := statPath(e.real); err != nil || st.id != e.st.id {
			_ = h.close()
			return earlyFile{}, unwanted
		}
	}
	return e, opened
}

// wants tells whether a path is one that a glob leads to.
func (c *Config) wants(name string) bool {
	if excluded(c.Exclude, name) {
		return false
	}
	names := strings.Split(filepath.ToSlash(name), "/")
	for _, glob := range c.Paths {
		if matchPath(strings.Split(filepath.ToSlash(filepath.Clean(glob)), "/"), names) {
			return true
		}
	}
	return false
}

// admitEarly follows the files that had left their names before this look, and
// belong to nobody. It comes after the traces: what was renamed may be known.
func (f *follower) admitEarly(ctx context.Context, l *listings, now time.Time) {
	if f.watch == nil {
		return
	}
	early, vanished := f.watch.takeEarly()
	for _, e := range early {
		if g := f.byIdent[e.st.id]; g != nil {
			g.announced = true
		}
		switch f.inspectEarly(ctx, e, l) {
		case isNew:
			if g := f.editedFrom(f.gone(e.name), e.file); g != nil && f.goOnIn(ctx, g, e.name, e.file) {
				continue
			}
			f.followEarly(ctx, e, now)
		case isKnown:
			f.discard(e.file)
		case isUndecided:
			f.watch.keepEarly(e)
			f.lookDue = true
		}
	}
	f.reportVanished(ctx, vanished)
}

func (f *follower) inspectEarly(ctx context.Context, e earlyFile, l *listings) novelty {
	if f.byIdent[e.st.id] != nil {
		return isKnown
	}
	if st, err := statPath(e.name); err == nil && st.id == e.st.id {
		return isUndecided // the next look admits it, or a suspicion holds it back
	}
	for _, m := range l.withInode(&generation{real: e.real, name: e.name}, e.st.id.inode) {
		if m.st.id == e.st.id {
			return f.inspect(ctx, m)
		}
	}
	if st, err := e.file.stat(); err != nil || st.size == 0 && st.links == 0 {
		return isKnown
	}
	if f.isCopyIn(&sibling{found: found{name: e.name, st: e.st}}, e.file) || f.isVersion(e) {
		return isKnown
	}
	return isNew
}

// isVersion tells whether a file is an earlier version of one that was edited
// more than once since the last look: what it holds is in the newest, too.
func (f *follower) isVersion(e earlyFile) bool {
	return e.st.size >= leastEdited && slices.ContainsFunc(f.generations, func(g *generation) bool {
		return g.path == e.name && f.isCopyOf(g, e.st.id, e.file)
	})
}

// followEarly makes a generation of a file that is known by its descriptor.
func (f *follower) followEarly(ctx context.Context, e earlyFile, now time.Time) {
	st, err := e.file.stat()
	if err != nil {
		f.discard(e.file)
		return
	}
	g := f.create(e.name, e.real, e.name, st)
	g.attached, g.file, g.left, g.announced = false, e.file, now, true
	f.open++
	if _, err := g.begins(g.file, f.scratch[:]); err != nil {
		f.readFailed(ctx, g, err)
	}
	f.touch(g)
	f.expectSuccessors(g)
	f.warm(g)
	f.enqueue(g)
}
