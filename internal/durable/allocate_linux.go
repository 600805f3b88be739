package durable

import (
	"os"

	"golang.org/x/sys/unix"
)

// allocate takes the space without writing it. File systems that can not do so
// say errors.ErrUnsupported.
func allocate(f *os.File, size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, size)
		if err != unix.EINTR {
			if err != nil {
				return &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
			}
			return f.Truncate(size)
		}
	}
}
