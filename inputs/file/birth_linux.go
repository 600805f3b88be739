package file

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// birthOf asks when a file was created. Of an open file, because that can not
// become another in between.
func birthOf(fd int) int64 {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &st); err != nil {
		return 0
	}
	return born(&st)
}

func born(st *unix.Statx_t) int64 {
	if st.Mask&unix.STATX_BTIME == 0 {
		return 0
	}
	return st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
}

// statPath follows symbolic links.
func statPath(name string) (status, error) {
	const wanted = unix.STATX_BASIC_STATS | unix.STATX_BTIME
	var st unix.Statx_t
	for {
		err := unix.Statx(unix.AT_FDCWD, name, 0, wanted, &st)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM): // a kernel before 4.11, a sandbox that does not know it
			return statOldPath(name)
		case err != nil:
			return status{}, &os.PathError{Op: "statx", Path: name, Err: err}
		}
		return status{
			id:       fileID{device: unix.Mkdev(st.Dev_major, st.Dev_minor), inode: st.Ino, born: born(&st)},
			size:     int64(st.Size),
			modified: st.Mtime.Sec*1e9 + int64(st.Mtime.Nsec),
			links:    uint64(st.Nlink),
			kind:     kindOf(uint32(st.Mode)),
		}, nil
	}
}

func statOldPath(name string) (status, error) {
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		return status{}, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	return statusOf(&st, 0), nil
}
