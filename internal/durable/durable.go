// Package durable is the only way from auditail to the disk for state that
// must survive a crash: a file-system seam with one real implementation, [OS],
// and a fault-injecting twin in durable/faulty that forgets what was not synced.
//
// The rule it serves: bytes are durable after File.Sync, a name after SyncDir
// of its directory. Nothing is acknowledged before both.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// File is an open file. Methods behave as those of *os.File.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.WriterAt
	io.Closer
	Sync() error
	Truncate(size int64) error
	// Allocate makes the file size bytes long and takes the space for them, so
	// that removing the file gives that space back. What it holds is undefined.
	Allocate(size int64) error
	Stat() (fs.FileInfo, error)
}

// FS is what auditail needs of a file system. Errors satisfy errors.Is with
// fs.ErrNotExist and fs.ErrExist as those of package os do.
type FS interface {
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	MkdirAll(name string, perm fs.FileMode) error
	Rename(from, to string) error
	// Link makes to another name of from; it fails with fs.ErrExist when to is taken.
	Link(from, to string) error
	Remove(name string) error
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes the directory's entries durable.
	SyncDir(name string) error
}

// OS is the real file system. On Windows, which has no modes, what is made with
// none for others (0600, 0750) is for the system, administrators and the account of
// the process alone, by its own access list or by one that it inherits.
type OS struct{}

var _ FS = OS{}

// OpenFile implements FS.
func (OS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := openFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// osFile is an *os.File with what File wants of it beyond package os.
type osFile struct{ *os.File }

// Allocate implements File.
func (f osFile) Allocate(size int64) error {
	err := allocate(f.File, size)
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	zeros := make([]byte, 64<<10)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return err
		}
	}
	return f.Truncate(size)
}

// MkdirAll implements FS. New directories are made durable up to the first that existed.
func (o OS) MkdirAll(name string, perm fs.FileMode) error {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return nil
	}
	if parent := filepath.Dir(name); parent != name {
		if err := o.MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	if err := mkdir(name, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return o.SyncDir(filepath.Dir(name))
}

// Link implements FS.
func (OS) Link(from, to string) error { return os.Link(from, to) }

// ReadDir implements FS.
func (OS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

// Stat implements FS.
func (OS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

// TempSuffix ends the name of a file that is being written. What carries it
// after a crash was never acknowledged and may be removed.
const TempSuffix = ".tmp"

// ReadFile returns the whole of a file, refusing one larger than limit bytes.
func ReadFile(fsys FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read %s: larger than %d bytes", name, limit)
	}
	return data, nil
}

// WriteFile replaces name by data: after it returns nil the new content is
// durable under the name; after an error or a crash the name holds the old
// content or the new one, never a mixture.
func WriteFile(fsys FS, name string, data []byte, perm fs.FileMode) error {
	temp := name + TempSuffix
	if err := writeSynced(fsys, temp, data, perm); err != nil {
		return err
	}
	if err := fsys.Rename(temp, name); err != nil {
		return fmt.Errorf("rename to %s: %w", name, err)
	}
	if err := fsys.SyncDir(filepath.Dir(name)); err != nil {
		return fmt.Errorf("sync directory of %s: %w", name, err)
	}
	return nil
}

// CreateFile is WriteFile for a name that must not exist: it fails with
// fs.ErrExist when it does, and two callers at once have one winner.
func CreateFile(fsys FS, name string, data []byte, perm fs.FileMode) error {
	temp := name + TempSuffix
	// A crash between link and removal leaves both names on one file: writing
	// through the old temporary name would change the finished one.
	if err := fsys.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", temp, err)
	}
	if err := writeSynced(fsys, temp, data, perm); err != nil {
		return err
	}
	linkErr := fsys.Link(temp, name)
	if err := fsys.Remove(temp); err != nil {
		return errors.Join(linkErr, fmt.Errorf("remove %s: %w", temp, err))
	}
	if linkErr != nil {
		return fmt.Errorf("create %s: %w", name, linkErr)
	}
	if err := fsys.SyncDir(filepath.Dir(name)); err != nil {
		return fmt.Errorf("sync directory of %s: %w", name, err)
	}
	return nil
}

func writeSynced(fsys FS, name string, data []byte, perm fs.FileMode) error {
	f, err := fsys.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// ErrLocked is wrapped by Lock when another process holds the lock.
var ErrLocked = errors.New("another process holds it")
