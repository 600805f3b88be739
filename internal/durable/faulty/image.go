package faulty

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// Image is what cache and disk held at one moment. It is read-only and safe for
// concurrent use.
type Image struct {
	folders map[string]*folder
}

func (d *FS) image() *Image { return &Image{folders: copyFolders(d.folders)} }

// copyFolders copies the tree. The contents of files are shared: nothing that
// an image holds is changed in place.
func copyFolders(folders map[string]*folder) map[string]*folder {
	nodes := make(map[*node]*node)
	entries := func(from map[string]*node) map[string]*node {
		to := make(map[string]*node, len(from))
		for name, n := range from {
			to[name] = copyNode(nodes, n)
		}
		return to
	}
	result := make(map[string]*folder, len(folders))
	for name, f := range folders {
		g := &folder{shown: entries(f.shown), disk: entries(f.disk)}
		for _, c := range f.pending {
			if c.node != nil {
				c.node = copyNode(nodes, c.node)
			}
			g.pending = append(g.pending, c)
		}
		result[name] = g
	}
	return result
}

func copyNode(nodes map[*node]*node, n *node) *node {
	if m := nodes[n]; m != nil {
		return m
	}
	m := &node{disk: n.disk, pending: slices.Clip(n.pending), strayed: n.strayed, mode: n.mode, changed: n.changed}
	if n.strayed {
		m.shown = slices.Clone(n.shown)
	}
	nodes[n] = m
	return m
}

// Kill returns the file system as another process finds it after this one was
// killed: everything is there, and what was not synced still is not.
func (i *Image) Kill() *FS {
	d := &FS{space: -1, folders: copyFolders(i.folders)}
	for _, f := range d.folders {
		for _, n := range f.shown {
			if !n.strayed {
				n.shown = n.contents(func(write) []write { return nil }, true)
			}
		}
	}
	return d
}

// contents returns a new slice with what is on the disk and of each pending
// write either all, or what keep returns.
func (n *node) contents(keep func(write) []write, all bool) []byte {
	b := slices.Clone(n.disk)
	for _, w := range n.pending {
		if all {
			b = w.apply(b)
			continue
		}
		for _, part := range keep(w) {
			b = part.apply(b)
		}
	}
	return b
}

// Loss says what of the unsynced a power cut takes.
type Loss int

// The losses.
const (
	All  Loss = iota // everything that was not synced
	None             // nothing: the disk was quick
	Some             // each change of a folder and each sector by itself, at random
	Late             // the older ones are kept, the newer ones lost, at a random border
)

// PowerCut returns the file system as the next boot finds it: all of it is on
// the disk. The same source and loss give the same result.
func (i *Image) PowerCut(random *rand.Rand, loss Loss) *FS {
	d := &FS{space: -1, folders: make(map[string]*folder, len(i.folders))}
	settled := make(map[*node]*node)
	for _, name := range slices.Sorted(maps.Keys(i.folders)) {
		from, to := i.folders[name], newFolder()
		entries := maps.Clone(from.disk)
		border := random.IntN(len(from.pending) + 1)
		for at, c := range from.pending {
			if loss == None || loss == Some && random.IntN(2) == 0 || loss == Late && at < border {
				apply(entries, c)
			}
		}
		for _, base := range slices.Sorted(maps.Keys(entries)) {
			n := entries[base]
			m := settled[n]
			if m == nil {
				m = &node{disk: n.settle(random, loss), mode: n.mode, changed: n.changed}
				m.shown = slices.Clone(m.disk)
				settled[n] = m
			}
			to.shown[base], to.disk[base] = m, m
		}
		d.folders[name] = to
	}
	return d
}

// settle returns what of a file the disk holds after a power cut.
func (n *node) settle(random *rand.Rand, loss Loss) []byte {
	sectors := 0
	for _, w := range n.pending {
		sectors += len(w.sectors())
	}
	border, at := random.IntN(sectors+1), 0
	return n.contents(func(w write) (kept []write) {
		for _, s := range w.sectors() {
			if loss == Some && random.IntN(2) == 0 || loss == Late && at < border {
				kept = append(kept, s)
			}
			at++
		}
		if len(kept) < len(w.sectors()) && w.data != nil && loss == Some && random.IntN(4) == 0 {
			// The file's length was written, but not what lies there.
			kept = append(kept, write{at: w.at + int64(len(w.data)), data: []byte{}})
		}
		return kept
	}, loss == None)
}

// sectors splits a write at the borders of sectors. A truncation is one piece.
func (w write) sectors() (parts []write) {
	if w.data == nil {
		return []write{w}
	}
	for at, rest := w.at, w.data; len(rest) > 0; {
		n := min(SectorSize-at%SectorSize, int64(len(rest)))
		parts = append(parts, write{at: at, data: rest[:n]})
		at, rest = at+n, rest[n:]
	}
	return parts
}
