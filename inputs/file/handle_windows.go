package file

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/windows"
)

// handle is an open file.
type handle struct{ file *os.File }

// openHandle opens name for reading and lets others rename and delete it, so
// that following a file never stands in the way of its rotation.
func openHandle(name string) (*handle, error) {
	path, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	h, err := windows.CreateFile(path, windows.GENERIC_READ,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE,
		nil, windows.OPEN_EXISTING, windows.FILE_ATTRIBUTE_NORMAL|windows.FILE_FLAG_BACKUP_SEMANTICS, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return &handle{file: os.NewFile(uintptr(h), name)}, nil
}

// ReadAt reads; fewer bytes than len(p) mean the end of the file, io.EOF comes
// with none.
func (h *handle) ReadAt(p []byte, from int64) (int, error) {
	n, err := h.file.ReadAt(p, from)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func (h *handle) stat() (status, error) {
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(h.file.Fd()), &info); err != nil {
		return status{}, os.NewSyscallError("GetFileInformationByHandle", err)
	}
	s := status{
		id: fileID{
			device: uint64(info.VolumeSerialNumber),
			inode:  uint64(info.FileIndexHigh)<<32 | uint64(info.FileIndexLow),
		},
		size:     int64(info.FileSizeHigh)<<32 | int64(info.FileSizeLow),
		modified: info.LastWriteTime.Nanoseconds(),
		links:    uint64(info.NumberOfLinks),
		kind:     kindRegular,
	}
	if info.FileAttributes&windows.FILE_ATTRIBUTE_DIRECTORY != 0 {
		s.kind = kindDirectory
	}
	return s, nil
}

func (h *handle) close() error { return h.file.Close() }

// statPath follows symbolic links.
func statPath(name string) (status, error) {
	h, err := openHandle(name)
	if err != nil {
		return status{}, err
	}
	s, err := h.stat()
	return s, errors.Join(err, h.close())
}

// tooManyFiles tells that the process or the system is out of descriptors.
func tooManyFiles(err error) bool { return errors.Is(err, windows.ERROR_TOO_MANY_OPEN_FILES) }
