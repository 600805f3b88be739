package file

import "golang.org/x/sys/unix"

// tellsAll tells whether every change in a directory makes an event: on local
// file systems. Of what another machine writes nobody here hears, and an
// overlay tells of one of its layers.
func tellsAll(dir string) bool {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return false
	}
	switch uint32(st.Type) { //nolint:gosec // 32 bits everywhere, signed on some systems
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.TMPFS_MAGIC, zfsMagic:
		return true
	}
	return false
}

const zfsMagic = 0x2fc12fc1 // not in linux/magic.h
