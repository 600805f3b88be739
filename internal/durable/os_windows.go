package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/windows"

	"github.com/auditail/auditail/internal/durable/access"
)

// Rename implements FS.
func (OS) Rename(from, to string) error {
	return whileHeld(func() error { return os.Rename(from, to) })
}

// Remove implements FS.
func (OS) Remove(name string) error {
	return whileHeld(func() error { return os.Remove(name) })
}

// whileHeld repeats what fails because another program has the file open: virus
// scanners, indexers and backups hold a new file for moments, and Windows then
// neither renames nor removes it. What fails for two seconds has another reason.
func whileHeld(do func() error) error {
	const patience, longest = 2 * time.Second, 50 * time.Millisecond
	end := time.Now().Add(patience)
	for wait := time.Millisecond; ; wait = min(2*wait, longest) {
		err := do()
		held := errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, windows.ERROR_ACCESS_DENIED)
		if !held || time.Now().After(end) {
			return err
		}
		time.Sleep(wait)
	}
}

// A handle flushes a directory if it may add to it (MS-FSA 2.1.5.7, MS-SMB2
// 3.3.5.11); that of os.Open may only read, and is refused. The rights have the
// numbers of FILE_WRITE_DATA and FILE_APPEND_DATA.
const (
	addFile         = windows.FILE_WRITE_DATA
	addSubdirectory = windows.FILE_APPEND_DATA
)

// SyncDir implements FS.
func (OS) SyncDir(name string) error {
	h, err := openDir(name, addFile)
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		h, err = openDir(name, addSubdirectory) // who may make folders here alone, and no files
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	d := os.NewFile(uintptr(h), name)
	return errors.Join(d.Sync(), d.Close())
}

func openDir(name string, access uint32) (windows.Handle, error) {
	path, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return windows.InvalidHandle, err
	}
	return windows.CreateFile(path, access|windows.SYNCHRONIZE,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE,
		nil, windows.OPEN_EXISTING, windows.FILE_FLAG_BACKUP_SEMANTICS, 0)
}

func openFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	if flag&os.O_CREATE != 0 && needsList(name, perm) {
		switch err := access.Create(name); {
		case err == nil:
			flag &^= os.O_EXCL
		case !errors.Is(err, fs.ErrExist) || flag&os.O_EXCL != 0:
			return nil, err
		}
	}
	return os.OpenFile(name, flag, perm)
}

func mkdir(name string, perm fs.FileMode) error {
	if needsList(name, perm) {
		return access.Mkdir(name)
	}
	return os.Mkdir(name, perm)
}

// needsList tells whether what is made with a mode needs an access list of its own.
// In a folder that others can not use it inherits one, which the folder's owner may
// have chosen.
func needsList(name string, perm fs.FileMode) bool {
	const others = 0o007
	if perm&others != 0 {
		return false
	}
	read, write, err := access.Others(filepath.Dir(name))
	return read || write || err != nil
}
