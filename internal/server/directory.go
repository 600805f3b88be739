package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/seal"
)

// Modes of what the server writes. Stored files are read-only for everyone: it
// keeps honest mistakes away, not root.
const (
	storeFileMode  fs.FileMode = 0o440
	storeDirMode   fs.FileMode = 0o750
	stateFileMode  fs.FileMode = 0o600
	stateDirMode   fs.FileMode = 0o700
	maxSyncedNames             = 10_000
)

// directory is storage in a directory. The link of a file to its name decides who
// was first; a lock file orders changes.
type directory struct {
	fs       durable.FS
	root     string
	incoming *incoming // on the file system of root
	fileMode fs.FileMode
	dirMode  fs.FileMode
	// accept tells which files are values; nil: all but temporary ones.
	accept func(name string) bool
	// private refuses values that other users can write.
	private bool
	// lock keeps other processes out of a change; nil where there is only this one.
	lock func(name string) (unlock func() error, err error)

	changes sync.Mutex

	mu     sync.Mutex
	synced map[string]struct{} // directories that this process knows to be durable
}

// newArchiveDirectory keeps the objects of the archive.
func newArchiveDirectory(fsys durable.FS, root string, in *incoming) *directory {
	return &directory{
		fs: fsys, root: root, incoming: in, fileMode: storeFileMode, dirMode: storeDirMode,
		accept: isObject, synced: make(map[string]struct{}),
	}
}

// newStateDirectory keeps what the servers know.
func newStateDirectory(fsys durable.FS, root string, in *incoming, lock func(string) (func() error, error)) *directory {
	return &directory{
		fs: fsys, root: root, incoming: in, fileMode: stateFileMode, dirMode: stateDirMode,
		private: true, lock: lock, synced: make(map[string]struct{}),
	}
}

func isObject(name string) bool {
	_, err := seal.ParsePath(name)
	return err == nil
}

func (d *directory) String() string { return d.root }

// name is the file of a value. Names were accepted by seal.ParsePath or made of
// parts that are names, so they can not leave the directory.
func (d *directory) name(name string) string { return filepath.Join(d.root, filepath.FromSlash(name)) }

func (d *directory) read(_ context.Context, name string) ([]byte, string, error) {
	if d.private {
		info, err := d.fs.Stat(d.name(name))
		if err == nil {
			err = checkPrivate(d.name(name), info)
		}
		if err != nil {
			return nil, "", fmt.Errorf("read %s: %w", name, err)
		}
	}
	data, err := durable.ReadFile(d.fs, d.name(name), maxValue)
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", name, err)
	}
	return data, seal.DigestOf(data).String(), nil
}

func (d *directory) exists(_ context.Context, name string) (bool, error) {
	_, err := d.stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (d *directory) arrived(_ context.Context, name string) (time.Time, error) {
	info, err := d.stat(name)
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

func (d *directory) stat(name string) (fs.FileInfo, error) {
	info, err := d.fs.Stat(d.name(name))
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", name, err)
	}
	return info, nil
}

// fileBlob is a stored file. Its ReadAt makes it safe for one reader at a time only
// as much as any io.Reader is.
type fileBlob struct {
	*io.SectionReader
	io.Closer
}

func (d *directory) open(_ context.Context, name string) (blob, error) {
	f, err := d.fs.OpenFile(d.name(name), os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", name, err), f.Close())
	}
	return fileBlob{io.NewSectionReader(f, 0, info.Size()), f}, nil
}

func (d *directory) write(ctx context.Context, name string, data []byte, keep time.Time) error {
	f, err := d.incoming.receive(d.fileMode)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), f.discard())
	}
	return errors.Join(d.commit(ctx, f, name, keep, false), f.discard())
}

func (d *directory) commit(_ context.Context, f *incomingFile, name string, _ time.Time, _ bool) error {
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", name, err)
	}
	err := d.makeDirs(filepath.Dir(d.name(name)))
	if err == nil {
		err = d.fs.Link(f.name, d.name(name))
	}
	if err != nil {
		return fmt.Errorf("name %s: %w", name, err)
	}
	return d.makeDurable(name)
}

func (d *directory) makeDurable(name string) error {
	if err := d.fs.SyncDir(filepath.Dir(d.name(name))); err != nil {
		return fmt.Errorf("sync directory of %s: %w", name, err)
	}
	return nil
}

// makeDirs makes a directory below the root durable. One that exists may have
// been made by a process that died before the sync, so every level is synced
// once by each process.
func (d *directory) makeDirs(dir string) error {
	d.mu.Lock()
	_, done := d.synced[dir]
	d.mu.Unlock()
	if done {
		return nil
	}
	if err := d.fs.MkdirAll(dir, d.dirMode); err != nil {
		return err
	}
	if dir != d.root && strings.HasPrefix(dir, d.root) {
		parent := filepath.Dir(dir)
		if err := d.makeDirs(parent); err != nil {
			return err
		}
		if err := d.fs.SyncDir(parent); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.synced) >= maxSyncedNames {
		clear(d.synced)
	}
	d.synced[dir] = struct{}{}
	return nil
}

func (d *directory) swap(ctx context.Context, name, tag string, data []byte) (err error) {
	d.changes.Lock()
	defer d.changes.Unlock()
	if tag == "" {
		// The link decides who was first, also where nothing locks.
		err := d.write(ctx, name, data, time.Time{})
		if errors.Is(err, fs.ErrExist) {
			return d.swapped("make", name)
		}
		return err
	}
	if d.lock != nil {
		unlock, err := d.acquire()
		if err != nil {
			return fmt.Errorf("change state %s: %w", name, err)
		}
		defer func() { err = errors.Join(err, unlock()) }()
	}
	_, have, err := d.read(ctx, name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && have != tag {
		return d.swapped("change", name)
	}
	if err != nil {
		return err
	}
	if err := durable.WriteFile(d.fs, d.name(name), data, d.fileMode); err != nil {
		return fmt.Errorf("change state %s: %w", name, err)
	}
	return nil
}

// swapped tells of the value that stands in the way. It may be of a request that
// failed before it was durable, and whoever is told of it acts on it.
func (d *directory) swapped(step, name string) error {
	if err := d.makeDurable(name); err != nil {
		return err
	}
	return fmt.Errorf("%s state %s: %w", step, name, errSwapped)
}

// Another process holds the lock for one small write.
const (
	lockTries = 200
	lockPause = 10 * time.Millisecond
)

// acquire waits for other processes, for about two seconds.
func (d *directory) acquire() (unlock func() error, err error) {
	for range lockTries {
		unlock, err = d.lock(filepath.Join(d.root, "lock"))
		if !errors.Is(err, durable.ErrLocked) {
			return unlock, err
		}
		time.Sleep(lockPause)
	}
	return nil, err
}

func (d *directory) remove(_ context.Context, name string) error {
	err := d.fs.Remove(d.name(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	// Also what is not there: it may have gone a moment ago, and not for good yet.
	if err := d.makeDurable(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (d *directory) each(n int, f func(i int) error) error {
	for i := range n {
		if err := f(i); err != nil {
			return err
		}
	}
	return nil
}

func (d *directory) healthy(context.Context) error {
	_, err := d.fs.Stat(d.root)
	return err
}

// probeName is the only name that the server ever gives a file in the store
// outside the archive layout, and only for a moment.
const probeName = ".auditail-server-probe"

func (d *directory) probe(ctx context.Context) error {
	err := d.remove(ctx, probeName) // of an earlier run
	if err == nil {
		err = d.write(ctx, probeName, []byte("probe\n"), time.Time{})
	}
	if err == nil {
		err = d.remove(ctx, probeName)
	}
	if errors.Is(err, syscall.EXDEV) {
		return fmt.Errorf("the state directory is not on the file system of the store %s: set --state to a directory there, outside the store", d.root)
	}
	if err != nil {
		return fmt.Errorf("the store is not writable: %w", err)
	}
	return nil
}

func (d *directory) list(ctx context.Context, prefix, after string, limit int) ([]ListedObject, error) {
	found := []ListedObject{}
	err := d.walk(ctx, "", prefix, after, func(path string, info fs.FileInfo) bool {
		found = append(found, ListedObject{Path: path, Size: info.Size()})
		return len(found) < limit
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, fmt.Errorf("list %s: %w", d.root, err)
	}
	return found, nil
}

// errEnough ends a walk.
var errEnough = errors.New("enough")

// walk visits what lies below dir, which is "" or ends in a slash, until visit
// returns false.
func (d *directory) walk(ctx context.Context, dir, prefix, after string, visit func(path string, info fs.FileInfo) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := d.fs.ReadDir(d.name(dir))
	if errors.Is(err, fs.ErrNotExist) { // it vanished with the last payload in it
		return nil
	}
	if err != nil {
		return err
	}
	names := make([]string, 0, len(entries))
	byName := make(map[string]fs.DirEntry, len(entries))
	for _, entry := range entries {
		name := dir + entry.Name()
		if entry.IsDir() {
			name += "/" // as it stands in the paths below, for the order
		}
		names = append(names, name)
		byName[name] = entry
	}
	slices.Sort(names)
	for _, name := range names {
		if strings.HasSuffix(name, "/") {
			if !overlaps(name, prefix) || name < after && !strings.HasPrefix(after, name) {
				continue
			}
			if err := d.walk(ctx, name, prefix, after, visit); err != nil {
				return err
			}
			continue
		}
		if name <= after || !strings.HasPrefix(name, prefix) || !d.accepts(name) {
			continue
		}
		info, err := byName[name].Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if !visit(name, info) {
			return errEnough
		}
	}
	return nil
}

func (d *directory) accepts(name string) bool {
	if d.accept != nil {
		return d.accept(name)
	}
	return !strings.HasSuffix(name, durable.TempSuffix)
}

// overlaps tells whether paths below dir can begin with prefix.
func overlaps(dir, prefix string) bool {
	return strings.HasPrefix(dir, prefix) || strings.HasPrefix(prefix, dir)
}
