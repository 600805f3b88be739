package file

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// maxSubdirectories bounds how many directories beside a file are searched for
// its rotated siblings.
const maxSubdirectories = 32

// listings remembers within one look what lies where rotated files go, so that
// a thousand files that are rotated at once cost one listing.
type listings struct {
	rotated []pattern // configured places
	byDir   map[string]*directory
	more    *directory // what lies in the configured places
}

func (f *follower) listings() *listings {
	return &listings{rotated: f.rotated, byDir: map[string]*directory{}}
}

// directory is what was found in one: files that may be the rotated siblings
// of others.
type directory struct {
	files   []*sibling
	names   map[string]struct{}
	empty   bool // or not to be listed
	subs    []string
	byInode map[uint64][]*sibling
	byRoot  map[string][]*sibling // by the names that they may have had
	byShape map[string][]*sibling // by the name without its digits
}

// sibling is a file beside a followed one.
type sibling struct {
	found

	beside bool   // it is compressed, and its original still there
	opened bool   // head was asked for
	head   []byte // of what was compressed
}

// withInode returns the files in the places of a generation that have an inode.
func (l *listings) withInode(g *generation, inode uint64) []*sibling {
	var out []*sibling
	for _, d := range l.places(g) {
		out = append(out, d.byInode[inode]...)
	}
	return out
}

// related returns the files in the places of a generation that are named like
// it, rotated, rotated further or compressed.
func (l *listings) related(g *generation) []*sibling {
	base := filepath.Base(g.real)
	roots := append([]string{base}, unrotated(base)...)
	var out []*sibling
	for _, d := range l.places(g) {
		index := d.roots()
		for _, root := range roots {
			for _, s := range index[root] {
				if !slices.Contains(out, s) {
					out = append(out, s)
				}
			}
		}
	}
	return out
}

// alike returns the files beside a generation's whose names differ from its in
// digits only.
func (l *listings) alike(g *generation) []*sibling {
	return l.at(filepath.Dir(g.real)).shapes()[shapeOf(filepath.Base(g.real))]
}

// places returns what may hold rotated siblings of a generation's file: its
// directory, the directories in it, and where the configuration says.
func (l *listings) places(g *generation) []*directory {
	dir := filepath.Dir(g.real)
	own := l.at(dir)
	out := []*directory{own}
	if current := filepath.Dir(g.name); current != dir {
		out = append(out, l.at(current))
	}
	for _, sub := range own.subs {
		if d := l.at(sub); !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	if len(l.rotated) > 0 {
		out = append(out, l.configured())
	}
	return out
}

func (l *listings) at(dir string) *directory {
	if d, ok := l.byDir[dir]; ok {
		return d
	}
	d := newDirectory()
	l.byDir[dir] = d
	entries, err := os.ReadDir(dir)
	d.empty = err != nil || len(entries) == 0
	for _, entry := range entries {
		name := filepath.Join(dir, entry.Name())
		switch {
		case entry.Type().IsRegular():
			d.names[name] = struct{}{}
			d.add(name)
		case entry.IsDir() && len(d.subs) < maxSubdirectories:
			d.subs = append(d.subs, name)
		}
	}
	d.findOriginals()
	return d
}

func (l *listings) configured() *directory {
	if l.more != nil {
		return l.more
	}
	l.more = newDirectory()
	w := walker{dir: func(string) {}, fail: func(string, error) {}, match: func(name string) {
		l.more.names[name] = struct{}{}
		l.more.add(name)
	}}
	for _, p := range l.rotated {
		w.expand(p)
	}
	l.more.findOriginals()
	return l.more
}

func newDirectory() *directory {
	return &directory{names: map[string]struct{}{}, byInode: map[uint64][]*sibling{}}
}

func (d *directory) add(name string) {
	st, err := statPath(name)
	if err != nil || st.kind != kindRegular {
		return
	}
	s := &sibling{found: found{name: name, st: st}}
	d.files = append(d.files, s)
	d.byInode[st.id.inode] = append(d.byInode[st.id.inode], s)
}

func (d *directory) findOriginals() {
	for _, s := range d.files {
		if plain, packed := plainName(s.name); packed {
			_, s.beside = d.names[plain]
		}
	}
}

func (d *directory) roots() map[string][]*sibling {
	if d.byRoot == nil {
		d.byRoot = map[string][]*sibling{}
		for _, s := range d.files {
			base := filepath.Base(s.name)
			if plain, packed := plainName(base); packed {
				d.byRoot[plain] = append(d.byRoot[plain], s)
			}
			for _, root := range unrotated(base) {
				d.byRoot[root] = append(d.byRoot[root], s)
			}
		}
	}
	return d.byRoot
}

func (d *directory) shapes() map[string][]*sibling {
	if d.byShape == nil {
		d.byShape = map[string][]*sibling{}
		for _, s := range d.files {
			shape := shapeOf(filepath.Base(s.name))
			d.byShape[shape] = append(d.byShape[shape], s)
		}
	}
	return d.byShape
}

// beginsWith tells whether a compressed file begins with what a sample was
// taken of. Each is opened once in a look, however many generations ask.
func (s *sibling) beginsWith(head sample) bool {
	if !s.opened {
		s.opened = true
		if h, err := openSource(s.name); err == nil {
			if id, err := h.identity(); err == nil && id == s.st.id {
				s.readHead(h)
			}
			_ = h.close() // nothing was written
		}
	}
	return head.length > 0 && head.length <= int64(len(s.head)) && sampleOf(s.head[:head.length]) == head
}

// readHead takes the head from the open file.
func (s *sibling) readHead(h source) {
	s.opened, s.head = true, nil
	data := make([]byte, sampleSize)
	if n, err := h.ReadAt(data, 0); err == nil || errors.Is(err, io.EOF) {
		s.head = data[:n]
	}
}
