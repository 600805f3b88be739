package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Entry is a file of an archive.
type Entry struct {
	Path string // slash-separated, relative to the archive's root
	Size int64  // bytes; 0 unless Regular
	// Regular is false for symbolic links, pipes and devices, which no archive holds.
	Regular bool

	// Of stores that keep versions. Open returns the oldest version, which is the
	// one that was sealed if any is.
	Versions    int  // of the file; 0 where there are none to be told
	Overwritten bool // they are not the same bytes
	Hidden      bool // the newest is a delete marker
}

// Source is where an archive lies. Its methods may be called concurrently.
type Source interface {
	// List calls found for every file below the root, in any order, from one
	// goroutine. It follows no symbolic link and stops at found's first error.
	List(ctx context.Context, found func(Entry) error) error
	// Open returns the content of a regular file. errors.Is fs.ErrNotExist tells
	// a file that is not there. The caller closes what it returns.
	Open(ctx context.Context, path string) (io.ReadCloser, error)
}

// Dir is an archive in a directory. It never leaves the directory, whatever
// links lie in it.
type Dir struct{ root *os.Root }

// OpenDir opens the archive in a directory. The caller closes it.
func OpenDir(name string) (*Dir, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	return &Dir{root: root}, nil
}

// Close releases the directory.
func (d *Dir) Close() error { return d.root.Close() }

// Open implements Source.
func (d *Dir) Open(_ context.Context, name string) (io.ReadCloser, error) {
	info, err := d.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open %s: %w", name, errNotRegular)
	}
	// It may be another file by now: opening a pipe would wait for its other end.
	f, err := d.root.OpenFile(name, os.O_RDONLY|withoutWaiting, 0)
	if err != nil {
		return nil, err
	}
	opened, err := f.Stat()
	if err == nil && !os.SameFile(info, opened) {
		err = fmt.Errorf("open %s: it was replaced while it was opened", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

var errNotRegular = errors.New("not a regular file")

// listStep is how many names of a folder are read at a time: an epoch's seals
// can be millions.
const listStep = 1024

// List implements Source.
func (d *Dir) List(ctx context.Context, found func(Entry) error) error {
	return d.list(ctx, ".", found)
}

// maxDepth is how deep folders are looked into: the layout has no deeper file.
const maxDepth = 8

func (d *Dir) list(ctx context.Context, folder string, found func(Entry) error) (err error) {
	if strings.Count(folder, "/") >= maxDepth {
		return found(Entry{Path: folder}) // a folder where none may be
	}
	f, err := d.root.Open(folder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for {
		entries, err := f.ReadDir(listStep)
		for _, entry := range entries {
			if err := d.entry(ctx, path.Join(folder, entry.Name()), entry, found); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (d *Dir) entry(ctx context.Context, name string, entry fs.DirEntry, found func(Entry) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if entry.IsDir() {
		return d.list(ctx, name, found)
	}
	e := Entry{Path: name, Regular: entry.Type().IsRegular()}
	if e.Regular {
		info, err := entry.Info()
		if err != nil {
			return fmt.Errorf("list %s: %w", name, err)
		}
		e.Size = info.Size()
	}
	return found(e)
}
