package durable

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// immutableFlag is FS_IMMUTABLE_FL of linux/fs.h.
const immutableFlag = 0x10

// SetImmutable gives a file the immutable attribute (chattr +i), after which
// nobody changes, renames, links or removes it before the attribute is taken
// off, and looks whether it stuck. It fails with errors.ErrUnsupported where the
// file system has no such attribute, and with fs.ErrPermission for a process
// without CAP_LINUX_IMMUTABLE. The file must not be open for writing: on some
// file systems such a descriptor goes on writing.
func (OS) SetImmutable(name string) error { return setFlag(name, true) }

// ClearImmutable takes the attribute off.
func (OS) ClearImmutable(name string) error { return setFlag(name, false) }

func setFlag(name string, on bool) (err error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	handle := int(f.Fd()) //nolint:gosec // a descriptor
	flags, err := unix.IoctlGetUint32(handle, unix.FS_IOC_GETFLAGS)
	if err != nil {
		return flagError(name, err)
	}
	wanted := flags &^ immutableFlag
	if on {
		wanted = flags | immutableFlag
	}
	if flags == wanted {
		return nil
	}
	if err = unix.IoctlSetPointerInt(handle, unix.FS_IOC_SETFLAGS, int(wanted)); err != nil {
		return flagError(name, err)
	}
	if flags, err = unix.IoctlGetUint32(handle, unix.FS_IOC_GETFLAGS); err != nil {
		return flagError(name, err)
	}
	if flags&immutableFlag != wanted&immutableFlag {
		return flagError(name, unix.ENOTTY) // taken and forgotten
	}
	return nil
}

func flagError(name string, err error) error {
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) {
		err = fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	return fmt.Errorf("set the immutable attribute of %s: %w", name, err)
}
