//go:build unix

package file

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// handle is an open file. It goes around os.File because a thousand followed
// files are polled many times a second: no allocation a stat, no finalizer, no
// entry in the runtime's poller.
type handle struct {
	fd   int
	born int64 // of the file; asked once, a descriptor never leads to another
}

// openHandle opens name for reading. It never waits: not for the writer of a
// FIFO, not for a device. The caller looks at stat before it reads.
func openHandle(name string) (*handle, error) {
	for {
		fd, err := unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
		return &handle{fd: fd, born: birthOf(fd)}, nil
	}
}

// ReadAt reads once; fewer bytes than len(p) mean the end of the file, io.EOF
// comes with none.
func (h *handle) ReadAt(p []byte, from int64) (int, error) {
	total := 0
	for total < len(p) {
		n, err := unix.Pread(h.fd, p[total:], from+int64(total))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return total, os.NewSyscallError("pread", err)
		}
		if n == 0 {
			break
		}
		total += n
	}
	if total == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return total, nil
}

func (h *handle) stat() (status, error) {
	var st unix.Stat_t
	if err := unix.Fstat(h.fd, &st); err != nil {
		return status{}, os.NewSyscallError("fstat", err)
	}
	return statusOf(&st, h.born), nil
}

func (h *handle) close() error { return os.NewSyscallError("close", unix.Close(h.fd)) }

func statusOf(st *unix.Stat_t, born int64) status {
	s := status{
		id:       fileID{device: uint64(st.Dev), inode: st.Ino, born: born}, //nolint:unconvert // other widths on other systems
		size:     st.Size,
		modified: st.Mtim.Nano(),
		links:    uint64(st.Nlink), //nolint:unconvert // other widths on other systems
	}
	s.kind = kindOf(uint32(st.Mode)) //nolint:unconvert // other widths on other systems
	return s
}

func kindOf(mode uint32) fileKind {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return kindRegular
	case unix.S_IFDIR:
		return kindDirectory
	default:
		return kindOther
	}
}

// tooManyFiles tells that the process or the system is out of descriptors.
func tooManyFiles(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)
}
