//go:build unix && !linux

package file

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// birthOf: not every one of these systems tells.
func birthOf(int) int64 { return 0 }

// statPath follows symbolic links.
func statPath(name string) (status, error) {
	var st unix.Stat_t
	for {
		err := unix.Stat(name, &st)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return status{}, &os.PathError{Op: "stat", Path: name, Err: err}
		}
		return statusOf(&st, 0), nil
	}
}
