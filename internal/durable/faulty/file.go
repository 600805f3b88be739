package faulty

import (
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// file is an open file. Its fields are guarded by the file system's lock.
type file struct {
	disk   *FS
	node   *node
	name   string
	flag   int
	offset int64
	closed bool
}

func (f *file) writable() bool { return f.flag&(os.O_WRONLY|os.O_RDWR) != 0 }
func (f *file) readable() bool { return f.flag&os.O_WRONLY == 0 }

// do is an operation on an open file.
func (f *file) do(kind Kind, allowed bool, act func() error) error {
	return f.disk.do(kind, f.name, func() error {
		switch {
		case f.closed:
			return pathError("use", f.name, errClosed)
		case !allowed:
			return pathError("use", f.name, syscall.EBADF)
		}
		return act()
	})
}

func (f *file) Read(b []byte) (n int, err error) {
	err = f.do(Read, f.readable(), func() error {
		n, err = f.readAt(b, f.offset)
		f.offset += int64(n)
		if n > 0 {
			return nil
		}
		return err
	})
	return n, err
}

func (f *file) ReadAt(b []byte, at int64) (n int, err error) {
	err = f.do(Read, f.readable(), func() error {
		n, err = f.readAt(b, at)
		return err
	})
	return n, err
}

func (f *file) readAt(b []byte, at int64) (int, error) {
	if at < 0 {
		return 0, pathError("read", f.name, syscall.EINVAL)
	}
	if len(b) == 0 {
		return 0, nil
	}
	n := 0
	if at < int64(len(f.node.shown)) {
		n = copy(b, f.node.shown[at:])
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) Write(b []byte) (int, error) {
	n, err := f.write(b, func() int64 {
		if f.flag&os.O_APPEND != 0 {
			return int64(len(f.node.shown))
		}
		return f.offset
	})
	f.disk.mu.Lock()
	f.offset += int64(n)
	f.disk.mu.Unlock()
	return n, err
}

func (f *file) WriteAt(b []byte, at int64) (int, error) {
	if at < 0 || f.flag&os.O_APPEND != 0 {
		return 0, pathError("write", f.name, syscall.EINVAL)
	}
	return f.write(b, func() int64 { return at })
}

// write is not made of do, because a failing write can still write something.
func (f *file) write(b []byte, at func() int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	op, fault := f.disk.begin(Write, f.name)
	if f.closed {
		return 0, pathError("write", f.name, errClosed)
	}
	if !f.writable() {
		return 0, pathError("write", f.name, syscall.EBADF)
	}
	n, place := len(b), at()
	if fault != nil && !fault.Done {
		n = min(n, fault.Short)
	}
	room := f.room(place)
	full := int64(n) > room
	if full {
		n = int(room)
	}
	if n > 0 {
		f.node.write(write{at: place, data: slices.Clone(b[:n])})
	}
	f.disk.tell(op)
	switch {
	case fault != nil:
		return n, pathError("write", f.name, fault.Err)
	case full:
		return n, pathError("write", f.name, syscall.ENOSPC)
	}
	return n, nil
}

// room is how many bytes can be written at a place of the file.
func (f *file) room(at int64) int64 {
	if f.disk.space < 0 {
		return math.MaxInt64
	}
	end := int64(len(f.node.shown)) + max(0, f.disk.space-f.disk.used())
	return max(0, end-at)
}

// Allocate is a write of zeros.
func (f *file) Allocate(size int64) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(make([]byte, size), 0)
	return err
}

func (f *file) Truncate(size int64) error {
	return f.do(Truncate, f.writable(), func() error {
		if size < 0 {
			return pathError("truncate", f.name, syscall.EINVAL)
		}
		f.node.write(write{at: size})
		return nil
	})
}

// Sync makes what the file holds durable. A fault that loses leaves reading as
// it was: the kernel takes the pages for clean.
func (f *file) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	op, fault := f.disk.begin(Sync, f.name)
	if f.closed {
		return pathError("sync", f.name, errClosed)
	}
	switch {
	case fault == nil || fault.Done:
		f.node.sync()
	case fault.Lose && len(f.node.pending) > 0:
		f.node.pending, f.node.strayed = nil, true
	}
	f.disk.tell(op)
	if fault != nil {
		return pathError("sync", f.name, fault.Err)
	}
	return nil
}

func (f *file) Stat() (result fs.FileInfo, err error) {
	err = f.do(Stat, true, func() error {
		result = f.node.info(filepath.Base(f.name))
		return nil
	})
	return result, err
}

// Close closes the file also when a fault makes it fail, as the kernel does.
func (f *file) Close() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	_, fault := f.disk.begin(Close, f.name)
	if f.closed {
		return pathError("close", f.name, errClosed)
	}
	f.closed = true
	if fault != nil {
		return fmt.Errorf("close %s: %w", f.name, fault.Err)
	}
	return nil
}
