// Package faulty is the fault-injecting twin of durable.OS: a file system in
// memory that keeps apart what the kernel shows and what the disk holds, so
// that tests can cut the power after any operation and look at what is left.
//
// What it promises is the least that POSIX promises, and less than most file
// systems keep. Bytes are durable after Sync of their file, names after SyncDir
// of their folder, and until then a power cut may take any of them: each
// 512-byte sector of each write by itself, in any order, and each creation,
// link, rename and removal by itself. Only three things are taken for granted:
// a sector is written whole or not at all, a rename inside a folder is atomic,
// and MkdirAll is durable when it returns (durable.OS syncs the parents).
//
// Every call on the file system or on an open file is an operation with a
// number, from 1; a [Fault] makes chosen ones fail, as not done or as done and
// yet reported as failed.
package faulty

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/auditail/auditail/internal/durable"
)

// SectorSize is the unit in which a disk writes: whole or not at all.
const SectorSize = 512

// Kind is the kind of an operation. Kinds are bits, so that a Fault can name several.
type Kind uint

// The kinds of operations.
const (
	Open Kind = 1 << iota // OpenFile without O_CREATE and O_TRUNC
	Create
	Read
	Stat
	ReadDir
	Write
	Truncate
	Sync
	SyncDir
	Rename
	Link
	Remove
	Mkdir
	Close

	// Changing are the kinds after which a power cut may find another disk.
	Changing = Create | Write | Truncate | Sync | SyncDir | Rename | Link | Remove | Mkdir
)

// Operation is a call on the file system.
type Operation struct {
	Number int // from 1
	Kind   Kind
	Name   string
}

// Fault makes operations fail. The zero value of each selector means all.
type Fault struct {
	From  int    // number of the first operation that may fail
	Count int    // how many that match fail; 0: one, negative: all from there on
	Kinds Kind   // which kinds fail
	Match string // the operation's name contains this
	Err   error

	// Done carries the operation out and reports failure nevertheless.
	Done bool
	// Short is how many bytes a failing write still writes.
	Short int
	// Lose makes a failing Sync drop the dirty bytes: the disk never gets them,
	// reading still returns them, and the next Sync reports success.
	Lose bool
}

// FS is a disk with the kernel's cache in front of it. It implements durable.FS
// and is safe for concurrent use.
type FS struct {
	mu      sync.Mutex
	folders map[string]*folder
	number  int
	faults  []*Fault
	observe func(Operation, *Image)
	space   int64 // bytes that all files may have together; negative: no end
}

var _ durable.FS = (*FS)(nil)

// New returns an empty disk.
func New() *FS {
	return &FS{space: -1, folders: map[string]*folder{string(filepath.Separator): newFolder(), ".": newFolder()}}
}

// Observe makes the file system call f after each operation of the kinds
// Changing, with what cache and disk then hold. f runs while the file system is
// locked: it must not call it.
func (d *FS) Observe(f func(Operation, *Image)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.observe = f
}

// Inject adds a fault. Where several match an operation, the first one acts.
func (d *FS) Inject(f Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.Count == 0 {
		f.Count = 1
	}
	d.faults = append(d.faults, &f)
}

// Limit makes the disk as large as the files that are on it and so many bytes
// more: what does not fit is ENOSPC. Names and lengths of files cost nothing. A
// negative number takes the limit away.
func (d *FS) Limit(more int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.space = -1
	if more >= 0 {
		d.space = d.used() + more
	}
}

// used adds up the files. d.mu is held.
func (d *FS) used() (sum int64) {
	counted := make(map[*node]bool)
	for _, f := range d.folders {
		for _, n := range f.shown {
			if !counted[n] {
				counted[n] = true
				sum += int64(len(n.shown))
			}
		}
	}
	return sum
}

// Heal removes all faults.
func (d *FS) Heal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = nil
}

// Operations returns how many operations there were so far.
func (d *FS) Operations() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.number
}

// Image returns what cache and disk hold now.
func (d *FS) Image() *Image {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.image()
}

// folder is a directory: entries as shown, and how the disk differs.
type folder struct {
	shown   map[string]*node
	disk    map[string]*node
	pending []change
}

// change is what one operation does to the entries of a folder, atomically.
type change struct {
	remove string
	name   string // "" for a removal
	node   *node
}

func newFolder() *folder {
	return &folder{shown: make(map[string]*node), disk: make(map[string]*node)}
}

func apply(entries map[string]*node, c change) {
	if c.remove != "" {
		delete(entries, c.remove)
	}
	if c.name != "" {
		entries[c.name] = c.node
	}
}

func (f *folder) change(c change) {
	apply(f.shown, c)
	f.pending = append(f.pending, c)
}

// node is a file. disk and the data of pending are never changed in place, so
// that images can share them.
type node struct {
	shown   []byte
	disk    []byte
	pending []write
	strayed bool // shown is not disk plus pending: a failed sync lost bytes
	mode    fs.FileMode
	changed time.Time
}

// write is a write at an offset, or, with nil data, a truncation to it.
type write struct {
	at   int64
	data []byte
}

func (w write) apply(b []byte) []byte {
	end := w.at + int64(len(w.data))
	if w.data == nil && end < int64(len(b)) {
		return slices.Clone(b[:end])
	}
	if n := end - int64(len(b)); n > 0 {
		b = append(b, make([]byte, n)...)
	}
	copy(b[w.at:], w.data)
	return b
}

func (n *node) write(w write) {
	n.shown = w.apply(n.shown)
	n.pending = append(n.pending, w)
}

func (n *node) sync() {
	if len(n.pending) == 0 {
		return
	}
	disk := slices.Clone(n.disk)
	for _, w := range n.pending {
		disk = w.apply(disk)
	}
	n.disk, n.pending = disk, nil
}

// begin counts an operation and finds the fault that acts on it. d.mu is held.
func (d *FS) begin(kind Kind, name string) (Operation, *Fault) {
	d.number++
	op := Operation{Number: d.number, Kind: kind, Name: name}
	for _, f := range d.faults {
		if f.Count != 0 && d.number >= f.From && (f.Kinds == 0 || f.Kinds&kind != 0) && strings.Contains(name, f.Match) {
			f.Count--
			return op, f
		}
	}
	return op, nil
}

// do is one operation: act carries it out. d.mu is taken.
func (d *FS) do(kind Kind, name string, act func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	op, fault := d.begin(kind, name)
	if fault != nil && !fault.Done {
		return &fs.PathError{Op: "fault", Path: name, Err: fault.Err}
	}
	err := act()
	if err == nil && fault != nil {
		err = &fs.PathError{Op: "fault after the fact", Path: name, Err: fault.Err}
	}
	d.tell(op)
	return err
}

func (d *FS) tell(op Operation) {
	if d.observe != nil && op.Kind&Changing != 0 {
		d.observe(op, d.image())
	}
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// find returns the folder that a name lies in and the name there.
func (d *FS) find(name string) (*folder, string, error) {
	name = filepath.Clean(name)
	f := d.folders[filepath.Dir(name)]
	if f == nil {
		return nil, "", syscall.ENOENT
	}
	return f, filepath.Base(name), nil
}

// OpenFile implements durable.FS.
func (d *FS) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	kind := Open
	if flag&(os.O_CREATE|os.O_TRUNC) != 0 {
		kind = Create
	}
	var opened *file
	err := d.do(kind, name, func() error {
		folder, base, err := d.find(name)
		if err != nil {
			return pathError("open", name, err)
		}
		if d.folders[filepath.Clean(name)] != nil {
			return pathError("open", name, syscall.EISDIR)
		}
		n := folder.shown[base]
		switch {
		case n == nil && flag&os.O_CREATE == 0:
			return pathError("open", name, syscall.ENOENT)
		case n == nil:
			n = &node{mode: perm, changed: time.Now()}
			folder.change(change{name: base, node: n})
		case flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
			return pathError("open", name, syscall.EEXIST)
		case flag&os.O_TRUNC != 0 && len(n.shown) > 0:
			n.write(write{})
		}
		opened = &file{disk: d, node: n, name: name, flag: flag}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// MkdirAll implements durable.FS. It is durable when it returns.
func (d *FS) MkdirAll(name string, _ fs.FileMode) error {
	return d.do(Mkdir, name, func() error {
		for at := filepath.Clean(name); d.folders[at] == nil; at = filepath.Dir(at) {
			if folder, base, err := d.find(at); err == nil && folder.shown[base] != nil {
				return pathError("mkdir", at, syscall.ENOTDIR)
			}
			d.folders[at] = newFolder()
		}
		return nil
	})
}

// Rename implements durable.FS for files. Between two folders it is not atomic
// in a power cut.
func (d *FS) Rename(from, to string) error {
	return d.do(Rename, to, func() error {
		source, oldName, err := d.find(from)
		if err != nil {
			return pathError("rename", from, err)
		}
		target, newName, err := d.find(to)
		if err != nil {
			return pathError("rename", to, err)
		}
		n := source.shown[oldName]
		if n == nil {
			return pathError("rename", from, syscall.ENOENT)
		}
		if source == target {
			source.change(change{remove: oldName, name: newName, node: n})
			return nil
		}
		target.change(change{name: newName, node: n})
		source.change(change{remove: oldName})
		return nil
	})
}

// Link implements durable.FS.
func (d *FS) Link(from, to string) error {
	return d.do(Link, to, func() error {
		source, oldName, err := d.find(from)
		if err != nil {
			return pathError("link", from, err)
		}
		target, newName, err := d.find(to)
		if err != nil {
			return pathError("link", to, err)
		}
		switch {
		case source.shown[oldName] == nil:
			return pathError("link", from, syscall.ENOENT)
		case target.shown[newName] != nil:
			return pathError("link", to, syscall.EEXIST)
		}
		target.change(change{name: newName, node: source.shown[oldName]})
		return nil
	})
}

// Remove implements durable.FS for files.
func (d *FS) Remove(name string) error {
	return d.do(Remove, name, func() error {
		folder, base, err := d.find(name)
		if err == nil && folder.shown[base] == nil {
			err = syscall.ENOENT
		}
		if err != nil {
			return pathError("remove", name, err)
		}
		folder.change(change{remove: base})
		return nil
	})
}

// ReadDir implements durable.FS.
func (d *FS) ReadDir(name string) (entries []fs.DirEntry, err error) {
	err = d.do(ReadDir, name, func() error {
		name := filepath.Clean(name)
		folder := d.folders[name]
		if folder == nil {
			return pathError("open", name, syscall.ENOENT)
		}
		for base, n := range folder.shown {
			entries = append(entries, fs.FileInfoToDirEntry(n.info(base)))
		}
		for sub := range d.folders {
			if sub != name && filepath.Dir(sub) == name {
				entries = append(entries, fs.FileInfoToDirEntry(info{name: filepath.Base(sub), mode: fs.ModeDir | 0o700}))
			}
		}
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
		return nil
	})
	return entries, err
}

// Stat implements durable.FS.
func (d *FS) Stat(name string) (result fs.FileInfo, err error) {
	err = d.do(Stat, name, func() error {
		if d.folders[filepath.Clean(name)] != nil {
			result = info{name: filepath.Base(name), mode: fs.ModeDir | 0o700}
			return nil
		}
		folder, base, err := d.find(name)
		if err == nil && folder.shown[base] == nil {
			err = syscall.ENOENT
		}
		if err != nil {
			return pathError("stat", name, err)
		}
		result = folder.shown[base].info(base)
		return nil
	})
	return result, err
}

// SyncDir implements durable.FS.
func (d *FS) SyncDir(name string) error {
	return d.do(SyncDir, name, func() error {
		folder := d.folders[filepath.Clean(name)]
		if folder == nil {
			return pathError("sync", name, syscall.ENOENT)
		}
		for _, c := range folder.pending {
			apply(folder.disk, c)
		}
		folder.pending = nil
		return nil
	})
}

// info is a fs.FileInfo.
type info struct {
	name    string
	size    int64
	mode    fs.FileMode
	changed time.Time
}

func (n *node) info(name string) info {
	return info{name: name, size: int64(len(n.shown)), mode: n.mode, changed: n.changed}
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return i.changed }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }

// errClosed is what an open file answers behind its Close.
var errClosed = errors.New("file already closed")

// Flip inverts one bit of a file, in the cache and on the disk. It is no
// operation. It reports whether there is such a bit.
func (d *FS) Flip(name string, bit int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	folder, base, err := d.find(name)
	if err != nil || folder.shown[base] == nil || bit>>3 >= int64(len(folder.shown[base].shown)) {
		return false
	}
	n := folder.shown[base]
	n.sync()
	n.shown = slices.Clone(n.shown)
	n.shown[bit>>3] ^= 1 << (bit & 7)
	n.disk = slices.Clone(n.shown)
	return true
}
